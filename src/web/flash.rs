//! What a form answers with, under an address of its own: post, redirect, get. Whoever goes back or reloads there sends
//! no form a second time.
//!
//! The pages are kept in memory, few of them, each for the session that sent the form; one whose time is over goes when the
//! next is kept or asked for. Their addresses are no secret, and nothing that is one stands in them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use subtle::ConstantTimeEq;

use super::Call;
use super::answer::{self, Answer};
use super::problem::Problem;
use crate::model::{Secret, Timestamp};

/// The answers to forms that are still to be looked at.
#[derive(Debug, Default)]
pub(super) struct Flashes(Mutex<VecDeque<Flash>>);

#[derive(Debug)]
struct Flash {
    id: String,
    /// The token in the forms of the session that it is for.
    session: Secret,
    until: Timestamp,
    looks: Looks,
    page: Secret,
}

/// How often a page may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Looks {
    /// Once: it shows what is never shown again.
    One,
    /// As often as somebody comes back to it.
    Any,
}

impl Flashes {
    fn keep(&self, flash: Flash, now: Timestamp) {
        let mut kept = self.lock();
        kept.retain(|flash| flash.until > now);
        if kept.len() == MOST {
            kept.pop_front();
        }
        kept.push_back(flash);
    }

    fn look(&self, id: &str, session: &str, now: Timestamp) -> Option<Secret> {
        self.find(id, session, now, |flash| (flash.page.clone(), true))
    }

    fn take(&self, id: &str, session: &str, now: Timestamp) -> Option<Secret> {
        self.find(id, session, now, |flash| (flash.page.clone(), flash.looks == Looks::Any))
    }

    /// What `see` makes of a page, which stays if it says so.
    fn find(&self, id: &str, session: &str, now: Timestamp, see: impl Fn(&Flash) -> (Secret, bool)) -> Option<Secret> {
        let mut kept = self.lock();
        kept.retain(|flash| flash.until > now);
        let is_it = |flash: &Flash| flash.id == id && flash.session.expose().as_bytes().ct_eq(session.as_bytes()).into();
        let place = kept.iter().position(is_it)?;
        let (page, stays) = see(kept.get(place)?);
        if !stays {
            kept.remove(place);
        }
        Some(page)
    }

    /// Pages are kept and taken whole, so a panic of another leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Flash>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers a form with a page. Who comes without a session has no history to go back in, and gets it at once.
pub(super) fn answer(call: &Call<'_>, looks: Looks, page: String) -> Answer {
    let Some(session) = &call.form_token else { return Ok(answer::html(StatusCode::OK, page)) };
    let (world, id) = (&call.services.world, call.services.world.uuid().to_string());
    let location = format!("/answers/{id}");
    let now = world.now();
    let flash = Flash { id, session: Secret::new(session.as_str()), until: now.after(KEPT), looks, page: Secret::new(page) };
    call.services.flashes.keep(flash, now);
    answer::see_other(&location)
}

/// `GET /answers/{id}`
pub(super) fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let session = call.form_token.as_deref().ok_or_else(Problem::not_found)?;
    let (flashes, id, now) = (&call.services.flashes, call.named(0)?, call.services.world.now());
    // Whoever only asks whether it is there must not use it up.
    let page = if call.head.method == Method::HEAD { flashes.look(id, session, now) } else { flashes.take(id, session, now) };
    page.map(|page| answer::html(StatusCode::OK, page.expose().to_owned())).ok_or_else(gone)
}

fn gone() -> Problem {
    let sentence = "This was the answer to a button, and is not kept any more: for a quarter of an hour at most, for the browser \
                    that asked, and not over a restart of Carport. If it was a new token, which is shown once, revoke it on the \
                    page System and make another.";
    Problem::new(StatusCode::GONE, "gone", sentence)
}

/// How long a page is kept: as long as a sign-in link may be used.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// How many are kept; the oldest makes room. Together they are about a megabyte at most.
const MOST: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

    fn kept(flashes: &Flashes, id: &str, looks: Looks) {
        let (session, page) = (Secret::new("one"), Secret::new(format!("page {id}")));
        flashes.keep(Flash { id: id.to_owned(), session, until: NOW.after(KEPT), looks, page }, NOW);
    }

    #[test]
    fn a_page_is_shown_to_its_session_alone_and_for_a_while() {
        let flashes = Flashes::default();
        kept(&flashes, "a", Looks::Any);
        kept(&flashes, "b", Looks::One);
        let take = |id: &str, session: &str, now| flashes.take(id, session, now).map(|page| page.expose().to_owned());
        assert_eq!(take("b", "two", NOW), None);
        assert_eq!(take("b", "one", NOW).as_deref(), Some("page b"));
        assert_eq!(take("b", "one", NOW), None, "once");
        assert_eq!(take("a", "one", NOW), take("a", "one", NOW.after(Duration::from_secs(15 * 60 - 1))));
        assert_eq!(take("a", "one", NOW.after(KEPT)), None);
    }

    #[test]
    fn the_oldest_makes_room() {
        let flashes = Flashes::default();
        for number in 0..=MOST {
            kept(&flashes, &number.to_string(), Looks::Any);
        }
        assert!(flashes.take("0", "one", NOW).is_none());
        assert!(flashes.take("1", "one", NOW).is_some());
    }
}
