//! A request on its way to its handler: what came, who sent it, and whom to call.

use std::sync::OnceLock;

use bytes::Bytes;
use http::header::HeaderName;
use http::request::Parts;
use serde::de::DeserializeOwned;

use super::Services;
use super::allowance::Allowance;
use super::audit::Noting;
use super::client::Client;
use super::cookies::Kind;
use super::dashboard::{Shell, Tab};
use super::input::{self, Fields};
use super::problem::Problem;
use super::router::Route;
use super::session::{self, Identity};
use super::viewer::Viewer;
use crate::model::Seq;
use crate::model::reach::Reach;
use crate::operate::access::Caller;

/// A request on its way to its handler.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) services: &'a Services,
    pub(super) client: Client,
    /// The cookies that this connection allows.
    pub(super) cookie_kind: Option<Kind>,
    pub(super) route: Route,
    /// What the path named, decoded.
    pub(super) named: Vec<String>,
    pub(super) head: &'a Parts,
    /// By which the log knows this request.
    pub(super) request_id: &'a str,
    pub(super) body: Bytes,
    pub(super) identity: Option<&'a Identity>,
    /// For the forms of this caller's pages.
    pub(super) form_token: Option<String>,
    /// What the audit log says of this request: what it makes or changes besides what its path names.
    pub(super) noting: Noting,
    /// How far the log had become vehicle data when this came: what is shown may say more, never less.
    pub(super) seen: Seq,
    /// What its proof has left of a limit.
    pub(super) left: OnceLock<Allowance>,
}

impl<'a> Call<'a> {
    /// What the path named in its `index`-th place.
    pub(super) fn named(&self, index: usize) -> Result<&str, Problem> {
        self.named.get(index).map(String::as_str).ok_or_else(Problem::not_found)
    }

    /// Who calls.
    pub(super) fn caller(&self) -> Result<&'a Caller, Problem> {
        self.identity.map(|identity| &identity.caller).ok_or_else(Problem::unauthorized)
    }

    /// What the caller may see.
    pub(super) fn reach(&self) -> Result<&'a Reach, Problem> {
        Ok(&self.caller()?.reach)
    }

    /// Takes one for a proof that failed, or that can be guessed; what is left is told with the answer.
    pub(super) fn take_for_proof(&self) -> Result<(), Problem> {
        if let Some(allowance) = self.services.take_for_proof(self.route, self.client)? {
            let _ = self.left.set(allowance);
        }
        Ok(())
    }

    /// The query, to be taken apart and finished.
    pub(super) fn query(&self) -> Result<Fields, Problem> {
        Fields::parse(self.head.uri.query().unwrap_or_default().as_bytes())
    }

    /// There is no query.
    pub(super) fn no_query(&self) -> Result<(), Problem> {
        self.query()?.finish()
    }

    /// The body as a strict JSON object.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Result<T, Problem> {
        self.no_query()?;
        input::json(&self.head.headers, &self.body)
    }

    /// The body as a form, to be taken apart and finished.
    pub(super) fn form(&self) -> Result<Fields, Problem> {
        if input::is_form(&self.head.headers) {
            Fields::parse(&self.body)
        } else {
            Err(Problem::bad_request("A form is expected here."))
        }
    }

    /// A form of our own pages, without the token that each of them bears.
    pub(super) fn own_form(&self) -> Result<Fields, Problem> {
        let mut form = self.form()?;
        form.take("csrf");
        Ok(form)
    }

    /// A button of our own pages, with which nothing goes.
    pub(super) fn pressed(&self) -> Result<(), Problem> {
        self.own_form()?.finish()
    }

    /// SECURITY: whoever comes with a cookie must also know what our own page knows: the token in its
    /// forms, or in a header for its script.
    pub(super) fn check_form_token(&self, cookie: &str) -> Result<(), Problem> {
        let header = self.head.headers.get(FORM_TOKEN).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let token = match header {
            Some(token) => Some(token),
            None if input::is_form(&self.head.headers) => Fields::parse(&self.body)?.take("csrf"),
            None => None,
        };
        match token {
            Some(token) if session::is_form_token(cookie, &token) => Ok(()),
            _ => Err(Problem::cross_site()),
        }
    }

    /// What is around a page.
    pub(super) fn shell(&self, active: Tab) -> Shell<'_> {
        let Call { services, client, identity, head, .. } = *self;
        let viewer = Viewer { identity, form_token: self.form_token.as_deref(), client, headers: &head.headers };
        // How much comes in of other cars is nobody's business.
        let seen = identity.filter(|identity| identity.caller.reach == Reach::All).map(|_| self.seen);
        Shell { seen, ..viewer.shell(services, active) }
    }
}

const FORM_TOKEN: HeaderName = HeaderName::from_static("x-csrf-token");
