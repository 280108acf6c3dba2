//! Reads: a page of the log, and the latest state of a car.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use carport::model::reading::{Outcome, Reading, SignalReport, Source};
use carport::model::{Json, Timestamp};
use carport::store::tellings::{ApplyReadings, Latest, Telling};
use tokio::time::Instant;

use crate::carport::{Carport, vault};
use crate::chance::Chance;
use crate::disk::Disk;
use crate::event::{Events, vehicle};
use crate::job::{Engine, Figures};
use crate::load::{load, runtime};
use crate::measure::{figures, float};
use crate::plain::Plain;

const RING: u64 = 10_000;
const PAGE: usize = 50;
const CARS: u64 = 200;
const SIGNALS: u32 = 30;

/// The newest entries, with their bodies.
pub(crate) fn pages(directory: &Path, engine: Engine, count: u64) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let (disk, events) = (Disk::new(directory), Events { seed: 1, vehicles: CARS });
        if engine == Engine::Carport {
            let carport = Carport::open(&disk, RING, false)?;
            carport.prepare(events).await?;
            let page = async |_| {
                let (entries, _) =
                    carport.store.read(|snapshot| snapshot.log_before(None, PAGE, usize::MAX, |_, _| true)).await?;
                Ok(entries.len())
            };
            return timed(count, PAGE, page).await;
        }
        let plain = Plain::open(&disk, vault())?;
        load(&plain.start(RING), 512, 0..RING, move |number| Arc::new(events.event(number))).await;
        timed(count, PAGE, async |_| Ok(plain.read(|plain, read| plain.newest(read, PAGE)).await?.len())).await
    })
}

/// All signals of one car after another, in no order.
pub(crate) fn latest(directory: &Path, engine: Engine, count: u64) -> anyhow::Result<Figures> {
    runtime()?.block_on(async {
        let disk = Disk::new(directory);
        let signals = usize::try_from(SIGNALS)?;
        if engine == Engine::Carport {
            let carport = Carport::open(&disk, RING, false)?;
            carport.link(CARS).await?;
            let mut rows = Vec::new();
            for car in 0..CARS {
                let found = carport.store.read(move |snapshot| snapshot.vehicle_row(&vehicle(car))).await?;
                rows.extend(found);
                carport.store.commit(told(*rows.last().unwrap_or(&0), car)).await?;
            }
            let state = async |car: usize| {
                let row = rows[car];
                Ok(carport.store.read(move |snapshot| snapshot.latest(row)).await?.len())
            };
            return timed(count, signals, state).await;
        }
        let plain = Plain::open(&disk, vault())?;
        let cars = (0..CARS)
            .zip(0..)
            .flat_map(|(car, row)| (0..).zip(reports(car)).map(move |(signal, report)| ((row, signal), kept(report))));
        plain.put_latest(cars)?;
        let state = async |car: usize| {
            let row = u32::try_from(car)?;
            Ok(plain.read(move |plain, read| plain.latest(read, row)).await?.len())
        };
        timed(count, signals, state).await
    })
}

/// One read after another, each of which must find so much.
async fn timed(count: u64, expected: usize, read: impl AsyncFn(usize) -> anyhow::Result<usize>) -> anyhow::Result<Figures> {
    let mut chance = Chance::new(1);
    let began = Instant::now();
    for _ in 0..count {
        let found = read(usize::try_from(chance.below(CARS))?).await?;
        ensure!(found == expected, "found {found} instead of {expected}");
    }
    Ok(figures([("rate", float(count) / began.elapsed().as_secs_f64())]))
}

const AT: Timestamp = Timestamp::from_millis(1_759_900_000_000);

fn reports(car: u64) -> impl Iterator<Item = SignalReport> {
    let mut chance = Chance::new(car);
    (0..SIGNALS).map(move |signal| SignalReport {
        code: format!("tractionbattery-signal{signal}"),
        group: Some("TractionBattery".to_owned()),
        name: Some(format!("Signal{signal}")),
        outcome: Outcome::Value(Json::received(format!(r#"{{"value":{},"unit":"percent"}}"#, chance.below(100_000)).as_bytes())),
        oem_updated_at: Some(AT),
        retrieved_at: Some(AT),
    })
}

fn told(row: u32, car: u64) -> ApplyReadings {
    let telling = Telling {
        vehicle: row,
        reports: reports(car).collect(),
        source: Source::Webhook,
        at: AT,
        told_at: AT,
        facts: None,
        errors: Vec::new(),
        resolved: Vec::new(),
    };
    ApplyReadings::of(vec![telling])
}

/// The row that the store makes of a report.
fn kept(report: SignalReport) -> Latest {
    let Outcome::Value(body) = report.outcome else { unreachable!("all reports here have a value") };
    let reading = Reading {
        body,
        at: AT,
        oem_updated_at: report.oem_updated_at,
        retrieved_at: report.retrieved_at,
        source: Source::Webhook,
    };
    let told_at = Some(AT);
    Latest {
        code: report.code,
        group: report.group,
        name: report.name,
        reading: Some(reading),
        failure: None,
        told_at,
        reading_told_at: None,
        lack: None,
    }
}
