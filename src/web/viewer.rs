//! Who looks at a page, as far as every page shows it.

use http::HeaderMap;
use http::header::ACCEPT_LANGUAGE;

use super::Services;
use super::client::Client;
use super::cookies::Kind;
use super::dashboard::{Language, Shell, Tab};
use super::session::{self, Identity};
use crate::operate::audit::Actor;

/// Who looks at a page.
#[derive(Clone, Copy, Debug)]
pub(super) struct Viewer<'a> {
    pub(super) identity: Option<&'a Identity>,
    /// For the forms of this viewer's pages.
    pub(super) form_token: Option<&'a str>,
    pub(super) client: Client,
    pub(super) headers: &'a HeaderMap,
}

impl<'a> Viewer<'a> {
    /// What is around a page.
    pub(super) fn shell(self, services: &Services, active: Tab) -> Shell<'a> {
        let accepted = self.headers.get(ACCEPT_LANGUAGE);
        let is_plain = Kind::of(self.client, self.headers) == Some(Kind::Plain);
        Shell {
            signed_in: self.identity.is_some(),
            csrf: self.form_token,
            can_sign_out: self.identity.is_some_and(|identity| matches!(identity.caller.actor, Actor::Session { .. })),
            insecure_warning: is_plain && !matches!(self.client, Client::Remote { loopback: true, .. }),
            now: services.world.now(),
            language: accepted.and_then(|value| value.to_str().ok()).map_or_else(Language::default, Language::of),
            active,
            seen: None,
            done: None,
        }
    }
}

/// A person who is shown an error: who that is, and what is around the page.
#[derive(Debug)]
pub(super) struct Reader {
    headers: HeaderMap,
    client: Client,
    identity: Option<Identity>,
    form_token: Option<String>,
    /// Which page they asked for.
    path: String,
    /// Whether they sent a form to it.
    is_form: bool,
    has_start: bool,
}

impl Reader {
    /// By what came with the request. SECURITY: under a `Host` that is not ours (`is_host_ours`) nobody is known. A token is
    /// not tried again, so that a failure counts once.
    pub(super) async fn of(
        services: &Services,
        client: Client,
        (headers, path, is_form): (HeaderMap, String, bool),
        is_host_ours: bool,
    ) -> Reader {
        let identity =
            if is_host_ours { session::of_browser(services, client, &headers).await.unwrap_or_default() } else { None };
        let form_token = identity.as_ref().and_then(|identity| identity.cookie.as_deref()).map(session::form_token);
        let has_start = is_host_ours && services.face.knows_sessions();
        Reader { headers, client, identity, form_token, path, is_form, has_start }
    }

    /// What is around the page.
    pub(super) fn shell(&self, services: &Services) -> Shell<'_> {
        let Reader { headers, client, .. } = self;
        let viewer =
            Viewer { identity: self.identity.as_ref(), form_token: self.form_token.as_deref(), client: *client, headers };
        viewer.shell(services, Tab::Elsewhere)
    }

    /// The path that was asked for.
    pub(super) fn path(&self) -> &str {
        &self.path
    }

    /// Whether they sent a form, which would be sent again if the same were asked for once more.
    pub(super) fn has_sent_a_form(&self) -> bool {
        self.is_form
    }

    /// Whether the page of the cars, or the sign-in in front of it, is there to be led to.
    pub(super) fn has_start(&self) -> bool {
        self.has_start
    }
}
