//! `carport simulate` as a source of load: a thousand cars, and a table of what came of it.

use super::process::{Home, Program, Server, until};
use super::smartcar::Smartcar;

fn count(table: &str, name: &str) -> u64 {
    let line = table.lines().find_map(|line| line.trim_start().strip_prefix(name));
    line.unwrap_or_else(|| panic!("{name:?} is not in {table}")).trim().parse().unwrap()
}

#[tokio::test]
async fn a_thousand_cars_send_a_steady_flow() {
    let home = Home::new();
    // Only what signs the events matters: nobody is there to be asked.
    home.write("config.toml", &Smartcar::settings("127.0.0.1:9".parse().unwrap()));
    let server = Server::start(&home).await;
    let url = format!("http://{}/api/webhooks/smartcar", server.address);
    let simulate = ["simulate", "--listen", "127.0.0.1:0", "--cars", "1000", "--rate", "30", "--webhook-url", &url];
    let ran = home.run(&[&simulate[..], &["--for", "4s"]].concat()).await;
    assert_eq!(ran.code, Some(0), "{ran:#?}");
    let acknowledged = count(&ran.stdout, "Events acknowledged");
    // 30 a second for four seconds, and VERIFY; fewer if the machine came to a standstill.
    assert!((110..=121).contains(&acknowledged), "{}", ran.stdout);
    assert_eq!(count(&ran.stdout, "answered: 2xx"), acknowledged);
    assert_eq!(count(&ran.stdout, "Events given up after the last retry"), 0);
    assert!(count(&ran.stdout, "All within ms") >= count(&ran.stdout, "Half answered within ms"));
    // The gateway knows as many.
    let deliveries = home.json(&["webhooks", "list", "--limit", "500"]).await;
    let taken = u64::try_from(deliveries["items"].as_array().unwrap().len()).unwrap();
    assert!(taken >= acknowledged.min(500), "{taken} of {acknowledged}");
}

/// A receiver that is verified and then takes nothing: that is no good end. Where faults are played, it is meant.
#[tokio::test]
async fn a_flow_that_is_not_acknowledged_ends_in_failure() {
    let home = Home::new();
    home.write(
        "config.toml",
        &format!("{}\n[webhooks]\nmax_body = \"4KiB\"\n", Smartcar::settings("127.0.0.1:9".parse().unwrap())),
    );
    let server = Server::start(&home).await;
    let url = format!("http://{}/api/webhooks/smartcar", server.address);
    let simulate = ["simulate", "--listen", "127.0.0.1:0", "--cars", "100", "--rate", "20", "--for", "3s", "--webhook-url", &url];
    let flow = [&simulate[..], &["--retry-scale", "0.001", "--webhook-data", "all"]].concat();
    let ran = home.run(&flow).await;
    assert_eq!(ran.code, Some(1), "{ran:#?}");
    let given_up = count(&ran.stdout, "Events given up after the last retry");
    assert!(given_up > 0 && ran.stderr.contains(" events were not acknowledged"), "{ran:#?}");
    let meant = home.run(&[&flow[..], &["--fault", "wrong-signature"]].concat()).await;
    assert_eq!(meant.code, Some(0), "{meant:#?}");
}

#[tokio::test]
async fn a_receiver_that_is_not_there_is_told_at_once() {
    let home = Home::new();
    let flow = ["--rate", "5", "--for", "2s", "--webhook-url", "http://127.0.0.1:1/"];
    let program = Program::start(home.command(&[&["simulate", "--listen", "127.0.0.1:0"], &flow[..]].concat()));
    let said = "http://127.0.0.1:1/ is not verified yet (not reached). It is asked again on Smartcar's schedule. The run ends";
    until("what is wrong", || async { program.stderr().contains(said).then_some(()) }).await;
    let ran = program.stop().await;
    assert!(ran.stdout.contains("answered: not reached"), "{ran:#?}");
}

#[tokio::test]
async fn a_load_without_sense_is_refused() {
    let home = Home::new();
    for (words, said) in [
        (&["--cars", "0"][..], "a number from 1 to 10000"),
        (&["--cars", "1000", "--rate", "5"], "--webhook-url"),
        (&["--speed", "0"], "above 0"),
        (&["--knob", "weather=fine"], "rotation-window"),
        (&["--knob", "resources=wrapped"], "enveloped, bare"),
        (&["--fault", "trouble=RAIN"], "no such error is documented"),
        (&["--for", "soon"], "--for"),
        (&["--redirect-uri", "localhost:8000/exchange"], "not a whole URI, such as http://localhost:8000/exchange"),
        (&["--redirect-uri", "javascript://alert"], "never lead back"),
        (&["--webhook-url", "http://127.0.0.1:1/", "--rate", "1e9"], "up to 100000"),
        (&["--webhook-url", "http://ann:secret@127.0.0.1:1/"], "without name and password"),
        (&["--webhook-url", "foo"], "http://127.0.0.1:8000/api/webhooks/smartcar"),
        (&["--webhook-url", "http://127.0.0.1:1/", "--webhook-trigger", "nope"], "odometer-traveleddistance"),
        (
            &["--webhook-url", "http://127.0.0.1:1/", "--webhook-data", "all,TractionBattery.StateOfCharge"],
            "no simulated car has a signal `all`",
        ),
        (
            &["--webhook-url", "http://127.0.0.1:1/", "--webhook-data", "TractionBattery.StateOfCharge"],
            "write tractionbattery-stateofcharge",
        ),
    ] {
        let ran = home.run(&[&["simulate", "--listen", "127.0.0.1:0"], words].concat()).await;
        assert_eq!(ran.code, Some(2), "{words:?}: {ran:#?}");
        assert!(ran.stderr.contains(said), "{words:?}: {}", ran.stderr);
        assert!(!ran.stderr.contains("secret"), "{}", ran.stderr);
    }
    let ran = home.run(&["simulate", "--listen", "9001"]).await;
    assert!(ran.code == Some(2) && ran.stderr.contains("such as 127.0.0.1:9001"), "{ran:#?}");
    let knobs = home.done(&["simulate", "--knob", "help"]).await;
    let help = home.done(&["simulate", "--help"]).await;
    for line in knobs.lines().filter(|line| line.starts_with("  ")) {
        assert!(help.contains(line.trim()), "{line:?} is not in the help");
    }
}
