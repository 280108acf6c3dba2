//! What the program keeps itself from, by Landlock. Where the kernel has none, the stories say so and end.

use std::os::unix::fs::symlink;

use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use rustix::process::Signal;

use super::process::{Home, Program, SERVE, until};
use super::tls::{Issuer, Secure, configure};

/// Asked of the kernel, not of the program.
pub(crate) fn has_landlock() -> bool {
    let wanted = Ruleset::default().set_compatibility(CompatLevel::HardRequirement).handle_access(AccessFs::from_all(ABI::V1));
    let has = wanted.and_then(Ruleset::create).is_ok();
    if !has {
        eprintln!("SKIPPED: this kernel has no Landlock, so nothing is known of the sandbox");
    }
    has
}

#[tokio::test]
async fn files_that_lie_elsewhere_are_out_of_reach() {
    let (home, outside, issuer) = (Home::new(), Home::new(), Issuer::new());
    issuer.issue(&home, 90);
    configure(&home, "");
    let token = home.token().await;
    let server = Secure::start(&home, &issuer).await;
    let first = server.shown().await;

    // A good pair, of the same user: only the walls keep it from being read.
    issuer.issue(&outside, 90);
    for name in ["cert.pem", "key.pem"] {
        std::fs::remove_file(home.path(name)).unwrap();
        symlink(outside.path(name), home.path(name)).unwrap();
    }
    server.program.signal(Signal::HUP);
    if has_landlock() {
        let told = until("a notice", || server.notice(&token, "certificate_unusable")).await["what"].to_string();
        assert!(told.contains("ermission denied"), "{told}");
        assert_eq!(server.shown().await, first);
    } else {
        until("the other certificate", || async { (server.shown().await != first).then_some(()) }).await;
    }

    // Where they lay before they are found, though by then the directory holds other files of these names.
    for name in ["cert.pem", "key.pem"] {
        std::fs::rename(outside.path(name), home.path(name)).unwrap();
    }
    server.program.signal(Signal::HUP);
    until("the other certificate", || async { (server.shown().await != first).then_some(()) }).await;
    server.gone(&token, "certificate_unusable").await;
    let ran = server.program.stop().await;
    assert!(ran.stderr.contains("Landlock"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_doctor_knows_whether_there_are_walls() {
    let home = Home::new();
    home.token().await;
    let checked = home.json(&["check", "--offline"]).await;
    let line = checked["items"].as_array().unwrap().iter().find(|line| line["check"] == "sandbox").unwrap();
    let text = line["text"].as_str().unwrap();
    assert_eq!((line["result"].as_str(), text.starts_with("Landlock")), (Some("ok"), has_landlock()), "{text}");
}

#[tokio::test]
async fn a_busy_port_leaves_nothing_behind() {
    let home = Home::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let ran = Program::start(home.command(&[SERVE[0], "--listen", &address])).end().await;
    assert_ne!(ran.code, Some(0));
    assert!(!home.data().exists(), "{ran:?}");
}
