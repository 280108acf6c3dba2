//! Smartcar's store, from which v3 answers: current of a car whose webhook is fed, else as old as the last fetch.

use super::*;

/// What v3 tells of the odometer, and when that was fetched.
async fn odometer(rig: &Rig, (token, user_id, vehicle): &(String, String, String)) -> (f64, Timestamp) {
    let path = format!("/v3/vehicles/{vehicle}/signals/odometer-traveleddistance");
    let signal = rig.get_as(&path, token, user_id).await.json()["data"].clone();
    let fetched_at = Timestamp::parse(signal["meta"]["retrievedAt"].as_str().unwrap()).unwrap();
    (signal["attributes"]["body"]["value"].as_f64().unwrap(), fetched_at)
}

/// Tokens that outlive every story here.
fn patient() -> Settings {
    let life = hours(24 * 60);
    Settings { application_token_life: life, access_life: life, ..Settings::default() }
}

fn hours(count: u64) -> Duration {
    Duration::from_secs(count * 3600)
}

fn now(rig: &Rig) -> Timestamp {
    rig.receiver.clock.lock().unwrap().as_ref().unwrap().now()
}

#[tokio::test(start_paused = true)]
async fn a_car_without_a_webhook_is_fetched_once_a_day() {
    let rig = Rig::new(patient());
    let grace = rig.grace().await;
    let connected_at = now(&rig);
    let first = odometer(&rig, &grace).await;
    assert_eq!(first.1, connected_at);
    tokio::time::advance(hours(23)).await;
    assert_eq!(odometer(&rig, &grace).await, first, "a day has not passed");
    tokio::time::advance(hours(2)).await;
    let second = odometer(&rig, &grace).await;
    assert!(second.0 > first.0 && second.1.since(first.1) < hours(24) + Duration::from_secs(61), "{first:?} {second:?}");
    tokio::time::advance(hours(2)).await;
    assert_eq!(odometer(&rig, &grace).await, second);

    // A command reaches the car, and so does its owner's connecting it again.
    let headers = [("authorization", format!("Bearer {}", grace.0)), ("sc-user-id", grace.1.clone())];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    rig.consent(GRACE, &[("scope", "control_security read_odometer read_security")]).await;
    tokio::time::advance(hours(3)).await;
    for command in ["unlock", "lock"] {
        let told = rig.send("POST", &format!("/v3/vehicles/{}/commands/security/{command}", grace.2), &headers, "").await;
        if told.status == 200 {
            assert_eq!(odometer(&rig, &grace).await.1, now(&rig));
            let path = format!("/v3/vehicles/{}/signals/closure-islocked", grace.2);
            let locked = rig.get_as(&path, &grace.0, &grace.1).await.json();
            assert_eq!(locked["data"]["attributes"]["body"]["value"], command == "lock");
        }
    }
    tokio::time::advance(hours(5)).await;
    assert_eq!(odometer(&rig, &grace).await.1.after(hours(5)), now(&rig));
    rig.consent(GRACE, &[]).await;
    assert_eq!(odometer(&rig, &grace).await.1, now(&rig));

    // Who wants it otherwise turns the knob; v2.0 asks the car itself in any case.
    tokio::time::advance(hours(5)).await;
    rig.simulator.turn("unsubscribed=live").unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(odometer(&rig, &grace).await.1, now(&rig));
    let (access, _) = rig.ada().await;
    let path = format!("/v2.0/vehicles/{}/odometer", rig.vehicles(ADA)[0]);
    let before = rig.get(&path, &access).await.json()["distance"].as_f64().unwrap();
    tokio::time::advance(hours(12)).await;
    assert!(rig.get(&path, &access).await.json()["distance"].as_f64().unwrap() > before);
}

/// Who lets the cars live faster sees their days pass faster.
#[tokio::test(start_paused = true)]
async fn the_day_is_that_of_the_cars() {
    let rig = Rig::new(Settings { speed: 60.0, ..patient() });
    let grace = rig.grace().await;
    let first = odometer(&rig, &grace).await;
    tokio::time::advance(Duration::from_secs(23 * 60)).await;
    assert_eq!(odometer(&rig, &grace).await, first);
    tokio::time::advance(Duration::from_secs(2 * 60)).await;
    assert!(odometer(&rig, &grace).await.1 > first.1);
}

#[tokio::test(start_paused = true)]
async fn a_verified_webhook_keeps_the_store_current_until_the_subscription_ends() {
    let rig = Rig::new(Settings { webhook: Some(WebhookSettings::new("http://127.0.0.1:1/hook")), ..patient() });
    let grace = rig.grace().await;
    let connected_at = now(&rig);
    tokio::time::advance(hours(2)).await;
    assert_eq!(odometer(&rig, &grace).await.1, connected_at, "the webhook is not verified yet");
    assert!(rig.simulator.verify().await);
    for _ in 0..3 {
        tokio::time::advance(hours(2)).await;
        assert_eq!(odometer(&rig, &grace).await.1, now(&rig));
    }
    // In trouble nothing new comes in, and afterwards everything does.
    rig.simulator.set_trouble(&grace.2, Some("VEHICLE_STATE.UNREACHABLE")).unwrap();
    let troubled_at = now(&rig);
    tokio::time::advance(hours(30)).await;
    assert_eq!(odometer(&rig, &grace).await.1, troubled_at);
    rig.simulator.set_trouble(&grace.2, None).unwrap();
    assert_eq!(odometer(&rig, &grace).await.1, now(&rig));

    let bearer = format!("Bearer {}", grace.0);
    let subscriptions = rig.get("/v3/subscriptions", &grace.0).await.json();
    let path = format!("/v3/subscriptions/{}", subscriptions["data"][0]["id"].as_str().unwrap());
    assert_eq!(rig.send("DELETE", &path, &[("authorization", &bearer)], "").await.status, 204);
    let ended_at = now(&rig);
    tokio::time::advance(hours(6)).await;
    let last = odometer(&rig, &grace).await.1;
    assert!(last.since(ended_at) < Duration::from_secs(61), "{last} {ended_at}");
    // An unsubscribed car in trouble has what was fetched before it, however long that is ago.
    rig.simulator.set_trouble(&grace.2, Some("VEHICLE_STATE.UNREACHABLE")).unwrap();
    tokio::time::advance(hours(48)).await;
    assert_eq!(odometer(&rig, &grace).await.1, last);
}

/// Connecting again, or signing in again for a car, ends what was wrong with the sign-in, and Smartcar fetches at once: not
/// only on the next day.
#[tokio::test(start_paused = true)]
async fn who_signs_in_again_gets_a_current_store() {
    let rig = Rig::new(patient());
    let grace = rig.grace().await;
    let client = rig.simulator.settings().application.application_id.clone();
    let again = format!(
        "https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id={client}&vehicle_id={}\
         &redirect_uri=https%3A%2F%2Fgateway.example%2Fcallback",
        grace.2
    );
    for url in [rig.authorize_url(&[]), again] {
        let began = now(&rig);
        rig.simulator.set_trouble(&grace.2, Some("CONNECTED_SERVICES_ACCOUNT.AUTHENTICATION_FAILED")).unwrap();
        rig.simulator.turn("signal-trouble=no").unwrap();
        tokio::time::advance(hours(5)).await;
        assert!(odometer(&rig, &grace).await.1 <= began, "the car cannot be asked");
        rig.simulator.consent(&url, GRACE).await.unwrap();
        assert_eq!(odometer(&rig, &grace).await.1, now(&rig), "{url}");
        // From then on it is a day again.
        let fetched_at = now(&rig);
        tokio::time::advance(hours(5)).await;
        assert_eq!(odometer(&rig, &grace).await.1, fetched_at);
    }
}
