use clap::{Args, Subcommand};

use super::signals::time;
use crate::model::Timestamp;

/// `webhooks`.
#[derive(Clone, Debug, Subcommand)]
pub enum Webhooks {
    /// List the newest webhooks
    List {
        /// Which
        #[command(flatten)]
        filter: WebhookFilter,
        /// At most so many, from 1 to 500
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u16).range(1..=500))]
        limit: u16,
        /// Only before this number
        #[arg(long, value_name = "SEQ")]
        before: Option<u64>,
        /// What came in from this time on: 2026-01-31, 2026-01-31T12:00:00Z, or 12h for so long ago
        #[arg(long, value_name = "TIME", value_parser = time)]
        since: Option<Timestamp>,
        /// What came in before this time
        #[arg(long, value_name = "TIME", value_parser = time)]
        until: Option<Timestamp>,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Show one webhook with its payload
    Show {
        /// Its number
        seq: u64,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
    /// Print webhooks as they come in
    Tail {
        /// Which
        #[command(flatten)]
        filter: WebhookFilter,
        /// One line of JSON each
        #[arg(long)]
        json: bool,
    },
    /// Turn a webhook into vehicle data again
    Replay {
        /// Its number
        seq: u64,
        /// Print what the API answered
        #[arg(long)]
        json: bool,
    },
}

/// Which webhooks.
#[derive(Clone, Debug, Default, Args)]
pub struct WebhookFilter {
    /// Only about this vehicle
    #[arg(long, value_name = "ID")]
    pub vehicle: Option<String>,
    /// Only of this type, such as VEHICLE_STATE
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Only with this result: accepted, unknown_vehicle, not_connected, unknown_type, test or not_understood
    #[arg(long)]
    pub result: Option<String>,
    /// Only with this id of the event or of the delivery
    #[arg(long, value_name = "ID")]
    pub id: Option<String>,
}
