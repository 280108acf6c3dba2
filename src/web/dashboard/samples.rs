//! A garage to look at: an EV that charges, an EV that needs its owner, a combustion car with old data.

use std::time::Duration;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Shell, Tab};
use crate::connect::{Ending, Invite, LinkedVehicle};
use crate::ingest::{LastVerify, Refusal};
use crate::model::audit::{Actor, AuditEntry};
use crate::model::capability::Ability;
use crate::model::gap::{Gap, GapCause};
use crate::model::normal::{Normal, Units};
use crate::model::reading::{SignalFailure, Source};
use crate::model::token::Generation;
use crate::model::vehicle::VehicleError;
use crate::model::{AppUserId, ConnectionId, Json, Seq, SmartcarUserId, Timestamp, VehicleId};
use crate::operate::audit::AuditView;
use crate::operate::deliveries::DeliveryView;
use crate::operate::notices::NoticeView;
use crate::operate::status::{Missing, RefreshStatus, StatusView, StoreStatus, WebhookStatus};
use crate::vehicles::connections::ConnectionView;
use crate::vehicles::{CapabilityView, Light, Lights, PollingView, SignalView, VehicleName, VehicleView};

mod past;
mod system;

pub(super) use self::past::{Lived, command, lived, past};
pub(super) use self::system::{budget, key, makeable, probes, sessions, tokens, users};

pub(super) const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

const MINUTE: u64 = 60;
const DAY: u64 = 86_400;

pub(super) fn ago(seconds: u64) -> Timestamp {
    NOW.before(Duration::from_secs(seconds))
}

pub(super) fn ahead(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

pub(super) fn shell(active: Tab) -> Shell<'static> {
    Shell { signed_in: true, csrf: Some("csrf-token"), can_sign_out: true, insecure_warning: false, active, ..outside() }
}

pub(super) fn outside() -> Shell<'static> {
    Shell::outside(NOW)
}

fn signal(group: &str, name: &str, body: &Value, age: u64) -> SignalView {
    let signal = SignalView {
        code: format!("{group}-{name}").to_lowercase(),
        group: Some(group.to_owned()),
        name: Some(name.to_owned()),
        body: Some(Json::of(body)),
        status: "SUCCESS".to_owned(),
        error: None,
        oem_updated_at: Some(ago(age)),
        retrieved_at: Some(ago(age.saturating_sub(2))),
        source: Some(Source::Webhook),
        kind: None,
        value: Value::Null,
        unit: None,
        normal: Normal::Nothing,
    };
    signal.in_units(Units::Metric)
}

/// A signal by its code.
pub(super) fn signal_of(code: &str, body: &Value) -> SignalView {
    let (group, name) = code.split_once('-').unwrap();
    signal(group, name, body, 0)
}

fn failed(mut signal: SignalView, kind: &str, code: Option<&str>, keep: bool) -> SignalView {
    signal.status = "ERROR".to_owned();
    signal.error = Some(SignalFailure { status: "ERROR".to_owned(), kind: Some(kind.to_owned()), code: code.map(str::to_owned) });
    if !keep {
        signal = SignalView { body: None, oem_updated_at: None, retrieved_at: None, source: None, ..signal };
    }
    signal
}

fn tires(age: u64, pressures: [f64; 4]) -> SignalView {
    let tire = |index: usize, pressure: f64| json!({"row": index / 2, "column": index % 2, "tirePressure": pressure});
    let values: Vec<Value> = pressures.into_iter().enumerate().map(|(index, pressure)| tire(index, pressure)).collect();
    signal("Wheel", "Tires", &json!({"values": values, "rowCount": 2, "columnCount": 2, "unit": "kPa"}), age)
}

fn lacks() -> Vec<CapabilityView> {
    let lack = |code: &str, state, reason: &str| CapabilityView {
        code: code.to_owned(),
        state,
        at: Some(ago(3 * DAY)),
        reason: Some(reason.to_owned()),
        permission: Some("read_diagnostics").filter(|_| state == Ability::NoPermission),
        error: None,
    };
    vec![
        lack("diagnostics-dtclist", Ability::NoPermission, "The owner has not allowed this (read_diagnostics)"),
        lack("location-isathome", Ability::NotCapable, "This car does not report this"),
    ]
}

fn light(color: &'static str, text: &str) -> Light {
    Light { color, text: text.to_owned() }
}

fn connection_id(number: u128) -> ConnectionId {
    ConnectionId(Uuid::from_u128(0x0199_c7f2_8a10_7c31_9d1e_0000_0000_0000 + number))
}

fn charging() -> VehicleView {
    let percent = |value: u32| json!({"value": value, "unit": "percent"});
    let truth = |value: bool| json!({"value": value});
    let door = |row: u32, column: u32| json!({"row": row, "column": column, "isOpen": false, "isLocked": true});
    let limits = json!({"values": [{"type": "GLOBAL", "limit": 80, "condition": null}], "activeLimit": 80, "unit": "percent"});
    let place = json!({"latitude": 52.3702, "longitude": 4.8952, "heading": 132, "locationType": "LAST_PARKED"});
    let mut signals = vec![
        signal("TractionBattery", "StateOfCharge", &percent(64), 2 * MINUTE),
        signal("TractionBattery", "Range", &json!({"value": 265, "additionalValues": [], "unit": "km"}), 2 * MINUTE),
        signal("TractionBattery", "NominalCapacity", &json!({"capacity": 77.0, "source": "SMARTCAR", "unit": "kWh"}), 40 * DAY),
        signal("Charge", "IsCharging", &truth(true), 2 * MINUTE),
        signal("Charge", "Wattage", &json!({"value": 7300, "unit": "watts"}), 2 * MINUTE),
        signal("Charge", "TimeToComplete", &json!({"value": 100}), 2 * MINUTE),
        signal("Charge", "IsChargingCableConnected", &truth(true), 55 * MINUTE),
        signal("Charge", "ChargeLimits", &limits, 9 * DAY),
        signal("Odometer", "TraveledDistance", &json!({"value": 18342.6, "unit": "km"}), 55 * MINUTE),
        signal("Closure", "IsLocked", &truth(true), 54 * MINUTE),
        signal("Closure", "Doors", &json!({"values": [door(0, 0), door(0, 1), door(1, 0), door(1, 1)]}), 54 * MINUTE),
        signal("Climate", "ExternalTemperature", &json!({"value": 11.5, "unit": "celsius"}), 55 * MINUTE),
        signal("ConnectivityStatus", "IsOnline", &truth(true), 2 * MINUTE),
        signal("Location", "PreciseLocation", &place, 55 * MINUTE),
        signal(
            "Charge",
            "ChargeTimers",
            &json!({"values": [{"type": "GLOBAL", "schedules": [{"start": "22:00", "end": "06:00"}]}]}),
            DAY,
        ),
        tires(3 * 3_600, [241.3, 239.0, 252.1, 699.9]),
    ];
    signals.push(failed(signal("Location", "IsAtHome", &truth(true), 0), "COMPATIBILITY", Some("VEHICLE_NOT_CAPABLE"), false));
    signals.push(failed(signal("Diagnostics", "DTCCount", &truth(true), 0), "PERMISSION", None, false));
    VehicleView {
        id: VehicleId::new("b7e4c2a1-9d38-4f60-a5b1-1f2e3d4c5b6a"),
        make: Some("VOLKSWAGEN".into()),
        model: Some("ID.4".into()),
        year: Some(2023),
        vin: Some("WVWZZZE1ZMP000001".into()),
        nickname: Some("Blue whale".into()),
        called: None,
        mode: Some("simulated".into()),
        user: AppUserId::new("owner"),
        connection: Some(connection_id(1)),
        broken: None,
        former: false,
        signals: signals.into_iter().map(|signal| (signal.code.clone(), signal)).collect(),
        last_event_at: Some(ago(90)),
        lights: Lights {
            data_flow: light("green", "Data come in: the last delivery is 1 minute old."),
            authority: light("green", "The owner's consent stands."),
        },
        errors: Vec::new(),
        capabilities: lacks(),
        polling: PollingView::off(),
        missing: None,
    }
}

fn broken() -> VehicleView {
    let mut signals = vec![
        signal("TractionBattery", "StateOfCharge", &json!({"value": 17, "unit": "percent"}), 3 * DAY),
        signal("TractionBattery", "Range", &json!({"value": 71.2, "unit": "km"}), 3 * DAY),
        signal("Charge", "IsCharging", &json!({"value": false}), 3 * DAY),
        signal("Charge", "IsChargingCableConnected", &json!({"value": false}), 3 * DAY),
        signal("Odometer", "TraveledDistance", &json!({"value": 104_220.1, "unit": "km"}), 3 * DAY),
    ];
    signals.push(failed(
        signal("Closure", "IsLocked", &json!({"value": null}), 3 * DAY),
        "CONNECTED_SERVICES_ACCOUNT",
        Some("AUTHENTICATION_FAILED"),
        true,
    ));
    VehicleView {
        id: VehicleId::new("0d5e1f7a-3c2b-4a19-8877-665544332211"),
        make: Some("TESLA".into()),
        model: Some("Model 3".into()),
        year: Some(2021),
        vin: None,
        nickname: None,
        called: None,
        mode: Some("live".into()),
        user: AppUserId::new("anna"),
        connection: Some(connection_id(2)),
        broken: None,
        former: false,
        signals: signals.into_iter().map(|signal| (signal.code.clone(), signal)).collect(),
        last_event_at: Some(ago(3 * DAY)),
        lights: Lights {
            data_flow: light("red", "Nothing has come in for 3 days."),
            authority: light("red", "The maker's account no longer lets Smartcar in."),
        },
        capabilities: Vec::new(),
        polling: PollingView::off(),
        errors: vec![VehicleError {
            kind: "CONNECTED_SERVICES_ACCOUNT".into(),
            code: Some("AUTHENTICATION_FAILED".into()),
            description: Some("Smartcar was unable to authenticate with the user's connected services account.".into()),
            message: Some("Your Tesla password has changed. Please connect your car again.".into()),
            resolution: Some("REAUTHENTICATE".into()),
            resolution_url: None,
            signals: Vec::new(),
            since: ago(3 * DAY),
        }],
        missing: None,
    }
}

fn combustion() -> VehicleView {
    let signals = vec![
        signal("InternalCombustionEngine", "FuelLevel", &json!({"value": 0.31}), 16 * DAY),
        signal("InternalCombustionEngine", "Range", &json!({"value": 205, "unit": "miles"}), 16 * DAY),
        signal("InternalCombustionEngine", "OilLife", &json!({"value": 55, "unit": "percent"}), 16 * DAY),
        signal("Odometer", "TraveledDistance", &json!({"value": 61_009.0, "unit": "km"}), 16 * DAY),
        signal("Closure", "IsLocked", &json!({"value": null}), 16 * DAY),
        tires(16 * DAY, [221.0, 219.0, 214.1, 216.7]),
    ];
    VehicleView {
        id: VehicleId::new("77aa11bb-9d38-4f60-a5b1-000000000003"),
        make: Some("FORD".into()),
        model: Some("Focus".into()),
        year: Some(2019),
        vin: None,
        nickname: None,
        called: None,
        mode: Some("live".into()),
        user: AppUserId::new("owner"),
        connection: Some(connection_id(3)),
        broken: None,
        former: false,
        signals: signals.into_iter().map(|signal| (signal.code.clone(), signal)).collect(),
        last_event_at: Some(ago(5 * 3_600)),
        lights: Lights {
            data_flow: light("yellow", "Deliveries come in, but the car itself has told nothing new for 16 days."),
            authority: light("green", "The owner's consent stands."),
        },
        errors: Vec::new(),
        capabilities: Vec::new(),
        polling: PollingView::off(),
        missing: None,
    }
}

pub(super) fn vehicles() -> Vec<VehicleView> {
    vec![charging(), broken(), combustion()]
}

pub(super) fn names(vehicles: &[VehicleView]) -> Vec<VehicleName> {
    let name = |(row, vehicle): (u32, &VehicleView)| {
        let VehicleView { id, nickname, called, make, model, year, user, former, .. } = vehicle.clone();
        VehicleName { id, nickname, called, make, model, year, user, former, row }
    };
    (1..).zip(vehicles).map(name).collect()
}

pub(super) fn connections() -> Vec<ConnectionView> {
    let scope = ["read_vehicle_info", "read_vin", "read_odometer", "read_battery", "read_charge", "read_location"];
    let fine = |number: u128, vehicle: &VehicleView| ConnectionView {
        id: connection_id(number),
        user: vehicle.user.clone(),
        smartcar_user_id: Some(SmartcarUserId::new("6f1d2c3b-4a59-4e68-8f77-0c1d2e3f4a5b")),
        generation: Generation::V3,
        status: "active",
        reason: None,
        reconnect_url: None,
        scope: scope.map(str::to_owned).to_vec(),
        missing_scope: Vec::new(),
        access_expires_at: Some(ahead(41 * MINUTE)),
        refresh_expires_at: None,
        last_refresh: Some(ago(19 * MINUTE)),
        next_refresh: Some(ahead(31 * MINUTE)),
        last_error: None,
        vehicles: vec![vehicle.id.clone()],
        serves_none: false,
    };
    let cars = vehicles();
    let mut broken = fine(2, &cars[1]);
    broken.generation = Generation::V2;
    broken.status = "needs_reconnect";
    broken.reason = Some("Smartcar refused the refresh token: the owner has to agree again.".into());
    broken.reconnect_url = Some("https://car.example.org/connections".into());
    broken.refresh_expires_at = Some(ago(2 * DAY));
    broken.access_expires_at = Some(ago(3 * DAY));
    broken.next_refresh = None;
    let mut old = fine(3, &cars[2]);
    old.generation = Generation::V2;
    old.refresh_expires_at = Some(ahead(52 * DAY));
    old.next_refresh = Some(ago(3));
    old.missing_scope = vec!["read_fuel".into(), "read_tires".into()];
    old.last_error = Some("Smartcar answered 502; trying again in 4 minutes.".into());
    vec![fine(1, &cars[0]), broken, old]
}

pub(super) fn deliveries() -> Vec<DeliveryView> {
    let cars = vehicles();
    let payload = include_str!("../../../tests/fixtures/webhook-v4-vehicle-state-signal-updated.json");
    let one = |seq: u64, age: u64, kind: &str, result: &'static str, vehicle: Option<&VehicleView>| DeliveryView {
        seq: Seq(seq),
        received_at: ago(age),
        kind: kind.to_owned(),
        result,
        vehicle: vehicle.map(|vehicle| vehicle.id.clone()),
        event_id: Some(format!("0a8c1b2d-2222-4f3e-9a4b-{seq:012}")),
        delivery_id: Some(format!("f1c9b7e6-4d8e-44b5-8a06-{seq:012}")),
        bytes: payload.len(),
        payload: (seq == 10_482).then(|| serde_json::from_str(payload).unwrap()),
    };
    vec![
        one(10_482, 90, "VEHICLE_STATE", "accepted", Some(&cars[0])),
        one(10_481, 700, "VEHICLE_STATE", "accepted", Some(&cars[0])),
        one(10_480, 5 * 3_600, "VEHICLE_STATE", "accepted", Some(&cars[2])),
        one(10_479, DAY, "VEHICLE_STATE", "test", None),
        one(10_478, 3 * DAY, "VEHICLE_ERROR", "accepted", Some(&cars[1])),
        one(10_477, 4 * DAY, "VEHICLE_DREAM", "unknown_type", Some(&cars[1])),
        DeliveryView {
            vehicle: Some(VehicleId::new("99999999-gone")),
            ..one(10_476, 5 * DAY, "VEHICLE_STATE", "unknown_vehicle", None)
        },
        one(10_475, 6 * DAY, "", "not_understood", None),
    ]
}

pub(super) fn refused() -> Vec<Refusal> {
    vec![
        Refusal { at: ago(8 * MINUTE), code: "bad_signature", reason: "The signature is missing or wrong.", bytes: 212 },
        Refusal { at: ago(2 * DAY), code: "too_large", reason: "The body is over the cap.", bytes: 70_112 },
    ]
}

pub(super) fn status(missing: bool) -> StatusView {
    let lack = |code, what: &str, remedy: &str| Missing { code, what: what.to_owned(), remedy: remedy.to_owned() };
    let all = vec![
        lack(
            "management_token",
            "Carport cannot prove that deliveries come from Smartcar.",
            "Copy the application management token from Smartcar's dashboard and run `carport init`.",
        ),
        lack("public_url", "Smartcar cannot reach `http://localhost:8000`.", "Set `public_url` to an https address."),
    ];
    StatusView {
        version: "0.1.0",
        started_at: ago(4 * DAY),
        uptime_seconds: 4 * DAY,
        store: StoreStatus {
            healthy: true,
            bytes: 12_582_912,
            journal_bytes: 1_048_576,
            written_bytes: 730_000_000,
            written_today_bytes: 21_000_000,
            findings: if missing { vec!["a row of `vehicle_data` is <damaged>".to_owned()] } else { Vec::new() },
            free_bytes: Some(9_663_676_416),
            low: false,
        },
        webhooks: WebhookStatus {
            last_verify: (!missing).then(|| LastVerify { at: ago(12 * DAY), signed: true }),
            newest: Seq(10_482),
            entries: 10_000,
            bytes: 33_600_000,
            projector_lag: 0,
            last_delivery_at: (!missing).then(|| ago(90)),
            last_live_at: (!missing).then(|| ago(90)),
            gaps: vec![Gap { since: ago(3 * DAY), until: ago(3 * DAY - 90 * MINUTE), cause: GapCause::Down, vehicles: 3 }],
            to_read: 1,
        },
        refresh: RefreshStatus {
            active: if missing { 0 } else { 2 },
            needs_reconnect: u64::from(!missing),
            next_due_at: (!missing).then(|| ahead(31 * MINUTE)),
            stopped: None,
        },
        budget: None,
        missing: if missing { all } else { Vec::new() },
        notices: notices(),
    }
}

fn notices() -> Vec<NoticeView> {
    let one = |code, connection, days: Option<u8>, what: &str, remedy: &str| NoticeView {
        code,
        connection,
        vehicle: None,
        generation: None,
        what: what.to_owned(),
        remedy: remedy.to_owned(),
        url: None,
        since: ago(DAY),
        ends_at: days.map(|days| ahead(u64::from(days) * DAY)),
        days,
    };
    vec![
        one("renewal_failing", None, None, "access by v2 cannot be renewed: Smartcar cannot be reached", "nothing yet"),
        one("access_ending", Some(connection_id(3)), Some(7), "access ends in 7 days", "run `carport check`"),
        one("needs_reconnect", Some(connection_id(2)), None, "a connection waits for its owner", "press Reconnect"),
    ]
}

pub(super) fn invite() -> Invite {
    Invite {
        url: "https://car.example.org/connect/0199c7f2-8a10-7c31-9d1e-aabbccddeeff".into(),
        expires_at: ahead(86_100),
        authorize_url: None,
        state: None,
    }
}

pub(super) fn audit() -> Vec<AuditView> {
    let token = Actor::Token { id: "0199c7f2-8a10".into(), name: "Home Assistant".into() };
    let carport = Actor::Local { uid: Some(997), user: Some("carport".into()) };
    let entry = |actor, action: &str, id: &str, status, count| {
        let (address, ids) = ("192.168.1.7".parse().ok(), vec![id.to_owned()]);
        AuditEntry { at: ago(600), actor, address, action: action.to_owned(), ids, status, count }
    };
    let entries = [
        entry(token, "POST /api/v1/connect", "ada", Some(201), 1),
        entry(Actor::Stranger, "refused: sign-in link", "", None, 120),
        entry(Actor::Session { id: "0199c7f2-8a11".into() }, "DELETE /api/v1/users/{id}", "grace", Some(502), 1),
        entry(Actor::Link, "POST /login", "0199c7f2-8a11", None, 1),
        AuditEntry { address: None, ..entry(carport, "POST /api/v1/login-links", "", Some(201), 1) },
    ];
    (1..).zip(entries).map(|(number, entry)| AuditView { number, entry }).collect()
}

pub(super) fn endings() -> [(&'static str, Ending); 3] {
    let linked = LinkedVehicle { id: VehicleId::new("x"), name: "2021 TESLA Model 3".into() };
    let key = Some("https://www.tesla.com/_ak/smartcar.com".into());
    let sentence = "You chose not to let Carport read the car. Nothing was connected.".into();
    [
        ("connected", Ending::Connected { vehicles: vec![linked], virtual_key_url: key }),
        ("failed", Ending::Failed { code: "access_denied".into(), sentence, is_final: false }),
        ("not-yet", Ending::NotYet),
    ]
}
