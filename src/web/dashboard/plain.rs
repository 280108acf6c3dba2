//! Set-up, sign-in, and what else is mostly words.

use std::time::Duration;

use askama::Template;

use super::format::{self, Rich, When};
use super::{ErrorPage, LoginPage, SetupPage, Shell, SignInPage, WebhookAddressPage, finish};
use crate::operate::status::StatusView;

#[derive(Template)]
#[template(path = "setup.html")]
struct SetupView<'a> {
    shell: Shell<'a>,
    status: &'a StatusView,
    redirect_uri: &'a str,
    webhook_url: &'a str,
    works: Vec<(bool, String, Option<When>)>,
    uptime: String,
    store: String,
    free: Option<String>,
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
        let ago = |at| Some(When::ago(now, at));
        let verify = status.webhooks.last_verify.as_ref().map(|verify| verify.at);
        let store = match &status.store {
            store if !store.healthy => "The store takes no changes: look at the log",
            store if store.low => "The disk is nearly full: webhooks and renewals wait",
            _ => "The store takes changes",
        };
        let cars = status.refresh.active;
        let connections = match cars {
            0 => "No active connection yet".to_owned(),
            1 => "One active connection".to_owned(),
            several => format!("{} active connections", format::count(several)),
        };
        let told = |yes: bool, good: &str, bad: &str| if yes { good.to_owned() } else { bad.to_owned() };
        let delivery = status.webhooks.last_delivery_at;
        let works = vec![
            (status.store.healthy && !status.store.low, store.to_owned(), None),
            (
                verify.is_some(),
                told(verify.is_some(), "Smartcar has verified the webhook address", "No VERIFY from Smartcar yet"),
                verify.and_then(ago),
            ),
            (delivery.is_some(), told(delivery.is_some(), "Deliveries come in", "No delivery yet"), delivery.and_then(ago)),
            (cars > 0, connections, None),
        ];
        finish(&SetupView {
            shell: self.shell,
            status,
            redirect_uri: self.redirect_uri,
            webhook_url: self.webhook_url,
            works,
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
