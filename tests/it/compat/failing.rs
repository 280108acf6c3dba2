//! An endpoint that fails, and a car that does: what is left alone is what fails.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Response;
use serde_json::json;

use super::{V2, calls, is_error, with_owner};
use crate::gateway::TestGateway;
use crate::simulator::rig::Answer;

/// Parts of a batch at these paths fail, as if their endpoint at the manufacturer did not answer.
fn fail(gateway: &TestGateway) -> Arc<Mutex<BTreeSet<&'static str>>> {
    let failing = Arc::new(Mutex::new(BTreeSet::new()));
    let paths = failing.clone();
    gateway.net.change(move |request, response| {
        let paths = paths.lock().unwrap().clone();
        let mut answer: serde_json::Value = serde_json::from_slice(response.body()).ok()?;
        for part in answer["responses"].as_array_mut()?.iter_mut().filter(|part| paths.contains(part["path"].as_str().unwrap())) {
            *part = json!({
                "path": part["path"],
                "code": 502,
                "body": { "type": "UPSTREAM", "code": "NO_RESPONSE", "statusCode": 502, "resolution": { "type": "RETRY_LATER" } },
            });
        }
        request.uri().path().ends_with("/batch").then(|| Ok(Response::new(Bytes::from(answer.to_string()))))
    });
    failing
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_fails_keeps_nobody_from_the_others() {
    let (gateway, car, token) = with_owner(570, V2, &[]).await;
    let ask = async |path: &str, fresh: bool| -> Answer {
        let ask = gateway.get(&format!("/v2.0/vehicles/{car}/{path}")).bearer(&token);
        if fresh { ask.header("cache-control", "no-cache") } else { ask }.send().await
    };
    for path in ["odometer", "battery", "location", "charge"] {
        assert_eq!(ask(path, false).await.status, 200, "{path}");
    }
    let failing = fail(&gateway);
    failing.lock().unwrap().insert("/battery");
    let before = calls(&gateway, &car);
    for _ in 0..3 {
        is_error(&ask("battery", true).await, 502, "UPSTREAM", Some("NO_RESPONSE"));
    }
    assert_eq!(calls(&gateway, &car), before + 1);
    assert_eq!((ask("odometer", true).await.status, calls(&gateway, &car)), (200, before + 2));

    // If one after the other fails, it is the car.
    failing.lock().unwrap().extend(["/location", "/charge", "/odometer"]);
    for path in ["location", "charge", "odometer"] {
        let answer = ask(path, true).await;
        is_error(&answer, 502, "UPSTREAM", Some("NO_RESPONSE"));
    }
    assert_eq!(calls(&gateway, &car), before + 4);
    gateway.finish().await;
}
