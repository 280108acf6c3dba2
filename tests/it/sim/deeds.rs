//! How everything that can happen is done, and what is believed of it afterwards.

use std::time::Duration;

use carport::simulator::{Fault, FaultKind, Faults};
use serde_json::{Value, json};
use url::Url;

use super::beliefs::{Beliefs, ODOMETER, PLACE, Seen, odometer};
use super::day::Day;
use crate::gateway::{CALLBACK, events};
use crate::simulator::rig::{ADA, GRACE};
use crate::store::disk::Fault as Broken;

/// The owners, who are called like their accounts. The second one has no tokens of her own.
pub(super) const OWNERS: [&str; 2] = [ADA, GRACE];

/// Nothing goes wrong any more.
pub(super) fn all_is_well(day: &mut Day) {
    set_faults(day, Vec::new());
    day.disk_is_mended();
    day.machine.time.set_error(0);
}

pub(super) fn set_faults(day: &mut Day, faults: Vec<Fault>) {
    let machine = &day.machine;
    let harmless = |fault: &Fault| matches!(fault.kind, FaultKind::Delay(time) if time < Duration::from_secs(5));
    machine.with_time(|| {
        machine.net.is_well("network");
        if !faults.iter().all(harmless) {
            machine.net.goes_wrong("network");
        }
        machine.simulator.set_faults(Faults::new(faults));
    });
}

impl Day {
    // === Deliveries ===

    /// Sends an event, and believes what comes back. `None` if the power went meanwhile.
    pub(super) fn deliver(&mut self, event: &str, body: &str) -> Option<u16> {
        self.beliefs.sent(event, body);
        let caller = self.machine.caller();
        let body = body.to_owned();
        let answer = self.machine.run(async move { caller.deliver(body, true).await })?;
        match answer.status {
            200 => {
                let answer = answer.json();
                let is_duplicate = answer["status"] == "duplicate";
                let wall = self.machine.with_time(|| self.machine.time.wall().now());
                self.beliefs.acknowledged(event, is_duplicate, answer["seq"].as_u64().unwrap(), wall);
                self.tally.acknowledged += 1;
            }
            // The disk refuses, or the follower is behind.
            503 => {}
            status => panic!("{event}: {status} {}", answer.text()),
        }
        Some(answer.status)
    }

    pub(super) fn deliver_new(&mut self, is_unknown: bool) -> Option<String> {
        let event = format!("e-{:016x}", self.chance.next());
        let account = OWNERS[self.chance.below(2)];
        let accounts = self.machine.with_time(|| self.machine.simulator.accounts());
        let known = accounts.into_iter().find(|known| known.email == account).unwrap().vehicle_ids;
        let vehicle = if is_unknown { "a-car-of-nobody".to_owned() } else { known[self.chance.below(known.len())].clone() };
        // Late, or in time: recorded within the last ten days.
        let now = self.machine.with_time(|| self.machine.time.now()).as_millis();
        let at = (now - i64::try_from(self.chance.next() % 864_000_000).unwrap()) / 1000 * 1000 + 7;
        let mut signals = vec![events::signal(ODOMETER, odometer(at), at)];
        if self.chance.percent(30) {
            signals.push(with_body("vehicleidentification-vin", &json!({ "value": self.canaries.vin }), at));
            let place = json!({ "latitude": self.canaries.latitude.parse::<f64>().unwrap(), "longitude": 11.5 });
            signals.push(with_body(PLACE, &place, at));
        }
        let body = events::state(&event, &vehicle, &signals).to_string();
        self.deliver(&event, &body).map(|status| format!("{event}: {status}"))
    }

    pub(super) fn deliver_badly(&mut self) -> Option<String> {
        let body = events::state("forged", "a-car-of-nobody", &[]).to_string();
        let caller = self.machine.caller();
        let answer = self.machine.run(async move { caller.deliver(body, false).await })?;
        assert!([401, 429].contains(&answer.status), "unsigned: {}", answer.text());
        None
    }

    pub(super) fn deliver_huge(&mut self) -> Option<String> {
        let event = format!("e-{:016x}", self.chance.next());
        let mut body = events::state(&event, "a-car-of-nobody", &[]);
        let is_too_long = self.chance.percent(50);
        body["noise"] = json!("x".repeat(if is_too_long { 70_000 } else { 60_000 }));
        if !is_too_long {
            return self.deliver(&event, &body.to_string()).map(|status| format!("{event}: {status}"));
        }
        let caller = self.machine.caller();
        let answer = self.machine.run(async move { caller.deliver(body.to_string(), true).await })?;
        assert_eq!(answer.status, 413, "{}", answer.text());
        None
    }

    // === Owners ===

    /// An invite, opened in a browser: where it leads, and the cookie.
    fn begin(&mut self, owner: &str) -> Option<Result<(Url, String), String>> {
        let caller = self.machine.caller();
        let request = json!({ "user": owner, "create": true });
        let begun = self.machine.run(async move {
            let answer = caller.ask("POST", "/api/v1/connect", Some(request)).await;
            if answer.status != 201 {
                return Err((answer.status, answer.text()));
            }
            let url = answer.json()["url"].as_str().unwrap().to_owned();
            let answer = caller.browse(url.strip_prefix("https://gateway.example").unwrap(), "").await;
            if answer.status != 302 {
                return Err((answer.status, answer.text()));
            }
            let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
            Ok((Url::parse(answer.header("location").unwrap()).unwrap(), cookie))
        })?;
        Some(begun.map_err(|(status, text)| {
            assert_eq!(status, 503, "{text}");
            text
        }))
    }

    pub(super) fn connect(&mut self) -> Option<String> {
        let owner = OWNERS[self.chance.below(if self.machine.ring == 2 { 2 } else { 1 })];
        let (authorize, cookie) = match self.begin(owner)? {
            Ok(begun) => begun,
            Err(text) => return Some(text),
        };
        let simulator = self.machine.simulator.clone();
        let consented = self.machine.run(async move { simulator.consent(authorize.as_str(), owner).await })?.unwrap();
        let url = Url::parse(&consented).unwrap();
        if let Some((_, code)) = url.query_pairs().find(|(name, _)| name == "code") {
            self.machine.net.agreed(owner, &code);
        }
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let caller = self.machine.caller();
        let text = self.machine.run(async move {
            let answer = caller.browse(&path, &cookie).await;
            match answer.header("location") {
                Some(location) => caller.browse(location, "").await.text(),
                None => answer.text(),
            }
        })?;
        let told = ["onnected", "try again"].into_iter().find(|words| text.contains(words));
        Some(format!("{owner}: {told:?}"))
    }

    pub(super) fn deny(&mut self) -> Option<String> {
        let owner = OWNERS[0];
        let (authorize, cookie) = match self.begin(owner)? {
            Ok(begun) => begun,
            Err(text) => return Some(text),
        };
        let state = authorize.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
        let path = format!("{CALLBACK}?error=access_denied&error_description=User%20denied&state={state}");
        let caller = self.machine.caller();
        let status = self.machine.run(async move { caller.browse(&path, &cookie).await })?.status;
        assert!([303, 503].contains(&status), "denied: {status}");
        None
    }

    /// One of the connections: its id and its owner.
    fn pick(&mut self) -> Option<(String, String)> {
        let store = self.machine.store();
        let seen = self.machine.run(async move { store.read(|snapshot| Seen::of(snapshot, false)).await })?.ok()?;
        let alive = Beliefs::alive(&seen);
        let (id, owner, ..) = alive.get(self.chance.below(alive.len()))?;
        Some((id.to_string(), owner.clone()))
    }

    fn ask(&mut self, method: &'static str, path: String, allowed: &[u16]) -> Option<String> {
        let caller = self.machine.caller();
        let answer = self.machine.run(async move { caller.ask(method, &path, None).await })?;
        assert!(allowed.contains(&answer.status), "{}", answer.text());
        Some(format!("{}", answer.status))
    }

    pub(super) fn disconnect(&mut self) -> Option<String> {
        let (id, owner) = self.pick()?;
        self.beliefs.leaves(&owner);
        let done =
            self.ask("DELETE", format!("/api/v1/connections/{id}?history=keep"), &[200, 204, 404, 409, 502, 503, 504, 429]);
        Some(format!("{owner}: {done:?}"))
    }

    pub(super) fn refresh(&mut self) -> Option<String> {
        let (id, owner) = self.pick()?;
        let done = self.ask("POST", format!("/api/v1/connections/{id}/refresh"), &[200, 404, 409, 429, 502, 503, 504])?;
        Some(format!("{owner}: {done}"))
    }

    pub(super) fn read(&mut self) -> Option<String> {
        let accounts = self.machine.with_time(|| self.machine.simulator.accounts());
        let vehicles: Vec<String> = accounts.into_iter().flat_map(|account| account.vehicle_ids).collect();
        let vehicle = &vehicles[self.chance.below(vehicles.len())];
        let path = format!("/api/v1/vehicles/{vehicle}/refresh");
        self.ask("POST", path, &[200, 400, 403, 404, 409, 429, 501, 502, 503, 504])
    }

    // === Time ===

    pub(super) fn wait(&mut self, time: Duration) -> String {
        self.machine.run(async { tokio::time::sleep(time).await });
        format!("{time:?}")
    }

    /// The machine is suspended, and wakes up.
    pub(super) fn sleep(&mut self, time: Duration) -> Option<String> {
        let machine = &self.machine;
        machine.with_time(|| machine.net.goes_wrong("suspended"));
        let slept = machine.run(async { tokio::time::advance(time).await });
        machine.with_time(|| machine.net.is_well("suspended"));
        slept?;
        let awake = Duration::from_secs(self.chance.next() % 100);
        self.machine.run(async { tokio::time::sleep(awake).await });
        Some(format!("{time:?}, then awake for {awake:?}"))
    }

    pub(super) fn restart(&mut self) -> Option<String> {
        if self.machine.net.is_wrong("disk") {
            self.disk_is_mended();
        }
        self.machine.stop()?;
        let flushed = self.machine.disk.flushed();
        match self.machine.switch_on()? {
            Ok(()) => self.was_switched_on(flushed),
            Err(error) => panic!("it does not start again: {error}"),
        }
        None
    }

    // === Trouble ===

    pub(super) fn faults(&mut self) -> String {
        let mut faults = Vec::new();
        for _ in 0..=self.chance.below(2) {
            let kind = match self.chance.below(9) {
                0 => FaultKind::Refuse,
                1 => FaultKind::Delay(Duration::from_millis(self.chance.next() % 5_000)),
                2 => FaultKind::Delay(Duration::from_millis(self.chance.next() % 30_000)),
                3 => FaultKind::LoseAnswer,
                4 | 5 => FaultKind::RotateThenLose,
                6 => FaultKind::Garble,
                7 => FaultKind::Throttle([None, Some(5), Some(30)][self.chance.below(3)]),
                _ => FaultKind::Fail,
            };
            let times = self.chance.maybe(50, |chance| 1 + u32::try_from(chance.below(4)).unwrap());
            let probability = [0.3, 1.0][self.chance.below(2)];
            faults.push(Fault { kind, probability, times });
        }
        let text = format!("{faults:?}");
        set_faults(self, faults);
        text
    }

    pub(super) fn disk_breaks(&mut self, fault: Broken) -> Option<String> {
        self.machine.disk.break_at(fault);
        let machine = &self.machine;
        machine.with_time(|| machine.net.goes_wrong("disk"));
        None
    }

    pub(super) fn disk_is_mended(&mut self) -> Option<String> {
        self.machine.disk.mend();
        self.machine.disk.leave(1 << 30);
        let store = self.machine.store();
        self.machine.run(async move { store.tend().await })?;
        let machine = &self.machine;
        machine.with_time(|| machine.net.is_well("disk"));
        None
    }
}

fn with_body(code: &str, body: &Value, at: i64) -> Value {
    let mut signal = events::signal(code, 0, at);
    signal["body"] = body.clone();
    signal
}
