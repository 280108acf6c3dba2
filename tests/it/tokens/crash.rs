//! The power fails at every step of a rotation, whatever becomes of Smartcar's answer.

use std::time::Duration;

use bytes::Bytes;
use carport::simulator::{Fault as Trouble, FaultKind, Faults};
use http::Response;

use super::{proves_itself, view, with_ada_alone};
use crate::gateway::{Cut, Fault, HOUR, is_long, pass};

/// When the power fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    /// At this write of the disk, counted from the beginning of the refresh: intent, new pair, and what follows.
    Write(u64),
    /// At this request.
    Request(Cut),
    /// So many milliseconds after the beginning: within a request, within a pause, after the end.
    Later(u64),
}

const MOMENTS: [Moment; 16] = [
    Moment::Write(1),
    Moment::Write(2),
    Moment::Write(3),
    Moment::Write(4),
    Moment::Write(5),
    Moment::Write(6),
    Moment::Request(Cut::Before(1)),
    Moment::Request(Cut::After(1)),
    Moment::Request(Cut::Before(2)),
    Moment::Request(Cut::After(2)),
    Moment::Request(Cut::After(3)),
    Moment::Later(0),
    Moment::Later(400),
    Moment::Later(1500),
    Moment::Later(4000),
    Moment::Later(9000),
];

/// What becomes of the answers before the power fails.
const ANSWERS: [FaultKind; 4] =
    [FaultKind::RotateThenLose, FaultKind::Delay(Duration::from_secs(3)), FaultKind::Garble, FaultKind::Refuse];

/// Smartcar honours a used token for a minute; so long may a rotation be without power, with what came before.
const SHORT: u64 = 45;

struct Outcome {
    lost: bool,
    /// Smartcar had replaced the pair, and was not asked again within its window.
    was_spent: bool,
}

async fn story(seed: u64, moment: Moment, answer: FaultKind, outage: Duration) -> Outcome {
    let (mut gateway, connection) = with_ada_alone(seed).await;
    pass(2 * HOUR).await;
    let times = u32::try_from(seed % 4).unwrap();
    gateway.simulator.set_faults(Faults::new([Trouble { times: Some(times), ..Trouble::always(answer) }]));
    match moment {
        Moment::Write(write) => gateway.disk.break_at(Fault::WritesFrom(write)),
        Moment::Request(cut) => gateway.net.cut_at(cut),
        Moment::Later(_) => {}
    }
    gateway.start_refreshing();
    let limit = if let Moment::Later(millis) = moment { millis } else { 12_000 };
    for _ in 0..limit / 50 {
        pass(Duration::from_millis(50)).await;
        if gateway.net.was_cut() || gateway.disk.has_refused() {
            break;
        }
    }
    gateway.simulator.set_faults(Faults::default());
    gateway.lose_power(outage).await;
    gateway.start_refreshing();
    pass(Duration::from_secs(120)).await;
    let told = gateway.logged().matches("the owner must connect again").count();
    let was_spent = gateway.simulator.counters().refreshes_refused > 0;
    let lost = view(&gateway, connection).await["status"] != "active";
    assert_eq!(told, usize::from(lost), "exactly one notice");
    // Nothing more comes of it: neither another notice nor another loss.
    if !is_long() || seed.is_multiple_of(10) {
        pass(3 * HOUR).await;
        gateway.crash().await;
        gateway.start_refreshing();
    }
    pass(3 * HOUR).await;
    assert_eq!(gateway.logged().matches("the owner must connect again").count(), told);
    if !lost {
        proves_itself(&gateway).await;
    }
    assert_eq!(gateway.app().tokens().remembered(), 0);
    gateway.finish().await;
    Outcome { lost, was_spent }
}

/// The minute is that of the request before the crash: a rest that is longer than what is left of it ends before it.
#[tokio::test(start_paused = true)]
async fn after_a_crash_no_wait_that_smartcar_asks_for_costs_a_pair() {
    let (mut gateway, connection) = with_ada_alone(90).await;
    pass(2 * HOUR).await;
    gateway.net.cut_at(Cut::After(1));
    gateway.start_refreshing();
    while !gateway.net.was_cut() {
        pass(Duration::from_millis(50)).await;
    }
    gateway.lose_power(Duration::from_secs(30)).await;
    let mut requests = 0;
    gateway.net.change(move |request, _| {
        requests += usize::from(request.uri().path() == "/oauth/token");
        let wait = || Response::builder().status(429).header("retry-after", "40").body(Bytes::new()).unwrap();
        (requests == 1).then(|| Ok(wait()))
    });
    gateway.start_refreshing();
    pass(HOUR).await;
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    assert_eq!(view(&gateway, connection).await["status"], "active");
    proves_itself(&gateway).await;
    gateway.finish().await;
}

/// Every moment with every answer, each with a hundred seeds; in short, every moment with one of the answers.
async fn all(first: u64, outage: impl Fn(u64) -> u64) -> (usize, usize) {
    let (mut stories, mut lost) = (0, 0);
    let mut seed = first;
    for (place, moment) in MOMENTS.into_iter().enumerate() {
        for (number, answer) in ANSWERS.into_iter().enumerate() {
            if !is_long() && number != place % ANSWERS.len() {
                continue;
            }
            for _ in 0..if is_long() { 100 } else { 1 } {
                seed += 1;
                let seconds = outage(seed);
                let outcome = Box::pin(story(seed, moment, answer, Duration::from_secs(seconds))).await;
                if outcome.lost {
                    assert!(outcome.was_spent && seconds > SHORT, "{moment:?} {answer:?} {seconds} s, seed {seed}");
                }
                stories += 1;
                lost += usize::from(outcome.lost);
            }
        }
        if is_long() {
            println!("{moment:?}: {stories} crashes so far, {lost} connections lost, the last seed was {seed}");
        }
    }
    (stories, lost)
}

/// The power is back within 45 s of the first request: nothing is lost.
#[tokio::test(start_paused = true)]
async fn a_crash_at_any_step_loses_no_connection() {
    // Up to 12 s passed before the power failed.
    let (stories, lost) = all(10_000, |seed| seed % (SHORT - 12)).await;
    println!("{stories} crashes with a short outage, {lost} connections lost");
    assert_eq!(lost, 0);
}

/// It is back after Smartcar's window: what was not spent lives, and for what was there is one notice.
#[tokio::test(start_paused = true)]
async fn after_a_long_outage_there_is_one_notice_at_most() {
    let (stories, lost) = all(30_000, |seed| 61 + seed % 600).await;
    println!("{stories} crashes with a long outage, {lost} connections lost, each with one notice");
    assert!(lost > 0 && lost < stories / 2, "{lost} of {stories}");
}
