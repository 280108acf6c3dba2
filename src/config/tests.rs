use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use expect_test::{Expect, expect};

use super::keys::{KEYS, SAMPLES, Sample, uncommented};
use super::written::flatten;
use super::*;
use crate::tls::{Challenge, Source};

#[cfg(test)]
mod secrets;

/// A directory of its own for one test; removed afterwards.
struct Place(PathBuf);

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("carport-config-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let place = std::env::temp_dir().join(name);
        fs::create_dir_all(&place).unwrap();
        Place(place)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn sources(&self, file: &str, environment: &[(&str, &str)]) -> Sources {
        Sources {
            file: ConfigFile::At(self.write("etc/config.toml", file)),
            environment: environment.iter().copied().collect(),
            directory: self.0.join("here"),
            ..Sources::default()
        }
    }

    fn load(&self, file: &str, environment: &[(&str, &str)]) -> Config {
        load(&self.sources(file, environment)).unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// The mistakes, without the name of the directory.
    fn mistakes(&self, file: &str, environment: &[(&str, &str)], expected: Expect) {
        let mistakes = load(&self.sources(file, environment)).expect_err("there are mistakes");
        expected.assert_eq(&mistakes.to_string().replace(self.0.to_str().unwrap(), "~"));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn origin<'a>(config: &'a Config, key: &str) -> &'a Shown {
    config.shown().iter().find(|shown| shown.key == key).unwrap()
}

#[test]
fn nothing_at_all_is_a_configuration() {
    let config = load(&Sources { directory: "/somewhere".into(), ..Sources::default() }).unwrap();
    assert_eq!(config.public_url.as_str(), "http://localhost:8000/");
    assert_eq!(config.data_dir, Path::new("/somewhere/carport-data"));
    assert_eq!(config.key.file, Path::new("/somewhere/carport-data/master.key"));
    assert_eq!(config.socket, Path::new("/somewhere/carport-data/carport.sock"));
    assert_eq!(config.listen, [Listen::Tcp("127.0.0.1:8000".parse().unwrap())]);
    assert_eq!(config.smartcar.redirect_uri.as_str(), "http://localhost:8000/api/smartcar/callback");
    assert_eq!(config.smartcar.mode, Mode::Live);
    assert!(config.smartcar.v3.is_none() && config.smartcar.management_tokens.is_empty());
    assert_eq!(config.webhooks.max_body, 65536);
    assert_eq!(config.refresh.refresh_margin, Duration::from_secs(5 * 86400));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_example_has_every_key_and_no_other() {
    let mut expected: Vec<String> = KEYS.iter().map(|key| key.name.to_owned()).collect();
    expected.extend(KEYS.iter().filter(|key| key.secret).map(|key| format!("{}_file", key.name)));
    expected.sort();
    assert_eq!(SAMPLES.keys().cloned().collect::<Vec<_>>(), expected);
}

#[test]
fn the_example_loads_with_every_line_in_force() {
    let (_, mistakes) = flatten(&uncommented(EXAMPLE));
    assert!(mistakes.is_empty(), "{:?}", mistakes.iter().map(|mistake| &mistake.wrong).collect::<Vec<_>>());
    // A secret may not be given in two forms, so the second is left out here.
    let text: Vec<String> = uncommented(EXAMPLE)
        .lines()
        .filter(|line| !line.contains("_file = ") || line.starts_with("ca_file"))
        .map(str::to_owned)
        .collect();
    let text = text.join("\n");
    let place = Place::new();
    let written = place.load(&text, &[]);
    let unwritten = place.load("", &[]);
    for (key, (written, unwritten)) in KEYS.iter().zip(written.shown().iter().zip(unwritten.shown())) {
        assert!(written.origin.contains("config.toml:"), "{} is in force", key.name);
        if key.sample == Sample::Default {
            assert_eq!(written.value, unwritten.value, "{}", key.name);
        }
    }
    assert_eq!(origin(&written, "public_url").value, origin(&unwritten, "public_url").value);
    assert_eq!(origin(&written, "smartcar.redirect_uri").value, origin(&unwritten, "smartcar.redirect_uri").value);
}

#[test]
fn every_mistake_is_named_at_once() {
    Place::new().mistakes(
        "public_url = \"cars.example.org\"\nlisten = \"8000\"\nprivat_listen = \"[::]:80\"\n\n[smartcar]\nmode = \"test\"\n\
         [smartcar.v3]\nclient_secret = \"canary\"\n[webhoks]\npath = \"/x\"\n[limits]\nlogin = 5\n",
        &[("CARPORT_REFRESH_ACCESS_MARGN", "1m"), ("CARPORT_SESSION_IDLE", "300d"), ("CARPORT_WEBHOOKS_PATH", "/api/v1/hook")],
        expect![[r#"
            there are 10 mistakes in the configuration:
              privat_listen (~/etc/config.toml:3): is not a key. Did you mean private_listen?
              webhoks (~/etc/config.toml:9): is not a key. Did you mean webhooks?
              CARPORT_REFRESH_ACCESS_MARGN: is not a variable that Carport reads. Did you mean CARPORT_REFRESH_ACCESS_MARGIN?
              listen (~/etc/config.toml:2): "8000" is not an IP address and a port. Write 127.0.0.1:8000.
              public_url (~/etc/config.toml:1): "cars.example.org" is not a URL. Write scheme and host only, such as https://cars.example.org.
              smartcar.v3.client_secret (~/etc/config.toml:8): is of no use without smartcar.v3.client_id. Set smartcar.v3.client_id too.
              smartcar.mode (~/etc/config.toml:6): "test" is a mode that Smartcar has given up. Write "simulated".
              limits.login (~/etc/config.toml:12): "5" is not a rate. Write 60/m; per s, m or h.
              webhooks.path (CARPORT_WEBHOOKS_PATH): takes the path "/api/v1/hook", but /api/v1/ is Carport's own. Choose another path; /api/smartcar/callback and /api/webhooks/smartcar are the usual ones.
              session.idle (CARPORT_SESSION_IDLE): is longer than session.max. Write a shorter time."#]],
    );
}

#[test]
fn what_is_wrong_by_itself_is_told_once() {
    let place = Place::new();
    for (key, value) in [
        ("session.idle", "forever"),
        ("session.max", "1 moon"),
        ("budget.calls_per_vehicle_month", "0.5"),
        ("budget.reserve", "-1"),
        ("webhooks.max_body", "1TiB"),
        ("webhooks.keep_bytes", "much"),
    ] {
        // Beside another one that its default does not fit.
        let text = "session.idle = \"179d\"\nsession.max = \"1h\"\nbudget.calls_per_vehicle_month = 5\nbudget.reserve = 900\n\
                    webhooks.max_body = \"1MiB\"\nwebhooks.keep_bytes = \"64KiB\"\n";
        let section = key.split_once('.').unwrap().0;
        let other = text.lines().find(|line| line.starts_with(section) && !line.starts_with(key)).unwrap();
        let told = load(&place.sources(&format!("{key} = \"{value}\"\n{other}\n"), &[])).unwrap_err();
        let keys: Vec<&str> = told.0.iter().map(|mistake| mistake.key.as_str()).collect();
        assert_eq!(keys, [key], "{told}");
    }
}

#[test]
fn broken_toml_is_told_with_its_line_and_without_the_line_itself() {
    Place::new().mistakes(
        "public_url = \"http://localhost:8000\"\n[smartcar.v3]\nclient_secret = canary\nclient_id = \n",
        &[],
        expect![[r"
            there are 2 mistakes in the configuration:
              the configuration file (~/etc/config.toml:3): is not TOML here: string values must be quoted, expected literal string. Put the value in quotes.
              the configuration file (~/etc/config.toml:4): is not TOML here: string values must be quoted, expected literal string. Correct the line."]],
    );
}

#[test]
fn a_higher_source_wins() {
    let place = Place::new();
    let file = "[smartcar]\nmode = \"simulated\"\n[webhooks]\nkeep_events = 5\n[session]\nidle = \"1d\"\n";
    let environment = [("CARPORT_WEBHOOKS_KEEP_EVENTS", "6"), ("CARPORT_SESSION_IDLE", "2d")];
    let mut sources = place.sources(file, &environment);
    sources.overrides = Overrides::default().set("session.idle", "3d", "--idle");
    let config = load(&sources).unwrap();
    assert_eq!(config.smartcar.mode, Mode::Simulated);
    assert_eq!(config.webhooks.keep_events, 6);
    assert_eq!(config.session.idle, Duration::from_secs(3 * 86400));
    assert!(origin(&config, "smartcar.mode").origin.ends_with("config.toml:2"));
    assert_eq!(origin(&config, "webhooks.keep_events").origin, "CARPORT_WEBHOOKS_KEEP_EVENTS");
    assert_eq!(origin(&config, "session.idle").origin, "--idle");
    assert_eq!(origin(&config, "session.max").origin, "default");
}

#[test]
fn the_sdks_names_are_understood() {
    let place = Place::new();
    let config = place.load(
        "",
        &[
            ("SMARTCAR_CLIENT_ID", "client_1"),
            ("SMARTCAR_CLIENT_SECRET", "s"),
            ("SMARTCAR_AUTH_ORIGIN", "http://localhost:9000/oauth/token"),
            ("SMARTCAR_API_V3_ORIGIN", "http://localhost:9000"),
            ("SMARTCAR_REDIRECT_URI", "http://localhost:8000/exchange"),
            ("SMARTCAR_APPLICATION_MANAGEMENT_TOKEN", "amt"),
        ],
    );
    assert_eq!(config.smartcar.v3.as_ref().unwrap().client_id, "client_1");
    assert!(config.smartcar.v2.is_none());
    assert_eq!(config.smartcar.origins.auth.as_str(), "http://localhost:9000/");
    assert_eq!(config.smartcar.origins.vehicle.as_str(), "http://localhost:9000/");
    assert_eq!(config.smartcar.redirect_uri.path(), "/exchange");
    assert_eq!(config.smartcar.management_tokens[0].expose(), "amt");

    let config = place.load("", &[("SMARTCAR_CLIENT_ID", "8229df9f"), ("SMARTCAR_CLIENT_SECRET", "s")]);
    assert_eq!(config.smartcar.v2.unwrap().client_id, "8229df9f");
    assert_eq!(config.smartcar.application_id.unwrap(), "8229df9f");
}

#[test]
fn paths_count_from_the_file_they_stand_in() {
    let place = Place::new();
    let config = place.load("data_dir = \"../var\"\nlisten = [\"unix:http.sock\", \"[::]:443\"]\n", &[("CARPORT_KEY_FILE", "k")]);
    assert_eq!(config.data_dir, place.0.join("etc/../var"));
    assert_eq!(config.listen[0], Listen::Unix(place.0.join("etc/http.sock")));
    assert_eq!(config.public_url.as_str(), "http://localhost:443/");
    assert_eq!(config.key.file, place.0.join("here/k"));
}

#[test]
fn kubernetes_variables_are_ignored() {
    let variables = [("CARPORT_PORT", "tcp://10.0.0.1:80"), ("CARPORT_PORT_80_TCP", "x"), ("CARPORT_SERVICE_HOST", "10.0.0.1")];
    Place::new().load("", &variables);
}

#[test]
fn the_lan_flag_opens_what_listens_on_loopback() {
    let place = Place::new();
    let config = load(&Sources { lan: true, ..place.sources("", &[]) }).unwrap();
    assert_eq!(config.listen, [Listen::Tcp("0.0.0.0:8000".parse().unwrap())]);
    assert_eq!(origin(&config, "listen").origin, "from --lan");
}

#[test]
fn the_dashboards_paths_are_taken() {
    for path in
        ["/vehicles/x", "/webhooks", "/webhooks/deep/x", "/connections", "/setup", "/login", "/healthz", "/api/smartcar/exchange"]
    {
        let sources = Place::new();
        let refused = load(&sources.sources("", &[("CARPORT_WEBHOOKS_PATH", path)])).unwrap_err();
        assert!(refused.to_string().contains("Carport's own"), "{path}: {refused}");
    }
    Place::new().load("", &[("CARPORT_WEBHOOKS_PATH", "/hooks/smartcar")]);
}

#[test]
fn identifiers_that_look_mixed_up_are_warned_of() {
    let file = "[smartcar]\napplication_management_token = \"amt\"\nwebhook_id = \"amt\"\n\
                scope = [\"read_odometer\", \"read_batery\"]\n[smartcar.v2]\nclient_id = \"client_1\"\n\
                client_secret = \"a\"\n[smartcar.v3]\nclient_id = \"8229\"\nclient_secret = \"client_2\"\n";
    let config = Place::new()
        .load(file, &[("CARPORT_PUBLIC_URL", "https://cars.example.org"), ("SMARTCAR_REDIRECT_URI", "http://localhost:3000/x")]);
    expect![[r"
        smartcar.v2.client_id begins with client_, as ids for smartcar.v3.client_id do
        smartcar.v3.client_id does not begin with client_: Smartcar may refuse it as invalid_client
        smartcar.application_id begins with client_, but Connect wants the Application ID (a UUID)
        smartcar.v3.client_secret begins with client_, as the Client ID does, not its secret
        smartcar.application_management_token is no UUID, as Smartcar's are: is it another value?
        smartcar.webhook_id is the same as another value: it is the ID on the webhook's own page
        smartcar.scope has read_batery, which Smartcar does not list as a permission: is it misspelt?
        smartcar.redirect_uri (http://localhost:3000/x) is not below public_url (https://cars.example.org/): owners may not come back here"]].assert_eq(&config.warnings.join("\n"));
}

#[test]
fn a_secret_without_quotes_is_told_to_take_them() {
    Place::new().mistakes(
        "[key]\nsecret = 12345\n",
        &[],
        expect![[r"
            there is a mistake in the configuration:
              key.secret (~/etc/config.toml:2): is a number, not a text. Write the value in quotes."]],
    );
}

#[test]
fn no_secret_is_shown() {
    let place = Place::new();
    let file = "[smartcar]\napplication_management_token = [\"canary-1\", \"canary-2\"]\n[key]\nsecret = \"canary-3\"\n\
                [smartcar.v3]\nclient_id = \"client_1\"\nclient_secret = \"canary-4\"\n";
    let config = place.load(file, &[("SMARTCAR_CLIENT_ID", "x"), ("SMARTCAR_CLIENT_SECRET", "canary-5")]);
    let shown = format!("{:?} {config:?}", config.shown());
    assert!(!shown.contains("canary"), "{shown}");
    assert_eq!(origin(&config, "smartcar.v2.client_secret").value, "***");
    let callback = load(&place.sources("", &[("SMARTCAR_REDIRECT_URI", "https://user:canary@cars.example.org/x")]));
    assert!(!callback.unwrap_err().to_string().contains("canary"));
    let mistakes = load(&place.sources(&file.replace("[key]", "[kee]"), &[("CARPORT_SMARTCAR_V2_CLIENT_SECRET", "canary-6")]));
    assert!(!mistakes.unwrap_err().to_string().contains("canary"));
}

#[test]
fn units_and_networks() {
    assert_eq!(size("64KiB"), Some(65536));
    assert_eq!(size("64KB"), None);
    assert_eq!(quota("60/m"), Some(Quota::new(60, Duration::from_secs(60))));
    assert_eq!(quota("0/m"), None);
    let config = Place::new().load("trusted_proxies = [\"10.1.2.3/8\", \"::1\", \"0.0.0.0/0\"]\n", &[]);
    let networks = config.trusted_proxies;
    assert_eq!(networks[0].to_string(), "10.1.2.3/8");
    assert!(networks[0].contains("::ffff:10.9.9.9".parse().unwrap()) && !networks[0].contains("11.0.0.1".parse().unwrap()));
    assert!(networks[1].contains("::1".parse().unwrap()) && !networks[1].contains("::2".parse().unwrap()));
    assert!(networks[2].contains("203.0.113.9".parse().unwrap()));
    assert!(config.warnings.iter().any(|warning| warning.starts_with("trusted_proxies trusts 0.0.0.0/0")));
    Place::new().mistakes(
        "trusted_proxies = [\"::/0\", \"10.0.0.0/8\"]\n[auth]\nforward_header = \"Remote-User\"\n",
        &[],
        expect![[r"
            there is a mistake in the configuration:
              trusted_proxies (~/etc/config.toml:1): trusts ::/0, where strangers may be: each of them could sign in by auth.forward_header. Write the address of the proxy alone, or leave auth.forward_header out."]],
    );
}

#[test]
fn a_long_socket_path_lies_in_the_runtime_directory() {
    let long = PathBuf::from(format!("/{}", "x".repeat(100)));
    let runtime = Path::new("/run/user/1000");
    assert_eq!(socket_path(Path::new("/data"), Some(runtime)), Path::new("/data/carport.sock"));
    assert!(socket_path(&long, Some(runtime)).to_str().unwrap().starts_with("/run/user/1000/carport-"));
    assert_eq!(socket_path(&long, None), long.join("carport.sock"));
}

#[test]
fn tls_needs_its_files_and_makes_the_addresses_https() {
    let place = Place::new();
    assert!(place.load("", &[]).tls.is_none());
    let text = "listen = [\"192.168.1.5:8443\", \"[::]:443\"]\nhosts = [\"car.home.arpa\"]\n[tls]\nmode = \"self-signed\"\n";
    let config = place.load(text, &[]);
    assert_eq!(config.public_url.as_str(), "https://localhost:8443/");
    let names = config.tls.unwrap().names;
    assert_eq!(names, ["127.0.0.1", "192.168.1.5", "car.home.arpa", "localhost"]);

    let text = "public_url = \"http://cars.example.org\"\n[tls]\nmode = \"files\"\ncert = \"a.pem\"\nkey = \"b.pem\"\n";
    place.write("etc/b.pem", "-----BEGIN PRIVATE KEY-----\n");
    fs::set_permissions(place.0.join("etc/b.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let config = place.load(text, &[]);
    let Source::Files(files) = config.tls.unwrap().source else { panic!("another source") };
    assert_eq!((files.chain, files.key), (place.0.join("etc/a.pem"), place.0.join("etc/b.pem")));
    let warnings = config.warnings.join("\n");
    assert!(warnings.contains("only https is spoken there") && warnings.contains("chmod 600"), "{warnings}");

    place.mistakes(
        "[tls]\nmode = \"files\"\n",
        &[("CARPORT_TLS_KEY", "b.pem")],
        expect![[r#"
            there is a mistake in the configuration:
              tls.mode (~/etc/config.toml:2): "files" needs tls.cert. Set tls.cert, such as /etc/letsencrypt/live/NAME/fullchain.pem."#]],
    );
    place.mistakes(
        "[tls]\nmode = \"on\"\n",
        &[],
        expect![[r#"
            there is a mistake in the configuration:
              tls.mode (~/etc/config.toml:2): "on" is not a mode of TLS. Write "off", "files", "acme" or "self-signed"."#]],
    );
}

#[test]
fn a_private_listener_has_an_address_of_its_own() {
    let place = Place::new();
    let private_url = |text: &str| place.load(text, &[]).private_url.to_string();
    let public = "public_url = \"https://cars.example.org\"\nlisten = \"[::]:443\"\n";
    assert_eq!(private_url(&format!("{public}private_listen = \"127.0.0.1:8001\"\n")), "http://localhost:8001/");
    assert_eq!(private_url(&format!("{public}private_listen = \"192.168.1.5:8001\"\n")), "http://192.168.1.5:8001/");
    let tls = "[tls]\nmode = \"self-signed\"\n";
    assert_eq!(private_url(&format!("{public}private_listen = \"192.168.1.5:8443\"\n{tls}")), "https://192.168.1.5:8443/");
    assert_eq!(private_url(&format!("{public}private_listen = \"[::]:8443\"\n{tls}")), "https://cars.example.org:8443/");
    place.mistakes(
        "private_listen = \"127.0.0.1:8000\"\n[tls]\nhttp_listen = \"unix:x\"\n",
        &[],
        expect![[r#"
            there are 2 mistakes in the configuration:
              tls.http_listen (~/etc/config.toml:3): is a socket file. Write IP:PORT such as [::]:80, or "off".
              private_listen (~/etc/config.toml:1): 127.0.0.1:8000 is in listen too. Give it a port of its own."#]],
    );
    place.mistakes(
        "public_api = true\n",
        &[],
        expect![[r"
            there is a mistake in the configuration:
              public_api (~/etc/config.toml:1): is of no use without private_listen. Set private_listen, or leave public_api out: without it, listen shows everything."]],
    );
}

#[test]
fn certificates_are_ordered_for_names_by_challenges_that_fit() {
    let place = Place::new();
    let ordered = |text: &str| {
        let config = place.load(&format!("public_url = \"https://cars.example.org\"\n[tls]\nmode = \"acme\"\n{text}"), &[]);
        let tls = config.tls.unwrap();
        let Source::Acme(acme) = tls.source else { panic!("another source") };
        (tls.names.join(" "), acme.challenges, config.http_listen.map(|address| address.to_string()))
    };
    let (cars, port_80) = ("cars.example.org".to_owned(), Some("[::]:80".to_owned()));
    assert_eq!(ordered(""), (cars.clone(), vec![Challenge::Http, Challenge::Alpn], port_80.clone()));
    assert_eq!(ordered("http_listen = \"off\"\n"), (cars.clone(), vec![Challenge::Alpn], None));
    assert_eq!(ordered("[tls.acme]\nchallenge = \"tls-alpn-01\"\n"), (cars.clone(), vec![Challenge::Alpn], None));
    let dns = "http_listen = \"127.0.0.1:80\"\n[tls.acme]\ndns = \"exec:/bin/true\"\ndomains = [\"*.Example.org\"]\n";
    assert_eq!(ordered(dns), ("*.example.org".to_owned(), vec![Challenge::Dns], Some("127.0.0.1:80".to_owned())));

    place.mistakes(
        "[tls]\nmode = \"acme\"\nhttp_listen = \"off\"\n[tls.acme]\nchallenge = \"http-01\"\ndirectory = \"http://x\"\ndns = \"duckdns\"\n",
        &[],
        expect![[r#"
            there are 4 mistakes in the configuration:
              tls.acme.directory (~/etc/config.toml:6): "http://x" is not an https address. Write the whole address of the ACME server's directory.
              public_url (default): has no name that a certificate could be issued for, as tls.mode "acme" needs. Write your name, such as https://cars.example.org.
              tls.acme.dns (~/etc/config.toml:7): "duckdns" needs tls.acme.duckdns_token. Set tls.acme.duckdns_token_file; duckdns.org shows the token when you are signed in.
              tls.http_listen (~/etc/config.toml:3): is off, but http-01 is answered there. Write "[::]:80"."#]],
    );
    place.mistakes(
        "public_url = \"https://192.168.1.5\"\n[tls]\nmode = \"acme\"\n[tls.acme]\nchallenge = \"dns-01\"\n",
        &[],
        expect![[r#"
            there are 2 mistakes in the configuration:
              public_url (~/etc/config.toml:1): has no name that a certificate could be issued for, as tls.mode "acme" needs. Write your name, such as https://cars.example.org.
              tls.acme.challenge (~/etc/config.toml:5): "dns-01" needs tls.acme.dns. Set tls.acme.dns to "duckdns" or "exec:/PATH"."#]],
    );
    place.mistakes(
        "[tls]\nmode = \"acme\"\n[tls.acme]\ndomains = [\"*.example.org\"]\ndns = \"duckdns\"\nduckdns_token = \"canary\"\nchallenge = \"http-01\"\n",
        &[],
        expect![[r#"
            there is a mistake in the configuration:
              tls.acme.domains (~/etc/config.toml:4): "*.example.org" is a wildcard, which only dns-01 can prove. Write the whole name, or set tls.acme.dns."#]],
    );
}
