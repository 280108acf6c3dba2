//! How owners are taken through Connect.

use super::Connect;

/// How owners are taken through Connect.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where browsers find us, without a slash at the end.
    pub public_url: String,
    /// Where Smartcar sends browsers back to.
    pub redirect_uri: String,
    /// Further registered redirect URIs, of apps.
    pub redirect_uris: Vec<String>,
    /// `live` or `simulated`, unless an invite says otherwise.
    pub mode: Option<String>,
}

impl Connect {
    /// Takes owners another way from now on. Who is under way goes on as they began.
    pub fn replace_settings(&self, settings: Settings) {
        self.shared.settings.replace(settings);
    }
}
