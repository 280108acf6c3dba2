//! The audit log.

use askama::Template;

use super::format::When;
use super::numbers::Numbers;
use super::{AuditPage, Shell, finish};
use crate::operate::audit::{Actor, AuditView};

#[derive(Template)]
#[template(path = "audit.html")]
struct View<'a> {
    shell: Shell<'a>,
    rows: Vec<Row<'a>>,
    older: Option<u64>,
    later_part: bool,
}

/// An entry, in a list.
struct Row<'a> {
    when: When,
    who: (&'static str, &'a str),
    address: String,
    action: &'a str,
    ids: &'a [String],
    /// What came of it: a class and words.
    outcome: (&'static str, String),
}

impl AuditPage<'_> {
    /// The page as HTML.
    pub(crate) fn render(&self) -> String {
        let numbers = &Numbers::of(self.shell.language);
        let rows = self.entries.iter().map(|AuditView { entry, .. }| Row {
            when: When::ago(self.shell.now, entry.at),
            who: who(&entry.actor),
            address: entry.address.map(|address| address.to_string()).unwrap_or_default(),
            action: &entry.action,
            ids: &entry.ids,
            outcome: match (&entry.actor, entry.status) {
                (Actor::Stranger, _) if entry.count == 1 => ("yellow", "once".to_owned()),
                (Actor::Stranger, _) => ("yellow", format!("{} times", numbers.count(entry.count.into()))),
                (_, Some(status)) if status < 400 => ("green", status.to_string()),
                (_, Some(status)) => ("red", status.to_string()),
                (_, None) => ("grey", "cut off".to_owned()),
            },
        });
        finish(&View { shell: self.shell, rows: rows.collect(), older: self.older, later_part: self.later_part })
    }
}

/// Who it was, in words, and by which name.
fn who(actor: &Actor) -> (&'static str, &str) {
    match actor {
        Actor::Local { user, .. } => ("this machine", user.as_deref().unwrap_or_default()),
        Actor::Token { name, .. } => ("token", name),
        Actor::Session { .. } => ("browser", ""),
        Actor::Link => ("link", ""),
        Actor::Password => ("password", ""),
        Actor::Proxy { user } => ("proxy", user),
        Actor::Stranger => ("stranger", ""),
    }
}
