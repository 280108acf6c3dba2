//! The end of API v2.0 in words: that it has come, and the way out.

/// What has happened.
pub(super) const ENDED: &str = "Smartcar has ended its API v2.0";

/// The one thing to do, by whether cars are connected by it here, and whether there are credentials for v3.
pub(super) fn way_out(is_used: bool, has_v3: bool) -> String {
    let first = if has_v3 { "" } else { CREDENTIALS };
    format!("{first}{}", if is_used { MIGRATE } else { ADOPT })
}

const CREDENTIALS: &str = "make credentials for API v3 in Smartcar's dashboard, set smartcar.v3.client_id and \
                           smartcar.v3.client_secret, restart, and then ";

const MIGRATE: &str = "run `carport migrate`, which moves them to v3; `carport migrate --dry-run` says which";

const ADOPT: &str = "run `carport connections adopt`, which takes over what owners have connected at Smartcar and is not here (there \
                     is nothing to migrate); then take smartcar.v2 out of the configuration, with its client_id as \
                     smartcar.application_id if that is not set";
