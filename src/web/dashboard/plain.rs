//! Sign-in, and what else is mostly words.

use askama::Template;

use super::format::Rich;
use super::{ErrorPage, LoginPage, Shell, SignInPage, WebhookAddressPage, finish};

#[derive(Template)]
#[template(path = "login.html")]
#[expect(clippy::struct_excessive_bools, reason = "the page asks for each by itself")]
struct LoginView<'a> {
    shell: Shell<'a>,
    link: Option<&'a str>,
    asked: bool,
    is_possible: bool,
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

impl LoginPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        finish(&LoginView {
            shell: self.shell,
            link: self.link,
            asked: true,
            is_possible: true,
            has_password: false,
            is_wrong: false,
        })
    }
}

impl SignInPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let SignInPage { shell, is_possible, has_password, is_wrong } = *self;
        finish(&LoginView { shell, link: None, asked: false, is_possible, has_password, is_wrong })
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
