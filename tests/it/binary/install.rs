//! `carport init --system`: what it sets up on a machine, in a root of its own. Only root may do that; without it, only
//! the refusal can be seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::Command;

use super::process::{Home, Program, Ran, mode};

const FLAGS: &str = "init --system --non-interactive --offline --public-url https://cars.example.org \
                     --application-id 8229df9f-91a0-4ff0-a1ae-a1f38ee24d07 --client-id client_1 --client-secret-file /secret \
                     --application-management-token-file /amt";

/// Where `chroot` lies, and `useradd` does not.
const PATH: &str = "/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a command of the program in the root that is `home`.
async fn within(home: &Home, line: &str) -> Ran {
    let mut command = Command::new("chroot");
    command.arg(&home.0).arg("/carport").args(line.split_whitespace());
    command.env_clear().env("PATH", PATH);
    Program::start(command).end().await
}

#[tokio::test]
async fn a_service_has_its_own_places() {
    let home = Home::new();
    for places in [&["--config", "mine.toml"][..], &["--data-dir", "mine"]] {
        let ran = home.run(&[&["init", "--system", "--non-interactive"], places].concat()).await;
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.complaint().contains("leave --config and --data-dir out"), "{ran:?}");
        assert!(!home.path("mine.toml").exists());
    }
}

#[tokio::test]
async fn a_service_is_set_up_and_left_as_its_owner_has_it() {
    if !rustix::process::geteuid().is_root() {
        let home = Home::new();
        let ran = home.run(&["init", "--system", "--non-interactive"]).await;
        assert_eq!(ran.code, Some(1));
        assert!(ran.complaint().contains("sudo carport init --system"), "{ran:?}");
        return;
    }
    let home = Home::new();
    fs::copy(env!("CARGO_BIN_EXE_carport"), home.path("carport")).unwrap();
    for directory in ["etc/systemd/system", "var/lib", "proc", "tmp"] {
        fs::create_dir_all(home.path(directory)).unwrap();
    }
    home.write("secret", "s3cret");
    home.write("amt", "4c0c1a2e-0000-4000-8000-000000000000");
    home.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");

    // Without a program that makes users, it says what to do, and what was written does no harm.
    let ran = within(&home, FLAGS).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.complaint().contains("useradd --system --user-group --home-dir /var/lib/carport"), "{ran:?}");
    home.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\ncarport:x:997:998::/var/lib/carport:/usr/sbin/nologin\n");
    let ran = within(&home, &format!("{FLAGS} --tls acme --acme-email me@example.org")).await;
    assert!(ran.complaint().contains("say --force"), "{ran:?}");
    let ran = within(&home, &format!("{FLAGS} --force --tls acme --acme-email me@example.org")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    // Where there is no /proc, it does not know where it lies itself.
    for command in [
        "sudo install -m 755 carport /usr/local/bin/carport",
        "sudo systemctl daemon-reload",
        "sudo systemctl enable --now carport.socket carport",
        "sudo -u carport carport login",
    ] {
        assert!(ran.stdout.contains(&format!("  {command}\n")), "{command}: {ran:?}");
    }
    let owned = |name: &str| {
        let metadata = fs::metadata(home.path(name)).unwrap();
        (metadata.uid(), metadata.gid(), metadata.permissions().mode() & 0o777)
    };
    assert_eq!(owned("var/lib/carport"), (997, 998, 0o700));
    assert_eq!(owned("etc/carport/secrets"), (997, 998, 0o700));
    assert_eq!(owned("etc/carport/secrets/smartcar.v3.client_secret"), (997, 998, 0o600));
    assert_eq!(mode(&home.path("etc/carport/config.toml")), 0o644);
    for name in ["carport.service", "carport.socket"] {
        let written = fs::read_to_string(home.path(&format!("etc/systemd/system/{name}"))).unwrap();
        let example = fs::read_to_string(format!("{}/examples/systemd/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert_eq!(written.split_once("[Unit]").unwrap().1, example.split_once("[Unit]").unwrap().1);
    }
    // Its own user finds nothing to complain about.
    let mut checked = Command::new("chroot");
    checked.arg("--userspec=997:998").arg(&home.0).args(["/carport", "check", "--offline"]);
    checked.env_clear().env("PATH", PATH);
    let ran = Program::start(checked).end().await;
    assert!(ran.stdout.contains("reads well") && ran.code == Some(0), "{ran:?}");

    // From ports of its own to a proxy: the socket is not left to hold them.
    let ran = within(&home, &format!("{FLAGS} --force --trusted-proxy 127.0.0.1")).await;
    assert!(ran.stdout.contains("  sudo systemctl disable --now carport.socket\n"), "{ran:?}");
    assert!(ran.stdout.contains("  sudo systemctl stop carport\n  sudo systemctl enable --now carport\n"), "{ran:?}");
    let port = FLAGS.replace("https://cars.example.org", "https://pi.local:444");
    let ran = within(&home, &format!("{port} --force --tls self-signed")).await;
    assert!(ran.code == Some(2) && ran.complaint().contains("port 443 alone"), "{ran:?}");
    let plain = FLAGS.replace("https://", "http://");
    let ran = within(&home, &format!("{plain} --force --tls acme")).await;
    assert!(ran.code == Some(2) && ran.complaint().contains("it begins with https://"), "{ran:?}");
    let own = FLAGS.replace("https://cars.example.org", "https://pi.local");
    let ran = within(&home, &format!("{own} --force --tls self-signed")).await;
    let begun = "  sudo systemctl stop carport\n  sudo systemctl enable --now carport.socket carport\n";
    assert!(ran.stdout.contains(begun) && !ran.stdout.contains("disable"), "{ran:?}");
    let config = fs::read_to_string(home.path("etc/carport/config.toml")).unwrap();
    assert!(config.contains("listen = \"[::]:443\"") && config.contains("tls.http_listen = \"[::]:80\""), "{config}");

    // A unit that its owner has changed stays; behind a proxy no socket is opened.
    let service = home.path("etc/systemd/system/carport.service");
    fs::write(&service, "[Unit]\nDescription=mine\n").unwrap();
    for name in ["etc/carport/config.toml", "etc/systemd/system/carport.socket"] {
        fs::remove_file(home.path(name)).unwrap();
    }
    chown(home.path("var/lib/carport"), Some(0), Some(0)).unwrap();
    let ran = within(&home, &format!("{FLAGS} --trusted-proxy 127.0.0.1")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains("carport.service is there and differs"), "{ran:?}");
    assert!(fs::read_to_string(&service).unwrap().contains("mine"));
    assert!(!home.path("etc/systemd/system/carport.socket").exists());
    assert!(ran.stdout.contains("  sudo systemctl enable --now carport\n"), "{ran:?}");
    assert_eq!(owned("var/lib/carport"), (997, 998, 0o700));
    let config = fs::read_to_string(home.path("etc/carport/config.toml")).unwrap();
    assert!(config.contains("trusted_proxies = \"127.0.0.1\""), "{config}");
}
