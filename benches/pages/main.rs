//! What each page costs with fifty cars and a full log.
//!
//! `cargo bench --bench pages` asks for every page a hundred times, without a network between, and shows the median
//! time, that of the first, and the size with style sheet, script and icon. It ends with exit code 1 if a page takes 5 ms
//! or more at the median, or is 100 kB or larger. One car has a whole year behind it, of which each change is read to draw
//! it: who looks first waits longer than the next. On a Pi times are several times what they are on a desktop.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use bytes::Bytes;
use carport::app::App;
use carport::config::{ConfigFile, Sources, load};
use carport::model::event::Grammar;
use carport::model::{Secret, Seq};
use carport::store::Settings;
use carport::web::{Peer, handle};
use carport::world::World;
use carport::{signature, store};
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

#[path = "../store/chance.rs"]
mod chance;
#[allow(dead_code, reason = "the store's benchmark needs more of it")]
#[path = "../store/event.rs"]
mod event;
#[allow(dead_code, reason = "the store's benchmark needs more of it")]
#[path = "../store/linking.rs"]
mod linking;

const CARS: u64 = 50;
const RING: u64 = 10_000;
/// How often the car that is looked at has told of itself within a year.
const YEAR: i64 = 3_000;
const TIMES: usize = 100;
const MOST: Duration = Duration::from_millis(5);
const LARGEST: usize = 100_000;
const TOKEN: &str = "51a0ca12-0000-4000-8000-000000000005";

fn main() -> anyhow::Result<ExitCode> {
    // `cargo test --all-targets` runs it without.
    if !std::env::args().any(|word| word == "--bench") {
        return Ok(ExitCode::SUCCESS);
    }
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(measure())
}

async fn measure() -> anyhow::Result<ExitCode> {
    let house = House::full().await?;
    let mut around = 0;
    for asset in ["style.css", "app.js", "icon.svg"] {
        around += house.get(&format!("/assets/{asset}")).await?.len();
    }
    let [driven, other] = [0, 1].map(|number| format!("/vehicles/{}", event::vehicle(number)));
    let [day, month, year] = ["day", "month", "year"].map(|span| format!("{driven}?past={span}"));
    let others_year = format!("{other}?past=year");
    let delivery = format!("/webhooks/{}", RING + YEAR.unsigned_abs() - 1);
    let pages = [
        "/",
        "/?page=2",
        &year,
        &month,
        &driven,
        &day,
        &others_year,
        "/webhooks",
        "/webhooks?before=9000",
        "/webhooks?result=unknown_type",
        &delivery,
        "/connections",
        "/system",
        "/setup",
        "/audit",
    ];
    println!("{:<40} {:>10} {:>10} {:>12}", "page", "median", "first", "bytes in all");
    let mut is_good = true;
    for page in pages {
        let (mut times, mut bytes) = (Vec::new(), 0);
        for _ in 0..TIMES {
            let began = Instant::now();
            bytes = house.get(page).await?.len() + around;
            times.push(began.elapsed());
        }
        let first = times[0];
        times.sort();
        let median = times[TIMES / 2];
        let is_in_time = median < MOST && bytes < LARGEST;
        is_good &= is_in_time;
        let query = page.find('?').map_or("", |place| &page[place..]);
        let shown = match page {
            page if page.starts_with(&driven) => format!("/vehicles/DRIVEN{query}"),
            page if page.starts_with(&other) => format!("/vehicles/OTHER{query}"),
            page => page.to_owned(),
        };
        let [median, first] = [median, first].map(|time| time.as_secs_f64() * 1e3);
        println!("{shown:<40} {median:>7.2} ms {first:>7.2} ms {bytes:>12}{}", if is_in_time { "" } else { "  TOO MUCH" });
    }
    println!(
        "every page under {} ms at the median and under {LARGEST} bytes: {}",
        MOST.as_millis(),
        if is_good { "yes" } else { "NO" }
    );
    house.end().await?;
    Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// A gateway in this process.
struct House {
    app: App,
    cookie: String,
    directory: PathBuf,
}

impl House {
    /// With all cars, of which each has sent many events.
    async fn full() -> anyhow::Result<House> {
        let directory = std::env::temp_dir().join(format!("carport-pages-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let nobody = ["connect", "auth", "iam", "api", "vehicle", "management", "management_v3"]
            .map(|origin| format!("{origin} = \"http://127.0.0.1:9\"\n"))
            .concat();
        let written = format!(
            "[smartcar]\napplication_id = \"51a0ca12-0000-4000-8000-000000000001\"\napplication_management_token = \"{TOKEN}\"\n\
             [smartcar.origins]\n{nobody}[webhooks]\nkeep_events = {RING}\n[limits]\napi = \"1000000/s\"\n"
        );
        std::fs::write(directory.join("config.toml"), written)?;
        let file = ConfigFile::At(directory.join("config.toml"));
        let config = load(&Sources { file, directory: directory.clone(), ..Sources::default() })?;
        let world = World::system()?;
        let files = store::directory(&directory);
        let app = App::build_over(&config, world.clone(), &linking::key(), files, Settings::default(), Grammar::CURRENT).await?;
        linking::link(app.store(), CARS, world.now()).await?;

        let (projector, stop) = (app.projector().clone(), CancellationToken::new());
        let until = stop.clone();
        let follows = tokio::spawn(async move { projector.run(until).await });
        let (events, token) = (event::Events { seed: 1, vehicles: CARS }, Secret::new(TOKEN.to_owned()));
        for first in (0..RING).step_by(100) {
            let delivered = (first..first + 100).map(|number| deliver(&app, &token, events.event(number).body));
            for answer in futures_util::future::join_all(delivered).await {
                ensure!(answer? == StatusCode::OK, "a delivery was refused");
            }
        }
        while app.store().read(|snapshot| snapshot.projector_cursor()).await? < Seq(RING) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // The car that is looked at has lived through a year.
        let now = world.now().as_millis();
        for number in 0..YEAR {
            let at = now - (YEAR - number) * (365 * 86_400_000 / YEAR);
            ensure!(deliver(&app, &token, lived(number, at).into_bytes()).await? == StatusCode::OK, "a delivery was refused");
        }
        while app.store().read(|snapshot| snapshot.projector_cursor()).await? < Seq(RING + YEAR.unsigned_abs()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        stop.cancel();
        follows.await?;

        let access = &app.services().rooms.access;
        let link = access.sign_in_link(Duration::from_secs(60)).await?;
        let (_, cookie) = access.sign_in(link.expose(), Some("Firefox/144.0 (Android)".to_owned())).await?;
        let cookie = format!("__Host-carport={}", cookie.expose());
        Ok(House { app, cookie, directory })
    }

    /// A page as a browser gets it.
    async fn get(&self, path: &str) -> anyhow::Result<Bytes> {
        let request = Request::get(path).header(header::HOST, "localhost:8000").header(header::COOKIE, &self.cookie);
        let request = request.header(header::ACCEPT, "text/html").body(Full::new(Bytes::new()))?;
        let (head, body) = handle(self.app.services(), FROM, request).await.into_parts();
        ensure!(head.status == StatusCode::OK, "{path}: {}", head.status);
        Ok(body.collect().await?.to_bytes())
    }

    async fn end(self) -> anyhow::Result<()> {
        self.app.close().await;
        std::fs::remove_dir_all(&self.directory).context("the data directory cannot be removed")
    }
}

/// What a car tells that is driven and charged each day.
fn lived(number: i64, at: i64) -> String {
    let (level, charges) = (80 - number % 40, number % 8 == 0);
    let signal = |group: &str, name: &str, body: &str| {
        let code = format!("{group}-{name}").to_lowercase();
        format!(
            r#"{{"code":"{code}","name":"{name}","group":"{group}","body":{body},"status":{{"value":"SUCCESS"}},"meta":{{"oemUpdatedAt":{at},"retrievedAt":{at}}}}}"#
        )
    };
    let tire =
        |place: i64| format!(r#"{{"row":{},"column":{},"tirePressure":{}}}"#, place / 2, place % 2, 230 + (number + place) % 20);
    let tires = (0..4).map(tire).collect::<Vec<_>>().join(",");
    let signals = [
        signal("TractionBattery", "StateOfCharge", &format!(r#"{{"value":{level},"unit":"percent"}}"#)),
        signal("TractionBattery", "Range", &format!(r#"{{"value":{},"unit":"km"}}"#, level * 4)),
        signal("Odometer", "TraveledDistance", &format!(r#"{{"value":{},"unit":"km"}}"#, 10_000 + number * 5)),
        signal("Charge", "IsCharging", &format!(r#"{{"value":{charges}}}"#)),
        signal("Charge", "Wattage", &format!(r#"{{"value":{},"unit":"watts"}}"#, if charges { 11_000 } else { 0 })),
        signal("Wheel", "Tires", &format!(r#"{{"values":[{tires}],"rowCount":2,"columnCount":2,"unit":"kPa"}}"#)),
    ]
    .join(",");
    let vehicle = event::vehicle(0);
    format!(
        r#"{{"eventId":"lived-{number}","eventType":"VEHICLE_STATE","data":{{"user":{{"id":"u"}},"vehicle":{{"id":"{vehicle}"}},"signals":[{signals}]}},"triggers":[],"meta":{{"version":"4.0","mode":"LIVE"}}}}"#
    )
}

async fn deliver(app: &App, token: &Secret, body: Vec<u8>) -> anyhow::Result<StatusCode> {
    // The answer to a challenge is the same function as the signature of a body.
    let signature = signature::answer(token, std::str::from_utf8(&body)?);
    let request = Request::post("/api/webhooks/smartcar").header(header::HOST, "localhost:8000");
    let request = request.header("sc-signature", signature).header(header::CONTENT_TYPE, "application/json");
    Ok(handle(app.services(), FROM, request.body(Full::new(Bytes::from(body)))?).await.status())
}

const FROM: Peer = Peer::Remote { address: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), tls: true };
