//! Pages of errors: a way on for everybody, and what is around it for who is signed in.

use carport::simulator::Settings;

use super::Person;
use crate::gateway::TestGateway;

const NAVIGATION: &str = "<nav aria-label=\"Main\">";
const TO_THE_CARS: &str = "href=\"/\">To the cars</a>";

#[tokio::test(start_paused = true)]
async fn who_is_signed_in_finds_the_way_back_from_an_error() {
    let gateway = TestGateway::with(145, &[], Settings { seed: 145, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    let get = |path: &str| gateway.get(path).header("cookie", &person.cookie).header("accept", "text/html");
    let wrong_method = gateway.ask("DELETE", "/system").header("cookie", &person.cookie).header("accept", "text/html");
    let forged = gateway.ask("POST", "/units").header("cookie", &person.cookie).header("accept", "text/html");
    for (status, sends_a_form, answer) in [
        (404, false, get("/nowhere").send().await),
        (404, false, get("/vehicles/nobody").send().await),
        (400, true, person.send("/units", &[("distance", "feet")]).await),
        (400, false, get("/system?what=this").send().await),
        (405, false, wrong_method.send().await),
        (403, true, forged.header("sec-fetch-site", "cross-site").form(&[("csrf", &person.csrf)]).send().await),
    ] {
        let page = answer.text();
        assert_eq!(answer.status, status, "{page}");
        assert!(page.contains(NAVIGATION) && page.contains(TO_THE_CARS), "{status}: {page}");
        // Only of a form it matters where whoever comes back is led: it would be sent again.
        assert_eq!(page.contains("data-page=\"/\""), sends_a_form, "{status}: {page}");
        // Signing out works from here, too.
        assert!(page.contains(&format!("name=\"csrf\" value=\"{}\"", person.csrf)), "{status}: {page}");
    }
    gateway.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stranger_is_led_to_the_start_and_shown_nothing_else() {
    let gateway = TestGateway::with(146, &[], Settings { seed: 146, ..Settings::default() }).await;
    let person = Person::of(&gateway).await;
    let plain = |page: &str| !page.contains("<nav") && !page.contains("<form") && !page.contains(&person.csrf);
    let lost = gateway.get("/nowhere").header("accept", "text/html").send().await;
    assert!(lost.status == 404 && lost.text().contains("href=\"/\">To the start</a>") && plain(&lost.text()), "{}", lost.text());
    let stale = format!("{}x", person.cookie);
    let lost = gateway.get("/nowhere").header("accept", "text/html").header("cookie", &stale).send().await;
    assert!(lost.status == 404 && plain(&lost.text()), "{}", lost.text());
    // Under a name that is not ours nobody is known, whatever the browser brings along.
    let elsewhere = gateway
        .get("/")
        .header("accept", "text/html")
        .header("cookie", &person.cookie)
        .without("host")
        .header("host", "evil.example");
    let elsewhere = elsewhere.send().await;
    assert!(elsewhere.status == 421 && plain(&elsewhere.text()), "{}: {}", elsewhere.status, elsewhere.text());
    assert!(!elsewhere.text().contains("href=\"/\""), "{}", elsewhere.text());
    // Programs get no page.
    let api = gateway.get("/api/v1/nowhere").header("accept", "text/html").header("cookie", &person.cookie).send().await;
    assert_eq!((api.status, api.header("content-type")), (404, Some("application/problem+json")));
    gateway.finish().await;
}
