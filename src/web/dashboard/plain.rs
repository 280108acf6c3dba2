//! Set-up, sign-in, and what else is mostly words.

use std::time::Duration;

use askama::Template;

use super::format::{self, Rich, When};
use super::{ErrorPage, LoginPage, SetupPage, Shell, SignInPage, WebhookAddressPage, finish};
use crate::operate::probes::{Finding, Outcome, Shown};
use crate::operate::status::StatusView;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupView<'a> {
    shell: Shell<'a>,
    status: &'a StatusView,
    redirect_uri: &'a str,
    webhook_url: &'a str,
    open: Vec<Point>,
    done: Vec<Point>,
    checked: Option<When>,
    shown: &'a [Shown],
    uptime: String,
    store: String,
    free: Option<String>,
}

/// A point of the list.
struct Point {
    class: &'static str,
    title: String,
    text: String,
    remedy: Option<String>,
    when: Option<When>,
}

#[derive(Template)]
#[template(path = "login.html")]
struct LoginView<'a> {
    shell: Shell<'a>,
    link: Option<&'a str>,
    asked: bool,
    has_password: bool,
    is_wrong: bool,
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorView<'a> {
    shell: Shell<'a>,
    page: &'a ErrorPage<'a>,
}

#[derive(Template)]
#[template(path = "webhook_address.html")]
struct WebhookAddressView<'a> {
    shell: Shell<'a>,
}

impl SetupPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let (status, now) = (self.status, self.shell.now);
        let ago = |at| When::ago(now, at);
        let is = |result: Outcome| self.list.iter().filter(move |finding| finding.result == result);
        let seen = |check: &str| match check {
            "VERIFY" => status.webhooks.last_verify.as_ref().map(|verify| ago(verify.at)),
            "delivery" => status.webhooks.last_delivery_at.map(ago),
            _ => None,
        };
        let point = |finding: &Finding| Point {
            class: match finding.result {
                Outcome::Ok => "yes",
                Outcome::Warn => "no",
                Outcome::Fail => "bad",
            },
            title: format::capital(finding.check),
            text: if finding.result == Outcome::Ok { format::capital(&finding.text) } else { format::sentence(&finding.text) },
            remedy: finding.remedy.as_deref().map(format::sentence),
            when: Some(finding).filter(|finding| finding.result == Outcome::Ok).and_then(|finding| seen(finding.check)),
        };
        finish(&SetupView {
            shell: self.shell,
            status,
            redirect_uri: self.redirect_uri,
            webhook_url: self.webhook_url,
            open: is(Outcome::Fail).chain(is(Outcome::Warn)).map(point).collect(),
            done: is(Outcome::Ok).map(point).collect(),
            checked: self.checked_at.map(ago),
            shown: &self.settings.shown,
            uptime: format::duration(Duration::from_secs(status.uptime_seconds)),
            store: format::size(status.store.bytes),
            free: status.store.free_bytes.map(format::size),
        })
    }
}

impl LoginPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        finish(&LoginView { shell: self.shell, link: self.link, asked: true, has_password: false, is_wrong: false })
    }
}

impl SignInPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let SignInPage { shell, has_password, is_wrong } = *self;
        finish(&LoginView { shell, link: None, asked: false, has_password, is_wrong })
    }
}

impl ErrorPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        finish(&ErrorView { shell: self.shell, page: self })
    }
}

impl WebhookAddressPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        finish(&WebhookAddressView { shell: self.shell })
    }
}
