use clap::{Args, ValueEnum};

use crate::model::Timestamp;
use crate::world::{Clock, SystemClock};

/// Flags of `signals`.
#[derive(Clone, Debug, Args)]
pub struct Signals {
    /// Only of this car, by its id or its name
    pub vehicle: Option<String>,
    /// What cannot be had, and why
    #[arg(long)]
    pub missing: bool,
    /// All signals that Smartcar lists: by code, the name for its dashboard, kind and unit; needs no server
    #[arg(long, conflicts_with_all = ["missing", "vehicle"])]
    pub known: bool,
    /// In these units, not in those of the configuration
    #[arg(long, value_name = "UNITS")]
    pub units: Option<Units>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Flags of `export`.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// Only of this car, by its id or its name
    #[arg(long, value_name = "CAR")]
    pub vehicle: Option<String>,
    /// Only this signal, such as odometer-traveleddistance
    #[arg(long, value_name = "CODE")]
    pub signal: Option<String>,
    /// From this time on: 2026-01-31, 2026-01-31T12:00:00Z, or 30d for so long ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub since: Option<Timestamp>,
    /// Before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub until: Option<Timestamp>,
    /// A table for spreadsheets, or a JSON object a line
    #[arg(long, default_value = "jsonl")]
    pub format: Format,
    /// In these units, not in those of the configuration
    #[arg(long, value_name = "UNITS")]
    pub units: Option<Units>,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table.
    Csv,
    /// A JSON object a line.
    Jsonl,
}

impl Format {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
        }
    }
}

/// Systems of units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Units {
    /// Kilometers, bar, degrees of Celsius.
    Metric,
    /// Miles, psi, degrees of Fahrenheit.
    Imperial,
}

impl Units {
    /// The API's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Units::Metric => "metric",
            Units::Imperial => "imperial",
        }
    }
}

/// A moment, a day (UTC), or how long ago.
/// A time on the command line.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::written(text, SystemClock.now()).ok_or_else(|| "write 2026-01-31, 2026-01-31T12:00:00Z or 30d".to_owned())
}
