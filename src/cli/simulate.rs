//! `simulate`: Smartcar, played alone; as the source of a load too.

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::args::Simulate;
use super::play::{bind, from_here};
use super::print::{align, announce, say};
use super::wiring::{Hangup, until_told, world};
use super::{Exit, Failure};
use crate::model::Secret;
use crate::simulator::{Application, Counters, FaultSyntax, Faults, Generation, Knob, Settings, Simulator, WebhookSettings};

/// Runs the simulator alone.
pub(super) async fn simulate(flags: &Simulate) -> Result<(), Failure> {
    if flags.fault.iter().any(|fault| fault == "help") {
        let rows = Faults::ALL.iter().map(|(fault, does)| vec![(*fault).to_owned(), (*does).to_owned()]);
        let troubles = Faults::troubles().join("\n  ");
        return say(&format!("--fault {}\n\n{}\n\ntrouble=\n  {troubles}", Faults::SYNTAX, align(rows.collect())));
    }
    if flags.knob.iter().any(|knob| knob == "help") {
        return say(&knobs());
    }
    let world = world()?;
    let settings = simulated(flags, flags.listen)?;
    if flags.print_env {
        // Nothing is bound: the simulator that is meant may be running.
        return say(environment(&settings).trim_end());
    }
    let (listener, address) = bind(flags.listen).await?;
    let settings = simulated(flags, address)?;
    let (origin, environment) = (settings.base_url.clone(), environment(&settings));
    let shutdown = until_told(Hangup::Stops, || ())?;
    announce(&format!("Simulated Smartcar: {origin}\nPoint Carport or an SDK at it:\n\n{environment}\n"));
    if flags.redirect_uri.is_empty() {
        announce("Connect takes any redirect URI: say yours by --redirect-uri, and it refuses others as Smartcar does.\n");
    }
    let simulator = Simulator::new(world, settings);
    let accounts = simulator.accounts();
    for account in accounts.iter().take(MOST_SHOWN) {
        let api = match account.generation {
            Generation::V2 => "v2",
            Generation::V3 => "v3",
        };
        announce(&format!("Sign in as {} ({api}, cars: {}), any password.\n", account.email, account.vehicle_ids.len()));
    }
    if let Some(more) = accounts.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
        announce(&format!("And as {more} more: see {origin}/simulator/status.\n"));
    }
    // The simulator stops first, then whoever watches it.
    let stop = shutdown.child_token();
    let watched = watch(&simulator, flags, stop.clone());
    let ((), (), watched) = tokio::join!(simulator.serve(listener, stop.clone()), simulator.run(stop.clone()), watched);
    if flags.webhook_url.is_some() {
        let counters = simulator.counters();
        say(&report(&counters))?;
        watched?;
        return enough(flags, &counters);
    }
    watched
}

/// Whether a run of a given time got what it was to: every event acknowledged, and as many as the rate makes. Where
/// faults are played, some are meant to be lost.
fn enough(flags: &Simulate, counters: &Counters) -> Result<(), Failure> {
    let Some(lasts) = flags.lasts.filter(|_| flags.fault.is_empty()) else { return Ok(()) };
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a number of events"
    )]
    let expected = flags.rate.map_or(1, |rate| (whole(rate, lasts) as f64 * LEAST_SENT) as u64).max(1);
    let all = flags.rate.map(|rate| whole(rate, lasts));
    // VERIFY is an event too.
    let states = counters.acknowledged.saturating_sub(1);
    let lost = counters.dropped - counters.unverified + counters.skipped;
    let failed = |sentence: String| Err(Failure::new(Exit::Failed, sentence));
    if lost > 0 {
        // What is still under way counts, too.
        let lost = all.map_or(lost, |all| lost.max(all.saturating_sub(states)));
        return failed(format!("{lost} events were not acknowledged: see the table above, and the log of the receiver"));
    }
    if states == 0 && counters.acknowledged == 0 {
        return failed("the webhook was not verified before the end".to_owned());
    }
    if states < expected {
        return failed(format!("{states} events were acknowledged, and {expected} at least were expected of this rate and time"));
    }
    Ok(())
}

/// How many events flow in a time.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a number of events")]
fn whole(rate: f64, lasts: Duration) -> u64 {
    (rate * lasts.as_secs_f64()).round().max(1.0) as u64
}

/// Shows how it goes on a terminal, and stops after `--for`.
async fn watch(simulator: &Simulator, flags: &Simulate, stop: CancellationToken) -> Result<(), Failure> {
    let shown = flags.webhook_url.is_some() && std::io::stderr().is_terminal();
    let mut looks = interval(LOOK);
    // A flow ends by its number of events; only one that falls behind, by time.
    let flows = simulator.settings().webhook.as_ref().is_some_and(|webhook| webhook.most.is_some());
    let lasts = flags.lasts.map(|lasts| if flows { lasts + LONGEST_REST } else { lasts });
    let patience = sleep(MOST_PATIENCE);
    tokio::pin!(patience);
    let (mut began, mut result, mut told) = (None, Ok(()), String::new());
    loop {
        let left = match (lasts, began) {
            (Some(lasts), Some(began)) => lasts.saturating_sub(Instant::elapsed(&began)),
            _ => Duration::MAX,
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = sleep(left) => stop.cancel(),
            () = &mut patience, if flags.lasts.is_some() && began.is_none() => {
                let sentence = format!(
                    "the webhook was never verified ({}): see that its receiver runs at --webhook-url and has \
                     SMARTCAR_APPLICATION_MANAGEMENT_TOKEN as printed above",
                    answers(simulator)
                );
                result = Err(Failure::new(Exit::TryAgain, sentence));
                stop.cancel();
            }
            _ = looks.tick() => if simulator.has_flowed() {
                stop.cancel();
            }
        }
        if let (None, Some(webhook)) = (began, &simulator.settings().webhook)
            && !simulator.webhook_verified()
            && answers(simulator) != told
        {
            told = answers(simulator);
            let end =
                flags.lasts.map_or(String::new(), |_| format!(" The run ends if it is not after {} s.", MOST_PATIENCE.as_secs()));
            let url = &webhook.url;
            eprintln!("{url} is not verified yet ({told}). It is asked again on Smartcar's schedule.{end}");
        }
        // The time counts from when events may flow.
        if began.is_none() && (flags.webhook_url.is_none() || simulator.webhook_verified()) {
            began = Some(Instant::now());
        }
        if shown && !stop.is_cancelled() {
            let counters = simulator.counters();
            let (taken, lost) = (counters.acknowledged, counters.dropped + counters.skipped);
            eprint!("\r\x1b[K{} sent, {taken} events acknowledged, {lost} lost", counters.sent);
            let _ = std::io::stderr().flush();
        }
    }
    if shown {
        eprintln!();
    }
    result
}

/// What a webhook that is not verified has answered so far.
fn answers(simulator: &Simulator) -> String {
    let counters = simulator.counters();
    let words = counters.results.keys().map(|result| if result == "2xx" { "not the right challenge" } else { result });
    words.collect::<Vec<_>>().join(", ")
}

/// What came of everything that was sent.
fn report(counters: &Counters) -> String {
    let answered: u64 = counters.results.values().sum();
    let row = |name: &str, count: u64| vec![name.to_owned(), count.to_string()];
    let mut rows = vec![
        row("Events acknowledged", counters.acknowledged),
        row("Events given up after the last retry", counters.dropped),
        row("Events not sent, too many being under way", counters.skipped),
        row("Deliveries sent", counters.sent),
    ];
    rows.extend(counters.results.iter().map(|(result, count)| row(&format!("  answered: {result}"), *count)));
    rows.push(row("  no answer yet", counters.sent.saturating_sub(answered)));
    for (name, share) in [("Half answered within ms", 0.5), ("99 of 100 within ms", 0.99), ("All within ms", 1.0)] {
        rows.push(row(name, counters.wait(share)));
    }
    align(rows)
}

/// What the simulator is told, when it listens at `address`.
fn simulated(flags: &Simulate, address: SocketAddr) -> Result<Settings, Failure> {
    let usage = |flag: &str, what: String| Failure::new(Exit::Usage, format!("{flag}: {what}"));
    let faults = Faults::read(flags.fault.iter().map(String::as_str));
    let faults = faults.map_err(|error: FaultSyntax| usage("--fault", error.to_string()))?;
    let crowd = flags.cars > NAMED_CARS;
    let read = |text: &Secret| WebhookSettings::address(text.expose());
    let place = |flag, text: Option<&Secret>| text.map(read).transpose().map_err(|what| usage(flag, what));
    let error_url = place("--webhook-error-url", flags.webhook_error_url.as_ref())?;
    let webhook = place("--webhook-url", flags.webhook_url.as_ref())?.map(|url| {
        #[expect(clippy::cast_precision_loss, reason = "a number of cars")]
        let steady = crowd.then(|| flags.cars as f64 / flags.webhook_every.as_secs_f64().max(0.001));
        let rate = flags.rate.or(steady);
        WebhookSettings {
            error_url,
            triggers: flags.webhook_trigger.clone(),
            every: flags.webhook_every,
            rate,
            most: rate.zip(flags.lasts).map(|(rate, lasts)| whole(rate, lasts)),
            retry_scale: flags.retry_scale,
            ..WebhookSettings::new(url)
        }
    });
    for (flag, codes) in [("--webhook-trigger", &flags.webhook_trigger), ("--webhook-data", &flags.webhook_data)] {
        if codes.iter().any(|code| flag == "--webhook-trigger" || code != "all") {
            WebhookSettings::check_codes(codes).map_err(|what| usage(flag, what))?;
        }
    }
    let webhook = webhook.map(|webhook| match flags.webhook_data.as_slice() {
        [] => webhook,
        [all] if all == "all" => WebhookSettings { data: Vec::new(), ..webhook },
        data => WebhookSettings { data: data.to_vec(), ..webhook },
    });
    let mut settings = Settings {
        seed: flags.seed,
        cars: flags.cars,
        connected: crowd && webhook.is_some(),
        speed: flags.speed,
        base_url: format!("http://{}", from_here(address)),
        webhook,
        faults,
        application: Application { redirect_uris: flags.redirect_uri.clone(), ..Application::default() },
        ..Settings::default()
    };
    for knob in &flags.knob {
        Knob::turn(&mut settings, knob).map_err(|what| usage("--knob", what))?;
    }
    Ok(settings)
}

/// All knobs, for `--help`.
pub(super) fn knobs() -> String {
    let rows = Knob::ALL.iter().map(|knob| vec![format!("  {}", knob.name), knob.values.to_owned(), knob.about.to_owned()]);
    format!(
        "Knobs (--knob NAME=VALUE): what is not certain of the real Smartcar, how long things live, and limits. The \
         first value is what is assumed.\n\n{}",
        align(rows.collect())
    )
}

/// The environment that points Carport and the official SDKs at the simulator, for a shell.
fn environment(settings: &Settings) -> String {
    let (application, origin) = (&settings.application, settings.base_url.as_str());
    let mut text = String::new();
    for (name, value) in [
        ("SMARTCAR_CLIENT_ID", application.application_id.as_str()),
        ("SMARTCAR_CLIENT_SECRET", &application.v2_client_secret),
        ("SMARTCAR_APPLICATION_MANAGEMENT_TOKEN", &application.management_token),
        ("SMARTCAR_CONNECT_ORIGIN", origin),
        ("SMARTCAR_AUTH_ORIGIN", origin),
        ("SMARTCAR_IAM_ORIGIN", origin),
        ("SMARTCAR_API_ORIGIN", origin),
        ("SMARTCAR_API_V3_ORIGIN", origin),
        ("SMARTCAR_VEHICLE_API_ORIGIN", origin),
        ("SMARTCAR_VEHICLE_API_V3_ORIGIN", origin),
        ("SMARTCAR_MANAGEMENT_API_ORIGIN", origin),
        ("SMARTCAR_MANAGEMENT_V3_ORIGIN", origin),
        ("CARPORT_SMARTCAR_V3_CLIENT_ID", &application.v3_client_id),
        ("CARPORT_SMARTCAR_V3_CLIENT_SECRET", &application.v3_client_secret),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "export {name}={value}");
    }
    if let Some(uri) = application.redirect_uris.first() {
        // It may hold what a shell would take for its own.
        let _ = writeln!(text, "export SMARTCAR_REDIRECT_URI='{}'", uri.replace('\'', "%27"));
    }
    text
}

/// Ada's two and Grace's one; any more belong to owners who are connected from the start.
const NAMED_CARS: usize = 3;
/// How many accounts are listed at the start.
const MOST_SHOWN: usize = 20;
/// How much of its rate a flow must reach: a machine may come to a standstill.
const LEAST_SENT: f64 = 0.9;
/// How often is looked how far it is.
const LOOK: Duration = Duration::from_millis(100);
/// How much longer than it was told a flow may take, to send what is left after a standstill.
const LONGEST_REST: Duration = Duration::from_secs(2);
/// How long `--for` waits for the webhook to be verified: three tries, and what the last may take.
const MOST_PATIENCE: Duration = Duration::from_secs(90);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command};

    #[test]
    fn a_password_in_an_address_is_never_repeated() {
        let here = SocketAddr::from(([127, 0, 0, 1], 9000));
        for text in ["http://ann:canary@host/", "ann:canary@host", "http://ann:canary@:99999/", "canary"] {
            for flags in [vec!["--webhook-url", text], vec!["--webhook-url", "http://host/", "--webhook-error-url", text]] {
                let line = ["carport", "simulate"].into_iter().chain(flags);
                let Command::Simulate(flags) = Cli::try_parse_from(line).unwrap().command else { panic!("not simulate") };
                let failure = simulated(&flags, here).unwrap_err();
                let said = format!("{failure:?} {flags:?}");
                assert!(said.contains("a whole URL") || said.contains("without name and password"), "{said}");
                assert!(!said.contains("canary"), "{said}");
            }
        }
        let line = ["carport", "simulate", "--webhook-url", "http://host:8000/hook"];
        let Command::Simulate(flags) = Cli::try_parse_from(line).unwrap().command else { panic!("not simulate") };
        assert_eq!(simulated(&flags, here).unwrap().webhook.unwrap().url, "http://host:8000/hook");
        for flag in ["--retry-scale=2", "--rate=1", "--webhook-every=5s", "--webhook-data=all"] {
            let refused = Cli::try_parse_from(["carport", "simulate", flag]).unwrap_err().to_string();
            assert!(refused.contains("--webhook-url"), "{flag}: {refused}");
        }
    }
}
