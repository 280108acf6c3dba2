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
    let head = gateway.ask("HEAD", &place).header("cookie", person.cookie()).send().await;
    assert_eq!(head.status, 410, "nor is it there for who asks for the head");
    assert!(again.text().contains("No longer here") && again.text().contains("revoke it on the page System"), "{}", again.text());
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
        assert!(page.contains("data-page=\"/system\""), "asked for again, it would be sent again: {page}");
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
async fn a_car_that_was_disconnected_is_told_on_its_page_with_what_mends_it() {
    let gateway = TestGateway::with(152, &[], Settings { seed: 152, ..Settings::default() }).await;
    let connection = gateway.connect("ada", ADA).await;
    let car = gateway.vehicles_of(ADA).remove(0);
    let person = Person::of(&gateway).await;
    person.press(&format!("/connections/{connection}/disconnect"), &[("sure", "true")]).await;
    let answer = person.send(&format!("/vehicles/{car}/refresh"), &[]).await;
    let page = answer.text();
    assert_eq!(answer.status, 409, "{page}");
    assert!(page.contains("Press Reconnect: its owner signs in once more.") && page.contains(">Reconnect</button>"), "{page}");
    assert!(!page.contains("carport connect") && !page.contains("Back to the form"), "{page}");
    let again = person.answer_to("/connect", &[("vehicle", &car)]).await;
    assert!(again.contains("<h1>Reconnect ") && again.contains("signs in once more"), "{again}");
    // The card of what has ended says so, and not what it lacks.
    let page = person.look("/connections").await;
    assert!(page.contains("Former connection") && !page.contains("Refresh token ends"), "{page}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn who_connects_without_credentials_is_led_to_the_set_up() {
    let none = ["smartcar.application_id", "smartcar.v2.client_id", "smartcar.v2.client_secret"].map(|key| (key, ""));
    let gateway = TestGateway::with(155, &none, Settings { seed: 155, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    let answer = person.send("/connect", &[]).await;
    let page = answer.text();
    assert_eq!(answer.status, 503, "{page}");
    assert!(
        page.contains("<h1>The set-up needs a change</h1>") && page.contains("class=\"button\" href=\"/setup\">Open set-up<"),
        "{page}"
    );
    assert!(page.contains("href=\"/\">To the cars<") && !page.contains("Service Unavailable"), "{page}");
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_is_not_there_leads_back_to_the_log() {
    let gateway = TestGateway::with(153, &[], Settings { seed: 153, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    for path in ["/webhooks/4711", "/webhooks/none"] {
        let answer = gateway.get(path).header("cookie", person.cookie()).header("accept", "text/html").send().await;
        let page = answer.text();
        assert_eq!(answer.status, 404, "{page}");
        assert!(page.contains("<h1>Nothing is here</h1>") && page.contains("class=\"button\" href=\"/webhooks\""), "{page}");
        assert_eq!(page.contains("This delivery is not in the log."), path.ends_with("4711"), "{page}");
    }
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
