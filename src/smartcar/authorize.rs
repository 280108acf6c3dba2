//! The addresses at Connect.

use url::Url;

use super::call::join;
use super::{Failure, Scope, Smartcar, SmartcarError};
use crate::model::{VehicleId, nearest};

/// Every permission that Smartcar lists (docs: api-reference/permissions), and one that it grants all the same.
const PERMISSIONS: [&str; 29] = [
    "read_alerts",
    "read_battery",
    "read_charge",
    "read_charge_events",
    "read_charge_locations",
    "read_charge_records",
    "read_climate",
    "read_compass",
    "read_diagnostics",
    "read_engine_oil",
    "read_extended_vehicle_info",
    "read_fuel",
    "read_location",
    "read_odometer",
    "read_security",
    "read_service_history",
    "read_speedometer",
    "read_thermometer",
    "read_tires",
    "read_user_profile",
    "read_vehicle_info",
    "read_vin",
    "control_charge",
    "control_climate",
    "control_ignition",
    "control_navigation",
    "control_pin",
    "control_security",
    "control_trunk",
];

/// Whether Smartcar lists a permission, which may be a `required:` one.
pub fn is_known_permission(permission: &str) -> bool {
    PERMISSIONS.contains(&permission.strip_prefix("required:").unwrap_or(permission))
}

/// The permission that a misspelt one was probably meant to be.
pub fn nearest_permission(misspelt: &str) -> Option<&'static str> {
    let misspelt = misspelt.strip_prefix("required:").unwrap_or(misspelt);
    nearest(misspelt, PERMISSIONS)
}

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
                ("client_id", Some(&*self.client_id()?)),
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
                ("client_id", Some(&*self.client_id()?)),
                ("vehicle_id", Some(vehicle.as_str())),
                ("redirect_uri", redirect_uri),
                ("state", Some(state)),
                ("external_id", external_id),
            ],
        )
    }

    fn client_id(&self) -> Result<String, SmartcarError> {
        self.settings().application_id().map(str::to_owned).ok_or_else(|| misconfigured("set smartcar.application_id"))
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
    SmartcarError::Configuration { what: Failure { endpoint: "connect", note: Some(note.into()), ..Failure::default() } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smartcar::Settings;
    use crate::smartcar::script::Script;

    fn client(settings: Settings) -> Smartcar {
        Smartcar::new(Script::new([]).transport(), settings)
    }

    fn settings() -> Settings {
        let scope = Scope::List(vec!["required:read_vin".to_owned(), "read_odometer".to_owned()]);
        Settings { application_id: Some("app".to_owned()), scope, ..Settings::default() }
    }

    #[test]
    fn every_parameter_of_connect() {
        let authorize = Authorize {
            redirect_uri: Some("http://localhost:8000/a?b=c&d".to_owned()),
            state: "s+t".to_owned(),
            scope: None,
            mode: Some("simulated".to_owned()),
            make: Some("TESLA".to_owned()),
            force: true,
            single_select: None,
            single_select_vin: Some("0SC".to_owned()),
            external_id: Some("house 17".to_owned()),
            flags: Some("country:DE color:00819D".to_owned()),
            user: Some("u".to_owned()),
        };
        assert_eq!(
            client(settings()).connect_url(&authorize).unwrap().as_str(),
            "https://connect.smartcar.com/oauth/authorize?response_type=code&client_id=app\
             &redirect_uri=http%3A%2F%2Flocalhost%3A8000%2Fa%3Fb%3Dc%26d&scope=required%3Aread_vin%20read_odometer&state=s%2Bt\
             &mode=simulated&approval_prompt=force&make=TESLA&single_select=true&single_select_vin=0SC\
             &flags=country%3ADE%20color%3A00819D&user=u&external_id=house%2017"
        );
    }

    #[test]
    fn what_is_not_said_is_left_out() {
        let bare = Authorize { state: "s".to_owned(), ..Authorize::default() };
        let dashboard = Settings { scope: Scope::Dashboard, single_select: true, ..settings() };
        assert_eq!(
            client(dashboard).connect_url(&bare).unwrap().query(),
            Some("response_type=code&client_id=app&state=s&approval_prompt=auto&single_select=true")
        );
        let own = Authorize { scope: Some(vec!["read_fuel".to_owned()]), single_select: Some(false), ..bare };
        let url = client(Settings { single_select: true, ..settings() }).connect_url(&own).unwrap();
        assert_eq!(url.query(), Some("response_type=code&client_id=app&scope=read_fuel&state=s&approval_prompt=auto"));
    }

    #[test]
    fn a_misspelt_permission_is_not_known_but_meant() {
        for (asked, known, meant) in [
            ("required:read_vin", true, Some("read_vin")),
            ("required:read_odometr", false, Some("read_odometer")),
            ("read_banana", false, None),
        ] {
            assert_eq!((is_known_permission(asked), nearest_permission(asked)), (known, meant), "{asked}");
        }
    }

    #[test]
    fn signing_in_again() {
        let url = client(settings()).reauthenticate_url(&VehicleId::new("v&1"), Some("http://localhost/cb"), "s", Some("u"));
        assert_eq!(
            url.unwrap().as_str(),
            "https://connect.smartcar.com/oauth/reauthenticate?response_type=vehicle_id&client_id=app&vehicle_id=v%261\
             &redirect_uri=http%3A%2F%2Flocalhost%2Fcb&state=s&external_id=u"
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let error = client(Settings::default()).connect_url(&Authorize::default()).unwrap_err();
        assert_eq!(error.to_string(), "set smartcar.application_id (connect)");
        let mut settings = settings();
        settings.origins.connect = "nowhere".to_owned();
        assert!(matches!(client(settings).connect_url(&Authorize::default()), Err(SmartcarError::Configuration { .. })));
    }
}
