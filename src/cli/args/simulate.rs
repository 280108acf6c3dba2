use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use clap::builder::{StringValueParser, TypedValueParser};

use super::duration;
use crate::model::Secret;
use crate::simulator::Application;

/// Flags of `simulate`.
#[derive(Clone, Debug, Args)]
#[command(after_long_help = crate::cli::simulate::knobs())]
pub struct Simulate {
    /// Where to listen
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:9000", value_parser = socket_address)]
    pub listen: SocketAddr,
    /// Where chance begins: the same seed, the same run
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// How many cars, from 1. With --webhook-url, the owners of those after the third are connected from the start
    /// and their states flow steadily
    #[arg(long, default_value_t = 3, value_parser = cars)]
    pub cars: usize,
    /// How much faster than the clock time goes
    #[arg(long, default_value_t = 1.0, value_parser = above_zero)]
    pub speed: f64,
    /// A redirect URI that the application has registered: Connect shows a page for any other; may be repeated, and the
    /// first is where a link without one leads. Without this flag any is taken
    #[arg(long, value_name = "URI", value_parser = redirect_uri)]
    pub redirect_uri: Vec<String>,
    /// A fault to play, such as refuse, throttle=30 or invalid-grant*2; `help` lists them; may be repeated
    #[arg(long, value_name = "FAULT")]
    pub fault: Vec<String>,
    /// What Smartcar does where that is not certain, such as rotation-window=600; `help` lists all; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub knob: Vec<String>,
    /// Where webhooks go
    // Looked at by the command itself: a parser's error would repeat it, and a password may stand in it.
    #[arg(long, value_name = "URL", value_parser = StringValueParser::new().map(Secret::new))]
    pub webhook_url: Option<Secret>,
    /// Where VEHICLE_ERROR goes, if elsewhere
    #[arg(long, value_name = "URL", value_parser = StringValueParser::new().map(Secret::new), requires = "webhook_url")]
    pub webhook_error_url: Option<Secret>,
    /// Codes of signals whose change triggers a delivery, with commas between; every signal by default
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "webhook_url")]
    pub webhook_trigger: Vec<String>,
    /// Codes of signals that are delivered, with commas between, or `all`; most by default
    #[arg(long, value_name = "CODES", value_delimiter = ',', requires = "webhook_url")]
    pub webhook_data: Vec<String>,
    /// How often changes are looked for, and in a steady flow how often a car's turn comes
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, requires = "webhook_url")]
    pub webhook_every: Duration,
    /// Deliveries a second, evenly, whether or not anything changed
    #[arg(long, value_name = "NUMBER", value_parser = rate, requires = "webhook_url")]
    pub rate: Option<f64>,
    /// Stretches or shortens the waits before retries (25, 50 and 100 seconds)
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = above_zero, requires = "webhook_url")]
    pub retry_scale: f64,
    /// Stop after this time, which begins when the webhook is verified
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Option<Duration>,
    /// Print the environment that points official SDKs at the simulator, and end
    #[arg(long)]
    pub print_env: bool,
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| "an address and a port are needed, such as 127.0.0.1:9001".to_owned())
}

fn redirect_uri(text: &str) -> Result<String, String> {
    Application::check_redirect_uri(text).map(|()| text.to_owned())
}

fn cars(text: &str) -> Result<usize, String> {
    let cars = text.parse().ok().filter(|cars| (1..=10_000).contains(cars));
    cars.ok_or_else(|| "a number from 1 to 10000 is needed".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let number = above_zero(text)?;
    if number <= 100_000.0 { Ok(number) } else { Err("a number up to 100000 is needed".to_owned()) }
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "a number above 0 is needed".to_owned())
}
