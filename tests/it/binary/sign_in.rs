//! Signing in at the real program, and the commands that say who may.

use std::fs::File;

use super::http::Say;
use super::process::{Home, Program, Ran, SERVE, Server};

const PASSWORD: &str = "correct horse battery staple";

/// `carport password set` with a password on standard input.
async fn set(home: &Home, password: &str) -> Ran {
    home.write("password", &format!("{password}\n"));
    let mut command = home.command(&["password", "set"]);
    command.stdin(File::open(home.path("password")).unwrap());
    Program::start(command).end().await
}

#[tokio::test]
async fn a_password_is_set_and_cleared_and_sessions_are_signed_out() {
    let home = Home::new();
    let server = Server::of(home.command(SERVE)).await;
    let ran = home.run(&["password", "set"]).await;
    assert!(ran.code != Some(0) && ran.stderr.contains("nothing was done"), "{ran:?}");
    let ran = home.run(&["password", "set", PASSWORD]).await;
    assert_eq!(ran.code, Some(2), "not from the arguments: {ran:?}");
    let ran = set(&home, "short").await;
    assert!(ran.code == Some(1) && ran.stderr.contains("12 to 200"), "{ran:?}");
    let ran = set(&home, PASSWORD).await;
    assert!(ran.code == Some(0) && ran.stdout.starts_with("Set."), "{ran:?}");

    let sign_in = || Say::form("/login", "password=correct+horse+battery+staple").header("origin", &server.origin());
    let mut cookies = Vec::new();
    for _ in 0..3 {
        let answer = server.send(sign_in()).await;
        assert_eq!(answer.status, 303, "{}", answer.text());
        cookies.push(answer.cookie());
    }
    let sessions = home.json(&["sessions", "list"]).await["items"].as_array().unwrap().clone();
    assert_eq!(sessions.len(), 3);
    assert!(home.done(&["sessions", "list"]).await.starts_with("ID "));
    let newest = sessions[0]["id"].as_str().unwrap();
    assert_eq!(home.run(&["sessions", "revoke"]).await.code, Some(2), "one, or all");
    assert_eq!(home.done(&["sessions", "revoke", newest, "--yes"]).await, "Signed out.");
    let status = async |cookie: &str| server.send(Say::get("/").header("cookie", cookie)).await.status;
    assert_eq!((status(&cookies[2]).await, status(&cookies[0]).await), (401, 200));
    assert_eq!(home.done(&["sessions", "revoke", "--all", "--yes"]).await, "Signed out.");
    assert_eq!((status(&cookies[0]).await, status(&cookies[1]).await), (401, 401));

    // What somebody made up counts to the letter.
    assert_eq!(set(&home, " correct horse battery staple ").await.code, Some(0));
    assert_eq!(server.send(sign_in()).await.status, 403);
    let exactly = Say::form("/login", "password=+correct+horse+battery+staple+").header("origin", &server.origin());
    assert_eq!(server.send(exactly).await.status, 303);
    assert_eq!(home.done(&["sessions", "revoke", "--all", "--yes"]).await, "Signed out.");

    assert!(home.done(&["password", "clear"]).await.contains("carport login"));
    assert_eq!(server.send(sign_in()).await.status, 403);
    let said = server.stop().await;
    assert!(!said.stdout.contains("correct") && !said.stderr.contains("correct"), "{said:?}");
    // Without a server the same commands do the same.
    assert_eq!(set(&home, PASSWORD).await.code, Some(0));
    assert_eq!(home.json(&["sessions", "list"]).await["items"], serde_json::json!([]));
}
