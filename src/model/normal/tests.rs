use std::fmt::Write;

use proptest::prelude::*;

use super::*;
use crate::model::lenient::tests::any_json;

fn say(code: &str, body: &Value, units: Units) -> String {
    let normal = Normal::of(code, body, units);
    let value = if normal == Normal::Body { "as its body says".to_owned() } else { normal.value().to_string() };
    format!("{code} {value} {}", normal.unit().unwrap_or_default()).trim_end().to_owned()
}

/// Every signal of the reference, in both systems of units.
#[test]
fn every_signal_of_the_reference_has_a_normal_form() {
    let mut text = String::new();
    for line in include_str!("../../../tests/fixtures/catalogue.txt").lines().filter(|line| !line.starts_with('#')) {
        let mut fields = line.splitn(4, ' ').skip(1);
        let (code, body) = (fields.next().unwrap(), fields.nth(1).unwrap());
        let body = serde_json::from_str(body).unwrap();
        let (metric, imperial) = (say(code, &body, Units::Metric), say(code, &body, Units::Imperial));
        writeln!(text, "{metric}").unwrap();
        if imperial != metric {
            writeln!(text, "  {imperial}").unwrap();
        }
    }
    assert_eq!(text.replace('\u{b0}', "deg "), NORMAL);
}

#[test]
fn what_is_odd_is_mended() {
    let check = |code: &str, body: Value, expected: &str| {
        assert_eq!(say(code, &body, Units::Metric), format!("{code} {expected}").trim_end());
    };
    check("internalcombustionengine-fuellevel", json!({"value": 0.31}), "31 %");
    check("internalcombustionengine-fuellevel", json!({"value": 1}), "1 %");
    check("tractionbattery-stateofcharge", json!({"value": 101, "unit": "percent"}), "100 %");
    check("odometer-traveleddistance", json!({"value": 100, "unit": "miles"}), "160.934 km");
    check("odometer-traveleddistance", json!({"value": 100}), "100 km");
    check("charge-wattage", json!({"value": 4.6, "unit": "kW"}), "4.6 kW");
    check("charge-wattage", json!({"value": 4600}), "4.6 kW");
    check("closure-islocked", json!({"value": null}), "null");
    check("closure-islocked", json!(null), "null");
    check("climate-externaltemperature", json!({"value": 50, "unit": "fahrenheit"}), "10 \u{b0}C");
    check("x-unknown", json!({"value": 3, "unit": "furlongs"}), "3 furlongs");
    check("x-unknown", json!({"value": 3, "unit": "km"}), "3 km");
    check("x-unknown", json!({"value": true}), "\"yes\"");
    check("x-unknown", json!({"strange": {"deep": 1}}), "as its body says");
    check("charge-chargelimits", json!({"values": [], "activeLimit": null}), "null");
}

proptest! {
    #[test]
    fn nothing_does_harm(value in any_json(), place in 0..CODES) {
        let body = serde_json::from_str(&value).unwrap_or_default();
        let code = crate::model::catalogue::CATALOGUE.get(place).map_or("x-y", |known| known.code);
        for units in [Units::Metric, Units::Imperial] {
            Normal::of(code, &body, units).value();
        }
    }
}

const CODES: usize = 100;

/// Every signal of the reference in metric units, and indented in imperial ones where those differ.
const NORMAL: &str = r#"charge-amperage 16 A
charge-amperagemax 32 A
charge-amperagerequested 16 A
charge-chargelimits 80 %
charge-chargeportstatuscolor "green"
charge-chargerate 42 km/h
  charge-chargerate 26.098 mph
charge-chargerecords as its body says
charge-chargerphases 3
charge-chargetimers as its body says
charge-chargingconnectortype "TYPE_2"
charge-detailedchargingstatus "fully charged"
charge-energyadded 7.25 kWh
charge-fastchargertype "CCS"
charge-ischarging "charging"
charge-ischargingcableconnected "plugged in"
charge-ischargingcablelatched "latched"
charge-ischargingportflapopen "open"
charge-isfastchargerpresent "yes"
charge-timetocomplete 100 min
charge-voltage 230 V
charge-wattage 4.683 kW
climate-externaltemperature -7.5 deg C
  climate-externaltemperature 18.5 deg F
climate-internaltemperature 21 deg C
  climate-internaltemperature 69.8 deg F
closure-doors [{"place":"front left","value":"closed, locked"},{"place":"rear right","value":"open, unlocked"}]
closure-enginecover "closed"
closure-fronttrunk "closed, locked"
closure-islocked "locked"
closure-reartrunk "open, unlocked"
closure-sunroof "closed"
closure-tailgate "closed"
closure-windows [{"place":"front left","value":"closed"},{"place":"front right","value":"closed"}]
connectivitysoftware-currentfirmwareversion "2025.38.5"
connectivitystatus-isasleep "asleep"
connectivitystatus-isdigitalkeypaired "paired"
connectivitystatus-isonline "online"
diagnostics-abs "alert: See a garage"
diagnostics-activesafety "ok"
diagnostics-airbag "ok"
diagnostics-brakefluid "ok"
diagnostics-driverassistance "ok"
diagnostics-dtccount 2
diagnostics-dtclist ["P0171","P0420"]
diagnostics-emissions "ok"
diagnostics-evbatteryconditioning "ok"
diagnostics-evcharging "ok"
diagnostics-evdriveunit "ok"
diagnostics-evhvbattery "ok"
diagnostics-lighting "ok"
diagnostics-mil "ok"
diagnostics-oillife "ok"
diagnostics-oilpressure "ok"
diagnostics-oiltemperature "ok"
diagnostics-telematics "ok"
diagnostics-tirepressure "ok"
diagnostics-tirepressuremonitoring "ok"
diagnostics-transmission "ok"
diagnostics-washerfluid "ok"
diagnostics-waterinfuel "ok"
hvac-cabintargettemperature 20.5 deg C
  hvac-cabintargettemperature 68.9 deg F
hvac-iscabinhvacactive "on"
hvac-isfrontdefrosteractive "on"
hvac-isreardefrosteractive "on"
hvac-issteeringheateractive "on"
internalcombustionengine-amountremaining 53.2 l
  internalcombustionengine-amountremaining 14.054 gal
internalcombustionengine-fuellevel 31 %
internalcombustionengine-oillife 35 %
internalcombustionengine-range 612 km
  internalcombustionengine-range 380.279 mi
location-isathome "at home"
location-preciselocation {"latitude":52.3702,"longitude":4.8952}
lowvoltagebattery-stateofcharge 88 %
lowvoltagebattery-status "good"
motion-currentspeed 87 km/h
  motion-currentspeed 54.059 mph
odometer-traveleddistance 18342.6 km
  odometer-traveleddistance 11397.563 mi
service-isinservice "in service"
service-records as its body says
surveillance-brand "SENTRY"
surveillance-isenabled "on"
tractionbattery-isheateractive "on"
tractionbattery-maxrangechargecounter 12
tractionbattery-nominalcapacity 77 kWh
tractionbattery-range 265 km
  tractionbattery-range 164.663 mi
tractionbattery-stateofcharge 64 %
transmission-drivemode "Eco Pro"
transmission-gearstate "park"
vehicleidentification-exteriorcolor "Moonstone Grey"
vehicleidentification-nickname "Red one"
vehicleidentification-packages ["Winter","Towing"]
vehicleidentification-trim "Pro"
vehicleidentification-vin "0SCTEST0000000001"
vehicleuseraccount-permissions ["READ","WRITE"]
vehicleuseraccount-role "owner"
wheel-style "Aero 19"
wheel-tires [{"place":"front left","value":2.413},{"place":"front right","value":null}] bar
  wheel-tires [{"place":"front left","value":34.998},{"place":"front right","value":null}] psi
"#;
