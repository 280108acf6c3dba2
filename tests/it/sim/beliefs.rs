//! What must be true after every step, as far as the gateway's answers tell.

use std::collections::{BTreeMap, BTreeSet};

use carport::model::connection::{Cause, Connection, ConnectionStatus};
use carport::model::reading::Source;
use carport::model::token::Generation;
use carport::model::{ConnectionId, Timestamp};
use carport::store::{Snapshot, StoreError};
use serde_json::Value;

use super::net::Net;

/// The signal whose value tells when it was recorded.
pub(super) const ODOMETER: &str = "odometer-traveleddistance";

/// And where the car was.
pub(super) const PLACE: &str = "location-preciselocation";

/// What the odometer says at a moment.
pub(super) fn odometer(at: i64) -> i64 {
    at / 1000 % 1_000_000
}

/// How long the gateway promises to know an event again.
const REMEMBERED: i64 = 6 * 86_400_000;

/// A delivery that was sent.
#[derive(Debug)]
struct Sent {
    body: String,
    /// Its place, and what the gateway took for the time, when it was acknowledged.
    acknowledged: Option<(u64, i64)>,
}

/// A connection as it was last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    owner: String,
    version: u64,
}

/// What is believed.
#[derive(Debug, Default)]
pub(super) struct Beliefs {
    is_lying: bool,
    ring: u64,
    events: BTreeMap<String, Sent>,
    /// The latest time that the gateway took for the time.
    latest: i64,
    kept: BTreeMap<ConnectionId, Kept>,
    /// What was kept at the end of each step.
    history: Vec<BTreeMap<ConnectionId, Kept>>,
    /// Owners who are being disconnected: it may have happened.
    leaving: BTreeSet<String>,
    /// The newest value of each signal, in car time.
    newest: BTreeMap<(String, &'static str), i64>,
    /// How many token sets a lying card has kept, of how many.
    pub(super) token_sets: (u64, u64),
    pub(super) losses: u64,
    /// When each connection was last linked, as its gateway took it.
    linked_at: BTreeMap<ConnectionId, i64>,
    pub(super) connected: u64,
}

/// A connection, and the version of its tokens.
#[derive(Clone, Debug)]
struct Row {
    connection: Connection,
    version: Option<u64>,
}

impl Row {
    fn owner(&self) -> &str {
        self.connection.user.as_str()
    }

    fn is_v2(&self) -> bool {
        self.connection.generation == Generation::V2
    }

    fn is_alive(&self) -> bool {
        self.connection.status != ConnectionStatus::Disconnected
    }
}

/// What can be seen of a gateway.
#[derive(Debug, Default)]
pub(super) struct Seen {
    connections: Vec<Row>,
    entries: Option<Vec<(u64, String)>>,
    newest: u64,
    count: u64,
    cursor: u64,
    /// Vehicle, code, value, car time.
    latest: Vec<(String, &'static str, Value, i64)>,
}

impl Seen {
    /// Looks, at the whole log or only at its ends.
    pub(super) fn of(snapshot: &Snapshot<'_>, whole_log: bool) -> Result<Seen, StoreError> {
        let extent = snapshot.log_extent()?;
        let mut seen =
            Seen { newest: extent.newest.0, count: extent.entries, cursor: snapshot.projector_cursor()?.0, ..Seen::default() };
        for connection in snapshot.connections(None, 100)? {
            let version = snapshot.tokens(connection.id)?.map(|tokens| tokens.version);
            seen.connections.push(Row { connection, version });
        }
        if whole_log {
            let (entries, _) = snapshot.log_before(None, usize::MAX, usize::MAX, |_, _| true)?;
            let text = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
            seen.entries = Some(entries.iter().map(|entry| (entry.seq.0, text(&entry.body.0))).collect());
        }
        for (row, vehicle) in snapshot.vehicles(0, 100)? {
            for code in [ODOMETER, PLACE] {
                if let Some(reading) = snapshot.latest_of(row, code)?.and_then(|latest| latest.reading)
                    && reading.source == Source::Webhook
                    && reading.oem_updated_at == Some(reading.at)
                {
                    let body = serde_json::to_value(&reading.body).unwrap();
                    seen.latest.push((vehicle.facts.id.as_str().to_owned(), code, body, reading.at.as_millis()));
                }
            }
        }
        Ok(seen)
    }
}

impl Beliefs {
    pub(super) fn new(is_lying: bool, ring: u64) -> Beliefs {
        Beliefs { is_lying, ring, history: vec![BTreeMap::new()], ..Beliefs::default() }
    }

    // === Deliveries ===

    /// Such an event is sent.
    pub(super) fn sent(&mut self, event: &str, body: &str) {
        let sent = Sent { body: body.to_owned(), acknowledged: None };
        self.events.entry(event.to_owned()).or_insert(sent);
    }

    /// An event that was sent before.
    pub(super) fn event(&self, number: usize) -> Option<(String, String)> {
        let (event, sent) = self.events.iter().nth(number % self.events.len().max(1))?;
        Some((event.clone(), sent.body.clone()))
    }

    /// Those that nobody has acknowledged.
    pub(super) fn unacknowledged(&self) -> Vec<(String, String)> {
        let open = self.events.iter().filter(|(_, sent)| sent.acknowledged.is_none());
        open.map(|(event, sent)| (event.clone(), sent.body.clone())).collect()
    }

    /// The gateway says that it has an event.
    pub(super) fn acknowledged(&mut self, event: &str, is_duplicate: bool, seq: u64, wall: Timestamp) {
        let wall = wall.as_millis();
        self.latest = self.latest.max(wall);
        let (ring, latest) = (self.ring, self.latest);
        let newest = self.events.values().filter_map(|sent| sent.acknowledged).map(|(seq, _)| seq).max().unwrap_or(0);
        let sent = self.events.get_mut(event).unwrap();
        if let Some((before, at)) = sent.acknowledged {
            // In the log, or within the time for which ids are kept.
            let is_known = before + ring / 2 > newest || latest - at < REMEMBERED;
            if is_known {
                assert!(is_duplicate && seq == before, "{event} came again: it was {before}, now {seq}");
            }
            if is_duplicate {
                assert_eq!(seq, before, "{event} has changed its place");
                return;
            }
        }
        sent.acknowledged = Some((seq, wall));
    }

    fn check_log(&mut self, seen: &Seen) {
        assert!(seen.cursor <= seen.newest, "the follower is at {}, the log ends at {}", seen.cursor, seen.newest);
        assert!(seen.count <= self.ring, "{} entries in a ring of {}", seen.count, self.ring);
        let acknowledged = self.events.values().filter_map(|sent| sent.acknowledged).map(|(seq, _)| seq).max().unwrap_or(0);
        if !self.is_lying {
            assert!(acknowledged <= seen.newest, "{acknowledged} was acknowledged, the log ends at {}", seen.newest);
            assert!(seen.count >= seen.newest.min(self.ring / 2), "only {} entries of {}", seen.count, seen.newest);
        }
        let Some(entries) = &seen.entries else { return };
        let bodies: BTreeSet<&str> = self.events.values().map(|sent| sent.body.as_str()).collect();
        for (seq, body) in entries {
            assert!(bodies.contains(body.as_str()), "nobody sent what is at {seq}: {body}");
        }
        if self.is_lying {
            return;
        }
        let oldest = entries.iter().map(|(seq, _)| *seq).min().unwrap_or(seen.newest + 1);
        let at: BTreeMap<u64, &String> = entries.iter().map(|(seq, body)| (*seq, body)).collect();
        assert_eq!(at.len() as u64, seen.count, "the head counts what is not there");
        for (event, sent) in &self.events {
            if let Some((seq, _)) = sent.acknowledged
                && seq >= oldest
            {
                assert_eq!(at.get(&seq), Some(&&sent.body), "{event} was acknowledged as {seq}");
            }
        }
    }

    /// After a lying card: what is in the log is what counts.
    pub(super) fn forgive_log(&mut self, seen: &Seen) {
        let at: BTreeMap<&str, u64> = seen.entries.iter().flatten().map(|(seq, body)| (body.as_str(), *seq)).collect();
        for sent in self.events.values_mut() {
            let place = at.get(sent.body.as_str());
            sent.acknowledged = sent.acknowledged.filter(|(seq, _)| place == Some(seq));
        }
        self.newest.clear();
    }

    // === Readings ===

    fn check_latest(&mut self, seen: &Seen) {
        for (vehicle, code, body, at) in &seen.latest {
            if *code == ODOMETER && at % 1000 == 7 {
                assert_eq!(body["value"], odometer(*at), "{vehicle}: a value that never was");
            }
            let newest = self.newest.entry((vehicle.clone(), *code)).or_insert(*at);
            assert!(at >= newest, "{vehicle} {code} went back from {newest} to {at}");
            *newest = *at;
        }
    }

    // === Connections ===

    /// An owner is being disconnected.
    pub(super) fn leaves(&mut self, owner: &str) {
        self.leaving.insert(owner.to_owned());
    }

    /// The connections that are alive: id, owner, and whether they have tokens of their own.
    pub(super) fn alive(seen: &Seen) -> Vec<(ConnectionId, String, bool)> {
        let alive = seen.connections.iter().filter(|row| row.is_alive());
        alive.map(|row| (row.connection.id, row.owner().to_owned(), row.is_v2())).collect()
    }

    fn check_connections(&mut self, seen: &Seen, net: &Net) {
        let mut now = BTreeMap::new();
        for row in &seen.connections {
            let (owner, is_complete) = (row.owner(), row.connection.smartcar_user.is_some());
            let linked_at = self.linked_at.entry(row.connection.id).or_default();
            if is_complete && row.connection.connected_at.as_millis() != *linked_at {
                *linked_at = row.connection.connected_at.as_millis();
                self.connected += 1;
                net.is_mended(owner);
            }
            if let ConnectionStatus::NeedsReconnect { reason, cause: Cause::Tokens, .. } = &row.connection.status
                && !self.is_lying
                && is_complete
            {
                assert!(net.may_be_lost(owner), "{owner} has lost a connection: {reason}");
            }
            if !row.is_alive() || !row.is_v2() || !is_complete {
                continue;
            }
            assert!(self.is_lying || row.version.is_some(), "the tokens of {owner} are gone");
            now.insert(row.connection.id, Kept { owner: owner.to_owned(), version: row.version.unwrap_or(0) });
        }
        if !self.is_lying {
            for (id, before) in &self.kept {
                match now.get(id) {
                    Some(kept) => {
                        let (was, is) = (before.version, kept.version);
                        assert!(is >= was, "{}: version {was} of the tokens became {is}", kept.owner);
                    }
                    None => assert!(self.leaving.contains(&before.owner), "the connection of {} is gone", before.owner),
                }
            }
        }
        self.leaving.clear();
        self.kept = now;
    }

    /// After a power cut on a card that lies: of what was flushed before, how much is there, and is what is
    /// missing reported?
    pub(super) fn judge_losses(&mut self, seen: &Seen, since: usize, findings: &[String]) {
        let certain = &self.history[since.saturating_sub(1).min(self.history.len() - 1)];
        for (id, kept) in certain {
            if self.leaving.contains(&kept.owner) || !self.kept.contains_key(id) {
                continue;
            }
            let found = seen.connections.iter().find(|row| row.connection.id == *id);
            let version = found.and_then(|row| row.version).unwrap_or(0);
            self.token_sets.1 += 1;
            if version >= kept.version {
                self.token_sets.0 += 1;
            } else {
                self.losses += 1;
                let text = format!("{}: version {} of the tokens became {version}", kept.owner, kept.version);
                assert!(!findings.is_empty(), "lost in silence: {text}");
            }
        }
        // What is lost now was never there for what comes later.
        for kept in self.history.iter_mut().flat_map(|kept| kept.iter_mut()) {
            let found = seen.connections.iter().find(|row| row.connection.id == *kept.0);
            kept.1.version = kept.1.version.min(found.and_then(|row| row.version).unwrap_or(0));
        }
        self.kept.clear();
    }

    // === All of it ===

    pub(super) fn check(&mut self, seen: &Seen, net: &Net) {
        self.check_log(seen);
        self.check_latest(seen);
        self.check_connections(seen, net);
    }

    /// A step has ended.
    pub(super) fn step_ends(&mut self) {
        self.history.push(self.kept.clone());
    }
}
