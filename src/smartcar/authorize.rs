//! The addresses at Connect.

use url::Url;

use super::call::join;
use super::{Failure, Scope, Smartcar, SmartcarError};
use crate::model::VehicleId;

/// One trip through Connect, as it is asked for. What is `None` is left to the settings or to Smartcar.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Authorize {
    /// Where Smartcar sends the browser back; the application's default one if missing.
    pub redirect_uri: Option<String>,
    /// Comes back unchanged.
    pub state: String,
    /// The permissions to ask for instead of those of the settings.
    pub scope: Option<Vec<String>>,
    /// `live` or `simulated`.
    pub mode: Option<String>,
    /// Skips the choice of brand.
    pub make: Option<String>,
    /// Shows the permissions again although they were granted before.
    pub force: bool,
    /// Whether one vehicle only may be chosen, if not as in the settings.
    pub single_select: Option<bool>,
    /// The one vehicle that may be chosen; implies `single_select`.
    pub single_select_vin: Option<String>,
    /// The operator's id of the owner; comes back in webhooks.
    pub external_id: Option<String>,
    /// Smartcar's feature flags, such as `country:DE`.
    pub flags: Option<String>,
    /// A word for Smartcar's statistics.
    pub user: Option<String>,
}

impl Smartcar {
    /// Where an owner goes to connect vehicles.
    pub fn connect_url(&self, authorize: &Authorize) -> Result<Url, SmartcarError> {
        let settings = self.settings();
        let scope = match (&authorize.scope, &settings.scope) {
            (Some(list), _) | (None, Scope::List(list)) => Some(list.join(" ")),
            (None, Scope::Dashboard) => None,
        };
        let vin = authorize.single_select_vin.as_deref();
        // Without `single_select` Smartcar would pass over the VIN and let the owner choose anything.
        let single = vin.is_some() || authorize.single_select.unwrap_or(settings.single_select);
        self.address(
            "/oauth/authorize",
            &[
                ("response_type", Some("code")),
                ("client_id", Some(self.client_id()?)),
                ("redirect_uri", authorize.redirect_uri.as_deref()),
                ("scope", scope.as_deref()),
                ("state", Some(&authorize.state)),
                ("mode", authorize.mode.as_deref()),
                ("approval_prompt", Some(if authorize.force { "force" } else { "auto" })),
                ("make", authorize.make.as_deref()),
                ("single_select", single.then_some("true")),
                ("single_select_vin", vin),
                ("flags", authorize.flags.as_deref()),
                ("user", authorize.user.as_deref()),
                ("external_id", authorize.external_id.as_deref()),
            ],
        )
    }

    /// Where an owner goes to sign in again for one vehicle.
    pub fn reauthenticate_url(
        &self,
        vehicle: &VehicleId,
        redirect_uri: Option<&str>,
        state: &str,
        external_id: Option<&str>,
    ) -> Result<Url, SmartcarError> {
        self.address(
            "/oauth/reauthenticate",
            &[
                ("response_type", Some("vehicle_id")),
                ("client_id", Some(self.client_id()?)),
                ("vehicle_id", Some(vehicle.as_str())),
                ("redirect_uri", redirect_uri),
                ("state", Some(state)),
                ("external_id", external_id),
            ],
        )
    }

    fn client_id(&self) -> Result<&str, SmartcarError> {
        self.settings().application_id().ok_or_else(|| misconfigured("set smartcar.application_id"))
    }

    fn address(&self, path: &str, parameters: &[(&str, Option<&str>)]) -> Result<Url, SmartcarError> {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        for (name, value) in parameters {
            if let Some(value) = value {
                query.append_pair(name, value);
            }
        }
        // Every plus that is left stands for a space; `%20` is what Smartcar's own pages show.
        let query = query.finish().replace('+', "%20");
        let mut url = Url::parse(&join(&self.settings().origins.connect, path))
            .map_err(|_| misconfigured("smartcar.origins.connect is not an address"))?;
        url.set_query(Some(&query));
        Ok(url)
    }
}

fn misconfigured(note: &str) -> SmartcarError {
    SmartcarError::Configuration { what: Failure { endpoint: "connect", note: Some(note.to_owned()), ..Failure::default() } }
}
