//! Answers to forms: nothing is done twice by whoever reloads or goes back, and whatever cannot be done is told with the
//! way on.

use std::time::Duration;

use carport::simulator::Settings;
use serde_json::json;

use super::{Person, value_of};
use crate::gateway::{TestGateway, pass};
use crate::simulator::rig::ADA;

#[tokio::test(start_paused = true)]
async fn a_reload_makes_no_second_token_and_shows_the_first_no_more() {
    let gateway = TestGateway::with(150, &[], Settings { seed: 150, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    let place = person.press("/system/tokens", &[("name", "Shed"), ("scope", "read")]).await;
    let count = async || gateway.told("/api/v1/tokens").await["items"].as_array().unwrap().len();
    let made = count().await;
    let get = |path: &str, cookie: &str| gateway.get(path).header("cookie", cookie).header("accept", "text/html");
    // Others who are signed in do not see it, nor does it count when only its head is asked for.
    let other = Person::of(&gateway).await;
    assert_eq!(get(&place, other.cookie()).send().await.status, 410);
    let head = gateway.ask("HEAD", &place).header("cookie", person.cookie()).send().await;
    assert_eq!(head.status, 200);
    assert_eq!(get(&place, "").send().await.status, 303, "who is not signed in is shown the way");
    let page = person.look(&place).await;
    let token = value_of(&page, "token");
    gateway.keep_secret(&token);
    assert!(token.starts_with("carport_") && !place.contains(&token), "{place}");
    let again = get(&place, person.cookie()).send().await;
    assert_eq!(again.status, 410);
    assert!(
        again.text().contains("No longer here") && again.text().contains("href=\"/system\">To the system<"),
        "{}",
        again.text()
    );
    assert!(!again.text().contains(&token));
    assert_eq!(count().await, made);
    // A program has no history to go back in.
    let direct = gateway.ask("POST", "/system/tokens").bearer(&gateway.admin).header("accept", "text/html");
    let direct = direct.form(&[("name", "Attic"), ("scope", "read")]).send().await;
    assert_eq!(direct.status, 200);
    gateway.keep_secret(&value_of(&direct.text(), "token"));

    // A link may be looked at again, for as long as it signs in.
    let place = person.press("/system/devices", &[]).await;
    let link = value_of(&person.look(&place).await, "link");
    gateway.keep_secret(link.split_once("?t=").unwrap().1);
    assert_eq!(value_of(&person.look(&place).await, "link"), link);
    pass(Duration::from_secs(15 * 60)).await;
    assert_eq!(get(&place, person.cookie()).send().await.status, 410);
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_not_made_says_at_each_box_what_is_wrong() {
    let gateway = TestGateway::with(151, &[], Settings { seed: 151, ..Settings::default() }).await;
    gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let person = Person::of(&gateway).await;
    let long = "x".repeat(101);
    for (fields, wrong) in [
        (vec![("name", ""), ("scope", "read")], vec!["token-name"]),
        (vec![("name", &*long), ("scope", "read")], vec!["token-name"]),
        (vec![("name", "x")], vec!["token-scope"]),
        (vec![("name", "x"), ("scope", "read"), ("days", "0")], vec!["token-days"]),
        (vec![("name", "x"), ("scope", "read"), ("days", "soon")], vec!["token-days"]),
        (vec![("name", "x"), ("scope", "connect")], vec!["token-user"]),
        (vec![("name", "x"), ("scope", "admin"), ("vehicle", &*car)], vec!["token-scope"]),
        (vec![("name", "x"), ("scope", "read"), ("user", "ada"), ("vehicle", &*car)], vec!["token-user"]),
        (vec![("name", ""), ("user", "nobody"), ("days", "9999")], vec!["token-name", "token-scope", "token-user", "token-days"]),
        (vec![("name", "x"), ("scope", "read"), ("vehicle", "none")], vec!["token-vehicle"]),
    ] {
        let answer = person.send("/system/tokens", &fields).await;
        let page = answer.text();
        assert_eq!(answer.status, 400, "{fields:?}: {page}");
        assert!(page.contains("No token was made.") && page.contains("<details id=\"make\" open>"), "{page}");
        assert_eq!(page.matches("aria-invalid=\"true\"").count(), wrong.len(), "{fields:?}");
        for id in wrong {
            assert!(page.contains(&format!("aria-describedby=\"{id}-wrong\"")), "{fields:?}");
            assert!(page.contains(&format!("id=\"{id}-wrong\">")), "{fields:?}");
        }
    }
    // What was typed is still there.
    let fields = [("name", "The <shed>"), ("scope", "control"), ("user", "nobody"), ("days", "30")];
    let page = person.send("/system/tokens", &fields).await.text();
    assert!(page.contains("There is no owner of this id"), "{page}");
    assert_eq!(value_of(&page, "token-name"), "The &#60;shed&#62;");
    assert_eq!((value_of(&page, "token-user"), value_of(&page, "token-days")), ("nobody".to_owned(), "30".to_owned()));
    assert!(page.contains("<option value=\"control\" selected>"), "{page}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn invites_that_nobody_used_are_counted() {
    let gateway = TestGateway::with(154, &[], Settings { seed: 154, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    for _ in 0..9 {
        gateway.invite(&json!({ "user": "grace", "create": true })).await;
    }
    let page = person.look("/connections").await;
    assert!(page.matches("ends <time").count() == 3 && page.contains("and 6 more"), "{page}");
    gateway.finish().await;
}
