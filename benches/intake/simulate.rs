//! `carport simulate` as the source of the load: a thousand cars whose states flow steadily, as anybody can try.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::job::{Figures, figures};

/// What a simulated Smartcar signs with.
pub(crate) const TOKEN: &str = "51a0ca12-0000-4000-8000-000000000005";

/// How much of what was sent got acknowledged, and how long that took, as the simulator tells it.
pub(crate) fn flow(to: SocketAddr, a_second: u32, seconds: u32) -> anyhow::Result<Figures> {
    let (rate, lasts) = (a_second.to_string(), format!("{seconds}s"));
    let url = format!("http://{to}/api/webhooks/smartcar");
    let mut command = Command::new(env!("CARGO_BIN_EXE_carport"));
    command.args(["simulate", "--listen", "127.0.0.1:0", "--cars", "1000", "--rate", &rate, "--for", &lasts]);
    let output = command.args(["--webhook-url", &url]).env_clear().stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // It ends with 1 when less was acknowledged than was to be: then the share says how much.
    let why = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 1)), "simulate ended with {}: {said}{why}", output.status);
    let figure = |name: &str| -> anyhow::Result<f64> {
        let line = said.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.with_context(|| format!("{name:?} is not in {said}"))?.trim().parse()?)
    };
    let acknowledged = figure("Events acknowledged")?;
    let lost = figure("Events given up after the last retry")? + figure("Events not sent, too many being under way")?;
    // Of deliveries, each retry counts: more than events is a failure too. A flow that never reached its rate is one as
    // well; it may stop in the middle of a turn.
    let expected = f64::from(a_second) * f64::from(seconds) * 0.95;
    let share = acknowledged / (figure("Deliveries sent")? + lost).max(expected);
    Ok(figures([("share", share), ("events", acknowledged), ("p99", figure("99 of 100 within ms")?)]))
}
