//! What is around every page: who looks at it, when, and in which language.

use super::Language;
use crate::model::{Seq, Timestamp};

/// What is around a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shell<'a> {
    /// Shows the navigation.
    pub(crate) signed_in: bool,
    /// For the hidden field `csrf` of every form; without it forms are left out.
    pub(crate) csrf: Option<&'a str>,
    /// It is a session of ours, not a proxy's word, that they are signed in by.
    pub(crate) can_sign_out: bool,
    /// The session goes over plain http: say so.
    pub(crate) insecure_warning: bool,
    /// Ages count from here.
    pub(crate) now: Timestamp,
    /// Numbers are written as in this language.
    pub(crate) language: Language,
    /// Where in the navigation this is.
    pub(crate) active: Tab,
    /// From where on deliveries may tell what this page does not show.
    pub(crate) seen: Option<Seq>,
    /// What was just done.
    pub(crate) done: Option<Done>,
}

/// What was just done from a page, which is shown again and says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Done {
    /// Its word in the address.
    pub(crate) word: &'static str,
    pub(super) headline: &'static str,
    pub(super) sentence: &'static str,
}

impl Done {
    /// The name of a car was saved.
    pub(crate) const SAVED: Done =
        Done { word: "saved", headline: "Saved.", sentence: "The car is called so from now on, in every browser." };
    /// Other units were chosen.
    pub(crate) const UNITS: Done =
        Done { word: "units", headline: "Units changed.", sentence: "This browser shows values in them from now on." };
    /// Smartcar was asked for what it has.
    pub(crate) const FRESH: Done = Done {
        word: "fresh",
        headline: "Asked.",
        sentence: "Below is what Smartcar has of this car now, with the age of each value.",
    };

    /// A car or a connection was disconnected.
    pub(crate) const ENDED: Done =
        Done { word: "ended", headline: "Disconnected.", sentence: "Nothing is read any more until the owner connects again." };
    /// Tokens of a connection were renewed.
    pub(crate) const RENEWED: Done = Done { word: "renewed", headline: "Renewed.", sentence: "Smartcar has given new access." };
    /// A delivery was turned into vehicle data again.
    pub(crate) const REPLAYED: Done = Done {
        word: "replayed",
        headline: "Replayed.",
        sentence: "It has been turned into vehicle data again. What is newer stays.",
    };
    /// An API token was revoked.
    pub(crate) const REVOKED: Done =
        Done { word: "revoked", headline: "Revoked.", sentence: "What used this token is refused from now on." };
    /// A browser was signed out.
    pub(crate) const SIGNED_OUT: Done =
        Done { word: "signed-out", headline: "Signed out.", sentence: "That browser has to sign in again." };

    /// By the word in the address: one of those that a page may say, for anybody can make an address.
    pub(crate) fn parse(word: &str, of_page: &[Done]) -> Option<Done> {
        of_page.iter().find(|done| done.word == word).copied()
    }
}

/// A link that leads on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    /// The address.
    pub(crate) href: String,
    /// What is there.
    pub(crate) text: &'static str,
}

impl Way {
    /// To a page of ours.
    pub(crate) fn to(href: impl Into<String>, text: &'static str) -> Way {
        Way { href: href.into(), text }
    }
}

/// The places of the navigation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tab {
    /// The cars.
    Cars,
    /// The webhook log.
    Webhooks,
    /// The connections.
    Connections,
    /// The system.
    System,
    /// The set-up.
    Setup,
    /// None of them.
    Elsewhere,
}

impl Shell<'_> {
    /// Around a page for somebody of whom nothing is known.
    pub(crate) fn outside(now: Timestamp) -> Shell<'static> {
        Shell {
            signed_in: false,
            csrf: None,
            can_sign_out: false,
            insecure_warning: false,
            now,
            language: Language::default(),
            active: Tab::Elsewhere,
            seen: None,
            done: None,
        }
    }

    /// Whether this place of the navigation is open.
    pub(super) fn is(&self, tab: &str) -> bool {
        tab == match self.active {
            Tab::Cars => "cars",
            Tab::Webhooks => "webhooks",
            Tab::Connections => "connections",
            Tab::System => "system",
            Tab::Setup => "setup",
            Tab::Elsewhere => "",
        }
    }
}
