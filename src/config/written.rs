//! What was written, before anybody asks what it means: values with their origins.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};
use zeroize::Zeroize;

/// A value as written.
#[derive(Clone, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Bool(bool),
    List(Vec<Raw>),
    /// Something that no key takes, by TOML's name of its type.
    Other(&'static str),
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Raw::Text(text) = self {
            text.zeroize();
        }
    }
}

/// It may be a secret.
impl fmt::Debug for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw(***)")
    }
}

/// A value in effect and where it comes from.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) value: Raw,
    pub(super) origin: Origin,
}

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A flag of the command line.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A systemd credential.
    Credential(PathBuf),
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// The set-up page.
    Page,
    /// The example's default.
    Default,
}

impl Origin {
    /// Where relative paths count from, if not from the current directory.
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            Origin::File(path, _) => path.parent(),
            _ => None,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(name) | Origin::Variable(name) => f.write_str(name),
            Origin::Credential(path) => write!(f, "{}", path.display()),
            Origin::File(path, line) => write!(f, "{}:{line}", path.display()),
            Origin::Page => f.write_str(super::PAGE),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// A value in a file. An empty table that no key lies in is left out.
pub(super) struct Entry {
    /// The dotted name.
    pub(super) name: String,
    pub(super) value: Raw,
    /// Counted from 1.
    pub(super) line: usize,
}

/// Something that is not TOML.
pub(super) struct SyntaxMistake {
    pub(super) line: usize,
    pub(super) wrong: String,
}

/// Reads a file into values by dotted name. Goes on after a mistake, to find them all.
pub(super) fn flatten(text: &str) -> (Vec<Entry>, Vec<SyntaxMistake>) {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut entries = Vec::new();
    descend(text, table.get_ref(), "", &mut entries);
    // SECURITY: only the message. The error's own Display quotes the line, which may hold a secret.
    let mistakes = errors.iter().map(|error| SyntaxMistake {
        line: error.span().map_or(1, |span| line_of(text, &span)),
        wrong: match (error.message(), error.span()) {
            ("duplicate key", Some(key)) => format!("the key {} stands here a second time", text.get(key).unwrap_or_default()),
            (message, _) => message.lines().collect::<Vec<_>>().join(", "),
        },
    });
    (entries, mistakes.collect())
}

fn descend(text: &str, table: &DeTable<'_>, prefix: &str, entries: &mut Vec<Entry>) {
    for (key, value) in table {
        let name = if prefix.is_empty() { key.get_ref().to_string() } else { format!("{prefix}.{}", key.get_ref()) };
        match value.get_ref() {
            DeValue::Table(table) if super::keys::is_section(&name) => descend(text, table, &name, entries),
            other => entries.push(Entry { name, value: raw(other), line: line_of(text, &key.span()) }),
        }
    }
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => {
            i64::from_str_radix(number.as_str(), number.radix()).map_or(Raw::Other("a number that is too large"), Raw::Integer)
        }
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Float(_) => Raw::Other("a number with a decimal point"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a section"),
    }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    text.as_bytes().iter().take(span.start).filter(|byte| **byte == b'\n').count() + 1
}
