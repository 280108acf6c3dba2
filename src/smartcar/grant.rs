//! The two token endpoints.

use std::time::Duration;

use super::{Failure, Smartcar, SmartcarError};
use crate::model::Secret;

/// What a token endpoint hands out.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The access token.
    pub access: Secret,
    /// How long it lives: Smartcar's word if it is sane, else what is documented.
    pub expires_in: Duration,
    /// The next refresh token; `None` means that the old one stays (or that there is none, v3).
    pub refresh: Option<Secret>,
}

impl Smartcar {
    /// Exchanges an authorization code for a token set (v2). `redirect_uri` is the one sent to Connect.
    pub async fn exchange(&self, code: &Secret, redirect_uri: &str) -> Result<Granted, SmartcarError> {
        let _ = (code, redirect_uri);
        Err(soon())
    }

    /// Exchanges a refresh token for the next token set (v2).
    pub async fn refresh(&self, refresh_token: &Secret) -> Result<Granted, SmartcarError> {
        let _ = refresh_token;
        Err(soon())
    }

    /// Asks for an application token (v3).
    pub async fn application_token(&self) -> Result<Granted, SmartcarError> {
        Err(soon())
    }
}

pub(super) fn soon() -> SmartcarError {
    SmartcarError::NotPossible { what: Failure::default() }
}
