//! What `tls.acme.*` means.

use std::path::PathBuf;

use url::{Host, Url};

use super::super::values::{self, Taken, wrong};
use super::super::written::Raw;
use super::Reader;
use crate::model::Current;
use crate::tls::{Acme, Challenge, Dns};

/// As written: which challenges may be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Choice {
    Auto,
    Only(Challenge),
}

impl Reader<'_> {
    /// How certificates are ordered, for which names, and whether somebody is to listen for plain HTTP.
    pub(super) fn acme(&mut self, public_url: &Url, may_listen: bool) -> Option<(Acme, Vec<String>)> {
        let directory = self.take("tls.acme.directory", directory);
        let names = self.domains(public_url);
        let choice = self.take("tls.acme.challenge", choice);
        let dns = self.dns();
        let challenges = match (choice, &dns) {
            (Choice::Auto, Some(_)) => vec![Challenge::Dns],
            (Choice::Auto, None) if may_listen => vec![Challenge::Http, Challenge::Alpn],
            (Choice::Auto, None) => vec![Challenge::Alpn],
            (Choice::Only(Challenge::Http), _) if !may_listen => {
                let origin = self.origin("tls.http_listen");
                self.collected.mistake("tls.http_listen", origin, "is off, but http-01 is answered there", "Write \"[::]:80\"");
                return None;
            }
            (Choice::Only(Challenge::Dns), None) => {
                if !self.is_written("tls.acme.dns") {
                    let origin = self.origin("tls.acme.challenge");
                    let remedy = "Set tls.acme.dns to \"duckdns\" or \"exec:/PATH\"";
                    self.collected.mistake("tls.acme.challenge", origin, "\"dns-01\" needs tls.acme.dns", remedy);
                }
                return None;
            }
            (Choice::Only(challenge), _) => vec![challenge],
        };
        let names = names?;
        self.check_names(&names, &challenges, dns.as_ref());
        let base = self.base("tls.acme.ca_file");
        let email = self.optional("tls.acme.email", email);
        let ca_file: Option<PathBuf> = self.optional("tls.acme.ca_file", |raw| values::path(raw, &base));
        Some((Acme { directory, email, ca_file, challenges, dns }, names))
    }

    fn check_names(&mut self, names: &[String], challenges: &[Challenge], dns: Option<&Dns>) {
        let origin = self.origin("tls.acme.domains");
        let mut mistake = |wrong: String, remedy: &str| {
            self.collected.mistake("tls.acme.domains", origin.clone(), wrong, remedy);
        };
        if let Some(wildcard) = names.iter().find(|name| name.starts_with('*'))
            && challenges != [Challenge::Dns]
        {
            mistake(
                format!("{wildcard:?} is a wildcard, which only dns-01 can prove"),
                "Write the whole name, or set tls.acme.dns",
            );
        }
        if challenges.contains(&Challenge::Dns)
            && matches!(dns, Some(Dns::DuckDns { .. }))
            && let Some(other) = names.iter().find(|name| !name.ends_with(".duckdns.org"))
        {
            mistake(format!("{other:?} is not a name of DuckDNS, which tls.acme.dns says"), "Write NAME.duckdns.org");
        }
    }

    /// The names that are written, or that of `public_url`.
    fn domains(&mut self, public_url: &Url) -> Option<Vec<String>> {
        if let Some(domains) = self.optional("tls.acme.domains", domains) {
            return Some(domains);
        }
        match public_url.host() {
            Some(Host::Domain(name)) if name.contains('.') => {
                self.derived("tls.acme.domains", name.to_owned(), "public_url");
                Some(vec![name.to_owned()])
            }
            _ if self.is_written("tls.acme.domains") => None,
            _ => {
                let origin = self.origin("public_url");
                let wrong = "has no name that a certificate could be issued for, as tls.mode \"acme\" needs";
                self.collected.mistake("public_url", origin, wrong, "Write your name, such as https://cars.example.org");
                None
            }
        }
    }

    fn dns(&mut self) -> Option<Dns> {
        let token = self.optional("tls.acme.duckdns_token", values::secret);
        match self.optional("tls.acme.dns", dns)? {
            Writer::Program(program) => Some(Dns::Exec(program)),
            Writer::DuckDns => {
                if token.is_none() && !self.is_written("tls.acme.duckdns_token") {
                    let origin = self.origin("tls.acme.dns");
                    let remedy = "Set tls.acme.duckdns_token_file; duckdns.org shows the token when you are signed in";
                    self.collected.mistake("tls.acme.dns", origin, "\"duckdns\" needs tls.acme.duckdns_token", remedy);
                }
                Some(Dns::DuckDns { token: Current::new(token?) })
            }
        }
    }
}

/// Who writes a record.
enum Writer {
    DuckDns,
    Program(PathBuf),
}

fn dns(raw: &Raw) -> Taken<Writer> {
    let text = values::text(raw)?;
    match text.strip_prefix("exec:").map(PathBuf::from) {
        Some(program) if program.is_absolute() => Ok(Writer::Program(program)),
        Some(_) => wrong("names a program without its whole path", "Write \"exec:/PATH\""),
        None if text == "duckdns" => Ok(Writer::DuckDns),
        None => wrong(format!("{text:?} is not known here"), "Write \"duckdns\" or \"exec:/PATH\""),
    }
}

fn choice(raw: &Raw) -> Taken<Choice> {
    match values::text(raw)?.as_str() {
        "auto" => Ok(Choice::Auto),
        "http-01" => Ok(Choice::Only(Challenge::Http)),
        "tls-alpn-01" => Ok(Choice::Only(Challenge::Alpn)),
        "dns-01" => Ok(Choice::Only(Challenge::Dns)),
        other => wrong(format!("{other:?} is not a challenge"), "Write \"auto\", \"http-01\", \"tls-alpn-01\" or \"dns-01\""),
    }
}

fn directory(raw: &Raw) -> Taken<String> {
    let text = values::text(raw)?;
    match Url::parse(&text) {
        Ok(url) if url.scheme() == "https" && url.has_host() => Ok(text),
        _ => wrong(format!("{text:?} is not an https address"), "Write the whole address of the ACME server's directory"),
    }
}

/// One address, as a contact may have it (RFC 8555, section 7.3).
fn email(raw: &Raw) -> Taken<String> {
    let text = values::text(raw)?;
    let is_plain =
        |part: &str| !part.is_empty() && !part.contains(|letter: char| letter.is_whitespace() || ",;:?&<>@".contains(letter));
    match text.split_once('@') {
        Some((person, place)) if is_plain(person) && is_plain(place) && place.contains('.') => Ok(text),
        _ => wrong(format!("{text:?} is not an e-mail address"), "Write one such as me@example.org, or leave it out"),
    }
}

fn domains(raw: &Raw) -> Taken<Vec<String>> {
    let items = values::list(raw)?;
    if items.is_empty() {
        return wrong("is an empty list", "Leave it out to take the name in public_url");
    }
    let is_name = |item: &str| {
        let name = item.strip_prefix("*.").unwrap_or(item);
        matches!(Host::parse(name), Ok(Host::Domain(parsed)) if parsed == name.to_ascii_lowercase())
    };
    values::each(items, |item| {
        if is_name(&item) {
            return Ok(item.to_ascii_lowercase());
        }
        wrong(format!("{item:?} is not a name"), "Write names such as cars.example.org")
    })
}
