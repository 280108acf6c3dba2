//! Refresh tokens from another application on standard input.

use std::fs::File;

use serde_json::json;
use tokio::net::UnixListener;

use super::commands::house;
use super::process::{Home, Program, Ran};

async fn import(home: &Home, lines: &str) -> Ran {
    home.write("tokens", lines);
    let mut command = home.command(&["connections", "import"]);
    command.stdin(File::open(home.path("tokens")).unwrap());
    Program::start(command).end().await
}

/// A line that is refused is passed over; one that nobody answers is the last, or those behind it would be spent for nothing.
#[tokio::test]
async fn an_import_stops_where_nobody_answers() {
    let (home, smartcar, server) = house().await;
    let lines = ["one", "two", "three"].map(|token| json!({ "refresh_token": token }).to_string()).join("\n");
    let ran = import(&home, &lines).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    for line in ["Line 1: not taken: ", "Line 2: not taken: ", "Line 3: not taken: ", "0 taken, 3 not."] {
        assert!(ran.stdout.contains(line), "{line}: {ran:?}");
    }
    drop(smartcar);
    let ran = import(&home, &lines).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let end = "Nothing behind it was tried: run it again later, with this line and those behind it.\n0 taken, 1 not.\n";
    assert!(ran.stdout.starts_with("Line 1: not taken: Smartcar cannot be reached") && ran.stdout.ends_with(end), "{ran:?}");
    assert!(!ran.stdout.contains("Line 2"), "{ran:?}");
    // Nor is one tried after another where Carport has gone.
    server.stop().await;
    let sham = UnixListener::bind(home.data().join("carport.sock")).unwrap();
    let hangs_up = tokio::spawn(async move {
        loop {
            drop(sham.accept().await.unwrap());
        }
    });
    let ran = import(&home, &lines).await;
    assert!(ran.stdout.contains("went away") && ran.stdout.ends_with(end), "{ran:?}");
    hangs_up.abort();
}
