//! A wall clock that is wrong, jumps, or slept: no mass refresh, and nothing is lost.

use std::time::Duration;

use carport::simulator::{Fault as Trouble, FaultKind, Faults};

use super::{MINUTE, REFRESH, access, proves_itself, token, view, with_ada_alone};
use crate::gateway::{DAY, HOUR, pass};

const YEAR: i64 = 365 * 86_400;

#[tokio::test(start_paused = true)]
async fn a_clock_that_starts_in_1970_refreshes_nothing() {
    let (mut gateway, connection) = with_ada_alone(90).await;
    let known = token(&gateway, connection).await;
    gateway.stop().await;
    gateway.set_clock(-gateway.now().as_millis() / 1000 + 60);
    gateway.open().await.unwrap();
    let before = gateway.net.count(REFRESH);
    gateway.start_refreshing();
    pass(20 * MINUTE).await;
    assert_eq!(access(&gateway, connection).await.unwrap().token.expose(), known, "good until Smartcar says otherwise");
    assert_eq!(gateway.net.count(REFRESH), before);
    proves_itself(&gateway).await;
    // The time comes from the network.
    gateway.set_clock(0);
    pass(HOUR).await;
    assert_eq!(gateway.net.count(REFRESH), before);
    pass(HOUR).await;
    assert_eq!(gateway.net.count(REFRESH), before + 1, "when it is due");
    assert_eq!(view(&gateway, connection).await["status"], "active");
    gateway.finish().await;
}

/// It never learns the time: then its own time is as good as any.
#[tokio::test(start_paused = true)]
async fn a_clock_that_stays_in_1970_keeps_everything_alive() {
    let (mut gateway, _) = with_ada_alone(91).await;
    gateway.stop().await;
    gateway.set_clock(-gateway.now().as_millis() / 1000 + 60);
    gateway.open().await.unwrap();
    let before = gateway.net.count(REFRESH);
    gateway.start_refreshing();
    pass(DAY).await;
    let asked = gateway.net.count(REFRESH) - before;
    assert!((8..=14).contains(&asked), "{asked} in a day");
    proves_itself(&gateway).await;
    pass(70 * DAY).await;
    proves_itself(&gateway).await;
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    gateway.finish().await;
}

/// The one request that Smartcar acted upon was the last one of a round, and then the clock jumps.
#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_in_the_silence_loses_no_pair() {
    for (number, years) in [2, -2].into_iter().enumerate() {
        let (mut gateway, connection) = with_ada_alone(98 + number as u64).await;
        gateway.start_refreshing();
        let trouble = |kind, times| Faults::new([Trouble { times, ..Trouble::always(kind) }]);
        gateway.simulator.set_faults(trouble(FaultKind::Fail, None));
        let before = gateway.net.count(REFRESH);
        while gateway.net.count(REFRESH) == before {
            pass(Duration::from_secs(1)).await;
        }
        pass(Duration::from_secs(46)).await;
        gateway.simulator.set_faults(trouble(FaultKind::RotateThenLose, Some(1)));
        let before = gateway.net.count(REFRESH);
        while gateway.net.count(REFRESH) == before {
            pass(Duration::from_millis(50)).await;
        }
        gateway.set_clock(years * YEAR);
        pass(MINUTE).await;
        gateway.set_clock(0);
        pass(5 * MINUTE).await;
        assert_eq!(view(&gateway, connection).await["status"], "active");
        assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
        proves_itself(&gateway).await;
        gateway.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_and_comes_back_refreshes_nothing() {
    for (number, years) in [2, -2, 10, -10].into_iter().enumerate() {
        let (mut gateway, connection) = with_ada_alone(92 + number as u64).await;
        gateway.start_refreshing();
        pass(10 * MINUTE).await;
        let before = gateway.net.count(REFRESH);
        gateway.set_clock(years * YEAR);
        pass(MINUTE).await;
        gateway.set_clock(0);
        pass(HOUR).await;
        assert_eq!(gateway.net.count(REFRESH), before, "{years} years");
        pass(DAY).await;
        assert!((before + 10..=before + 14).contains(&gateway.net.count(REFRESH)), "{years} years");
        assert_eq!(view(&gateway, connection).await["status"], "active");
        proves_itself(&gateway).await;
        gateway.finish().await;
    }
}

/// Sets that were issued while the clock was ahead are due in years by the store, and in hours by Smartcar.
#[tokio::test(start_paused = true)]
async fn due_times_of_a_clock_that_was_ahead_are_mended() {
    let (mut gateway, connection) = with_ada_alone(96).await;
    gateway.set_clock(5 * YEAR);
    gateway.start_refreshing();
    pass(5 * HOUR).await;
    gateway.set_clock(0);
    let before = gateway.net.count(REFRESH);
    pass(50 * MINUTE).await;
    assert_eq!(gateway.net.count(REFRESH), before, "at first nobody knows which of both was wrong");
    pass(2 * HOUR).await;
    assert!((before + 1..=before + 2).contains(&gateway.net.count(REFRESH)));
    pass(70 * DAY).await;
    proves_itself(&gateway).await;
    assert_eq!(view(&gateway, connection).await["status"], "active");
    assert_eq!(gateway.simulator.counters().refreshes_refused, 0);
    gateway.finish().await;
}

/// Off for so long that the refresh token is dead by every reckoning: Smartcar is asked all the same, and
/// decides.
#[tokio::test(start_paused = true)]
async fn seventy_days_off_are_smartcars_to_judge() {
    for is_forgiving in [false, true] {
        let (mut gateway, connection) = with_ada_alone(97).await;
        gateway.stop().await;
        if is_forgiving {
            // The time of Smartcar stands still.
            gateway.set_clock(70 * 86_400);
        } else {
            pass(70 * DAY).await;
        }
        gateway.open().await.unwrap();
        let before = gateway.net.count(REFRESH);
        gateway.start_refreshing();
        pass(5 * MINUTE).await;
        let alive = view(&gateway, connection).await["status"] == "active";
        assert_eq!(alive, is_forgiving);
        assert_eq!(gateway.net.count(REFRESH), before + if is_forgiving { 1 } else { 2 });
        assert_eq!(gateway.logged().matches("the owner must connect again").count(), usize::from(!is_forgiving));
        if alive {
            proves_itself(&gateway).await;
        }
        gateway.finish().await;
    }
}

/// A machine that slept wakes with the wall clock ahead of all timers.
#[tokio::test(start_paused = true)]
async fn after_a_sleep_there_is_a_pause_first() {
    let (mut gateway, connection) = with_ada_alone(98).await;
    gateway.start_refreshing();
    pass(10 * MINUTE).await;
    let before = gateway.net.count(REFRESH);
    gateway.set_clock(8 * 86_400);
    pass(MINUTE).await;
    assert_eq!(gateway.net.count(REFRESH), before);
    pass(5 * MINUTE).await;
    assert_eq!(gateway.net.count(REFRESH), before + 1);
    pass(Duration::from_secs(1)).await;
    token(&gateway, connection).await;
    gateway.finish().await;
}
