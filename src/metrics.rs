//! Counters and histograms, written as Prometheus text 0.0.4.
//!
//! One struct, made once and handed around; nothing is global. Names are the contract's. What can be
//! read from the state of things when somebody asks (sizes, lags, times) is not counted here but handed
//! in as [`Gauges`].

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::model::token::Generation;

/// Everything that is counted.
#[derive(Debug)]
pub struct Metrics {
    deliveries: Family<1>,
    acks: Histogram,
    batches: Histogram,
    commits: Histogram,
    refreshes: Family<2>,
    smartcar_requests: Family<2>,
    calls: Family<1>,
    rate_limited: Family<1>,
    http_requests: Family<2>,
    http_connections: AtomicU64,
}

/// What is read from the state of things at the moment of writing.
#[derive(Clone, Debug, Default)]
pub struct Gauges {
    /// Entries in the webhook log.
    pub webhook_log_entries: u64,
    /// Their size in bytes.
    pub webhook_log_bytes: u64,
    /// How many entries the projector is behind.
    pub projector_lag: u64,
    /// Size of the store in bytes.
    pub store_bytes: u64,
    /// Bytes written to the store since the start.
    pub store_written: u64,
    /// When the tokens of connections die.
    pub connections: Vec<ConnectionGauge>,
    /// How many connections have each status.
    pub by_status: [(&'static str, u64); 3],
    /// Notices that are not over.
    pub notices: u64,
    /// How many calls of the plan are left for vehicles, by id.
    pub budgets: Vec<(String, u32)>,
    /// What calls all vehicles share; `None` if the ledger cannot be read.
    pub shared: Option<SharedCalls>,
}

/// What calls to Smartcar all vehicles share.
#[derive(Clone, Copy, Debug)]
pub struct SharedCalls {
    /// How many the bucket of the whole application holds.
    pub bucket: u64,
    /// How many of each vehicle's month are kept in reserve.
    pub reserve: u32,
    /// Seconds until the month of the plan begins anew.
    pub resets_in: u64,
}

/// When a token of a connection dies.
#[derive(Clone, Debug)]
pub struct ConnectionGauge {
    /// The connection's id.
    pub connection: String,
    /// `access` or `refresh`.
    pub kind: &'static str,
    /// Seconds from now; negative when it is dead.
    pub seconds: i64,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Metrics {
        Metrics {
            deliveries: Family::default(),
            acks: Histogram::new(SECONDS, Unit::Seconds),
            batches: Histogram::new(BATCHES, Unit::Count),
            commits: Histogram::new(SECONDS, Unit::Seconds),
            refreshes: Family::default(),
            smartcar_requests: Family::default(),
            calls: Family::default(),
            rate_limited: Family::default(),
            http_requests: Family::default(),
            http_connections: AtomicU64::new(0),
        }
    }

    /// What became of a post to the webhook: `accepted` and its kin, `duplicate`, `verify`, or why it was refused.
    pub fn delivery(&self, result: &'static str) {
        self.deliveries.add([result.into()]);
    }

    /// A delivery was acknowledged so long after its request began.
    pub fn acknowledged(&self, duration: Duration) {
        self.acks.observe(micros(duration));
    }

    /// The store made so many changes durable at once, in that time.
    pub fn committed(&self, batch: usize, duration: Duration) {
        self.batches.observe(u64::try_from(batch).unwrap_or(u64::MAX));
        self.commits.observe(micros(duration));
    }

    /// A token was refreshed, or was not.
    pub fn refreshed(&self, generation: Generation, ok: bool) {
        let generation = match generation {
            Generation::V2 => "v2",
            Generation::V3 => "v3",
        };
        self.refreshes.add([generation.into(), if ok { "ok" } else { "failed" }.into()]);
    }

    /// Smartcar answered with this status; 0 stands for no answer.
    pub fn smartcar_request(&self, endpoint: &'static str, status: u16) {
        let status = if status == 0 { "none".into() } else { status.to_string().into() };
        self.smartcar_requests.add([endpoint.into(), status]);
    }

    /// So many calls were made that count against the plan, for this reason.
    pub fn calls(&self, reason: &'static str, calls: u32) {
        self.calls.count([reason.into()], calls.into());
    }

    /// A request was refused because its bucket was empty.
    pub fn rate_limited(&self, bucket: &'static str) {
        self.rate_limited.add([bucket.into()]);
    }

    /// A request was answered.
    pub fn http_request(&self, route: &'static str, status: u16) {
        self.http_requests.add([route.into(), status.to_string().into()]);
    }

    /// A connection is open until the returned value is dropped.
    pub fn connection(&self) -> OpenConnection<'_> {
        self.http_connections.fetch_add(1, Ordering::Relaxed);
        OpenConnection(&self.http_connections)
    }

    /// All of it as Prometheus text 0.0.4.
    pub fn write(&self, gauges: &Gauges) -> String {
        let mut out = Text(String::with_capacity(8 * 1024));
        out.head("carport_build_info", "gauge", "The version that runs.");
        out.sample("carport_build_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);

        out.family(
            "carport_webhook_deliveries_total",
            "Posts to the webhook, by what became of them.",
            ["result"],
            &self.deliveries,
        );
        out.histogram("carport_webhook_ack_seconds", "From the request to the durable acknowledgement.", &self.acks);
        out.gauge("carport_webhook_log_entries", "Entries in the webhook log.", gauges.webhook_log_entries);
        out.gauge("carport_webhook_log_bytes", "Their size.", gauges.webhook_log_bytes);
        out.gauge("carport_projector_lag", "Entries that are not yet vehicle data.", gauges.projector_lag);

        out.histogram("carport_commit_batch_size", "Changes made durable at once.", &self.batches);
        out.histogram("carport_commit_seconds", "Time to make a batch durable.", &self.commits);
        out.gauge("carport_store_bytes", "Size of the store.", gauges.store_bytes);
        out.head("carport_store_written_bytes_total", "counter", "Bytes written to the store: what wears out a card.");
        out.sample("carport_store_written_bytes_total", &[], gauges.store_written);

        let refreshes = ["generation", "result"];
        out.family("carport_token_refresh_total", "Token refreshes, by API generation and result.", refreshes, &self.refreshes);
        out.head("carport_connection_expires_seconds", "gauge", "Until a token of a connection dies.");
        for gauge in &gauges.connections {
            let labels = [("connection", gauge.connection.as_str()), ("kind", gauge.kind)];
            out.sample("carport_connection_expires_seconds", &labels, gauge.seconds);
        }
        out.head("carport_connections", "gauge", "Connections, by status.");
        for (status, count) in gauges.by_status.iter().filter(|(status, _)| !status.is_empty()) {
            out.sample("carport_connections", &[("status", status)], count);
        }
        out.gauge("carport_notices", "Notices that are not over: see GET /api/v1/status.", gauges.notices);
        if !gauges.budgets.is_empty() {
            out.head("carport_budget_remaining", "gauge", "Calls of the plan that are left for a vehicle this month.");
        }
        for (vehicle, left) in &gauges.budgets {
            out.sample("carport_budget_remaining", &[("vehicle", vehicle.as_str())], left);
        }
        if let Some(SharedCalls { bucket, reserve, resets_in }) = gauges.shared {
            out.gauge("carport_budget_bucket", "Calls that the bucket of the whole application holds.", bucket);
            out.gauge("carport_budget_reserve", "Calls of a vehicle's month that are kept in reserve.", reserve.into());
            out.gauge("carport_budget_resets_seconds", "Until the month of the plan begins anew.", resets_in);
        }
        out.family("carport_smartcar_calls_total", "Calls that count against the plan, by reason.", ["reason"], &self.calls);
        let requests = ["endpoint", "status"];
        out.family("carport_smartcar_requests_total", "Requests to Smartcar, by answer.", requests, &self.smartcar_requests);

        out.family("carport_rate_limited_total", "Requests refused by a limit.", ["bucket"], &self.rate_limited);
        out.family("carport_http_requests_total", "Requests answered.", ["route", "status"], &self.http_requests);
        let open = self.http_connections.load(Ordering::Relaxed);
        out.gauge("carport_http_connections", "Open connections.", open);
        out.0
    }
}

/// Counts as one open connection while it lives.
#[derive(Debug)]
pub struct OpenConnection<'a>(&'a AtomicU64);

impl Drop for OpenConnection<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A counter for each combination of labels. The callers' labels are few and fixed, so it stays small.
#[derive(Debug)]
struct Family<const N: usize>(Mutex<BTreeMap<[Cow<'static, str>; N], u64>>);

impl<const N: usize> Default for Family<N> {
    fn default() -> Family<N> {
        Family(Mutex::new(BTreeMap::new()))
    }
}

impl<const N: usize> Family<N> {
    fn add(&self, labels: [Cow<'static, str>; N]) {
        self.count(labels, 1);
    }

    fn count(&self, labels: [Cow<'static, str>; N], times: u64) {
        if times == 0 {
            return;
        }
        // A counter is never half written: after a panic elsewhere it is still good.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(labels).or_default() += times;
    }
}

#[derive(Debug)]
struct Histogram {
    bounds: &'static [u64],
    unit: Unit,
    /// One for each bound and one for everything beyond; not cumulative.
    counts: Vec<AtomicU64>,
    sum: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
enum Unit {
    /// Kept in microseconds, written in seconds.
    Seconds,
    Count,
}

impl Histogram {
    fn new(bounds: &'static [u64], unit: Unit) -> Histogram {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Histogram { bounds, unit, counts, sum: AtomicU64::new(0) }
    }

    fn observe(&self, value: u64) {
        let place = self.bounds.partition_point(|bound| *bound < value);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(value, Ordering::Relaxed);
    }
}

/// The text format.
struct Text(String);

impl Text {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        self.0.push_str(name);
        for (index, (label, text)) in labels.iter().enumerate() {
            let _ = write!(self.0, "{}{label}=\"{}\"", if index == 0 { '{' } else { ',' }, escape(text));
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn gauge(&mut self, name: &str, help: &str, value: u64) {
        self.head(name, "gauge", help);
        self.sample(name, &[], value);
    }

    fn family<const N: usize>(&mut self, name: &str, help: &str, labels: [&str; N], family: &Family<N>) {
        self.head(name, "counter", help);
        let counters = family.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (values, count) in counters {
            let mut pairs = [("", ""); N];
            for (pair, (label, value)) in pairs.iter_mut().zip(labels.iter().zip(&values)) {
                *pair = (label, value);
            }
            self.sample(name, &pairs, count);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let mut total = 0;
        for (place, count) in histogram.counts.iter().enumerate() {
            total += count.load(Ordering::Relaxed);
            let bound = histogram.bounds.get(place).map_or_else(|| "+Inf".to_owned(), |bound| in_unit(*bound, histogram.unit));
            self.sample(&format!("{name}_bucket"), &[("le", &bound)], total);
        }
        self.sample(&format!("{name}_sum"), &[], in_unit(histogram.sum.load(Ordering::Relaxed), histogram.unit));
        self.sample(&format!("{name}_count"), &[], total);
    }
}

/// Microseconds as decimal seconds, without the detour over floating point.
fn in_unit(value: u64, unit: Unit) -> String {
    match unit {
        Unit::Count => value.to_string(),
        Unit::Seconds => {
            let text = format!("{}.{:06}", value / 1_000_000, value % 1_000_000);
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
    }
}

fn escape(label: &str) -> Cow<'_, str> {
    if label.contains(['\\', '"', '\n']) {
        label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n").into()
    } else {
        label.into()
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// In microseconds: from a page cache to a card that has fallen asleep.
const SECONDS: &[u64] =
    &[500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000];

const BATCHES: &[u64] = &[1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_prometheus_text() {
        let metrics = Metrics::new();
        metrics.delivery("accepted");
        metrics.delivery("accepted");
        metrics.delivery("bad_signature");
        metrics.acknowledged(Duration::from_millis(3));
        metrics.acknowledged(Duration::from_secs(60));
        metrics.committed(3, Duration::from_micros(400));
        metrics.refreshed(Generation::V2, true);
        metrics.smartcar_request("token", 0);
        metrics.smartcar_request("token", 200);
        metrics.calls("poll", 1);
        metrics.calls("poll", 2);
        metrics.calls("gap", 0);
        let open = metrics.connection();
        let gauges = Gauges {
            webhook_log_entries: 7,
            by_status: [("active", 2), ("needs_reconnect", 1), ("disconnected", 0)],
            notices: 1,
            shared: Some(SharedCalls { bucket: 119, reserve: 20, resets_in: 86_400 }),
            connections: vec![ConnectionGauge { connection: "a\"b\\c\nd".to_owned(), kind: "access", seconds: -5 }],
            ..Gauges::default()
        };
        let text = metrics.write(&gauges);
        drop(open);
        for line in [
            "# TYPE carport_webhook_deliveries_total counter",
            "carport_webhook_deliveries_total{result=\"accepted\"} 2",
            "carport_webhook_deliveries_total{result=\"bad_signature\"} 1",
            "carport_webhook_ack_seconds_bucket{le=\"0.0025\"} 0",
            "carport_webhook_ack_seconds_bucket{le=\"0.005\"} 1",
            "carport_webhook_ack_seconds_bucket{le=\"10\"} 1",
            "carport_webhook_ack_seconds_bucket{le=\"+Inf\"} 2",
            "carport_webhook_ack_seconds_sum 60.003",
            "carport_webhook_ack_seconds_count 2",
            "carport_commit_batch_size_bucket{le=\"4\"} 1",
            "carport_commit_seconds_bucket{le=\"0.0005\"} 1",
            "carport_webhook_log_entries 7",
            "carport_token_refresh_total{generation=\"v2\",result=\"ok\"} 1",
            "carport_smartcar_requests_total{endpoint=\"token\",status=\"none\"} 1",
            "carport_smartcar_requests_total{endpoint=\"token\",status=\"200\"} 1",
            "carport_connection_expires_seconds{connection=\"a\\\"b\\\\c\\nd\",kind=\"access\"} -5",
            "carport_connections{status=\"needs_reconnect\"} 1",
            "carport_notices 1",
            "carport_budget_bucket 119",
            "carport_budget_reserve 20",
            "carport_budget_resets_seconds 86400",
            "carport_smartcar_calls_total{reason=\"poll\"} 3",
            "carport_http_connections 1",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\nis not in\n{text}");
        }
        assert!(!text.contains("reason=\"gap\""), "{text}");
        assert!(metrics.write(&Gauges::default()).contains("carport_http_connections 0\n"));
    }

    #[test]
    fn every_line_is_a_comment_or_a_sample() {
        for line in Metrics::new().write(&Gauges::default()).lines() {
            let sample =
                line.rsplit_once(' ').is_some_and(|(name, value)| name.starts_with("carport_") && value.parse::<f64>().is_ok());
            assert!(line.starts_with("# HELP carport_") || line.starts_with("# TYPE carport_") || sample, "{line}");
        }
    }
}
