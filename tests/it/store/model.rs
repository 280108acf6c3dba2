//! What a store should hold: plain maps, and every change in a few lines of its own.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Debug;
use std::ops::Bound::{Excluded, Unbounded};
use std::time::Duration;

use carport::model::access::{ApiToken, PasswordHash, Session};
use carport::model::audit::{AuditEntry, Ring};
use carport::model::capability::Lack;
use carport::model::connection::{Cause, Connection, ConnectionStatus};
use carport::model::gap::Gap;
use carport::model::journey::{Attempt, Ending, Invite};
use carport::model::notice::{Notice, Subject};
use carport::model::reading::{Outcome, Reading, SignalReport, Source};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::{Resolved, Vehicle, VehicleError, VehicleFacts};
use carport::model::{AppUserId, ConnectionId, Seq, Timestamp, VehicleId};
use carport::store::access::{
    PutApiToken, PutSignInLink, RevokeApiToken, RevokeSession, SetPassword, SignIn, SignInByPassword, TouchSession,
};
use carport::store::attempts::{EndTrip, OpenAttempt, PutInvite, TakeAttempt};
use carport::store::audit::{EndAudit, NoteAudit};
use carport::store::bookmark::Bookmark;
use carport::store::connections::{
    AdoptConnection, EndConnection, HandOver, HandedOver, LinkVehicles, Linking, MarkConnection, NoteGoodRead,
};
use carport::store::former::{EraseFormer, EraseUnreadable};
use carport::store::gaps::{NoteAlive, NoteGap};
use carport::store::notices::{EndNotice, GiveNotice};
use carport::store::rotation::{BeginRefresh, Intent, KEPT, PostponeRefresh, RefuseTokens, Refused};
use carport::store::switching::{DropSpare, SwitchGeneration, Switched};
use carport::store::tellings::{ApplyReadings, Latest, NoteGrammar, Telling};
use carport::store::tokens::{DropDue, Reschedule, RotateTokens, Rotated, SealedTokens};
use carport::store::users::{PutUser, RemoveUser, UserPut, When};
use carport::store::vehicles::{ForgetVehicle, NoteFacts, PictureTaken, RenameVehicle};
use carport::store::webhook_log::{DeliveryResult, Header, NoteVerify, RecordDelivery, Recorded};
use carport::store::{Change, Store, StoreError};

use super::{body_of, now, view};

pub(crate) type Hash = [u8; 32];

/// Everything that a store holds, and some of how it numbers things.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Model {
    pub(crate) users: BTreeMap<AppUserId, User>,
    pub(crate) user_rows: BTreeMap<AppUserId, u32>,
    pub(crate) connections: BTreeMap<ConnectionId, Connection>,
    pub(crate) identities: BTreeMap<String, ConnectionId>,
    pub(crate) tokens: BTreeMap<ConnectionId, SealedTokens>,
    pub(crate) due: BTreeSet<(Timestamp, ConnectionId)>,
    pub(crate) intents: BTreeMap<ConnectionId, Intent>,
    pub(crate) previous: BTreeMap<(Timestamp, ConnectionId), SealedTokens>,
    pub(crate) vehicles: BTreeMap<u32, Vehicle>,
    pub(crate) vehicle_rows: BTreeMap<VehicleId, u32>,
    pub(crate) erased: BTreeSet<VehicleId>,
    pub(crate) last_vehicle_row: u32,
    pub(crate) to_revisit: BTreeSet<u32>,
    pub(crate) to_read: BTreeSet<u32>,
    pub(crate) signal_rows: BTreeMap<String, u32>,
    pub(crate) latest: BTreeMap<(u32, String), Latest>,
    pub(crate) readings: BTreeMap<(u32, String), BTreeMap<Timestamp, Reading>>,
    pub(crate) bookmark: Bookmark,
    pub(crate) log: BTreeMap<Seq, (Header, String)>,
    pub(crate) newest: Seq,
    pub(crate) oldest: Seq,
    pub(crate) events: VecDeque<(Seq, Timestamp, String)>,
    pub(crate) verify: Option<(Timestamp, bool)>,
    pub(crate) alive: Option<Timestamp>,
    pub(crate) grammar: Option<u32>,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) notices: BTreeMap<String, Notice>,
    pub(crate) invites: BTreeMap<Hash, Invite>,
    pub(crate) invites_by_expiry: BTreeSet<(Timestamp, Hash)>,
    pub(crate) attempts: BTreeMap<Hash, Attempt>,
    pub(crate) attempts_by_expiry: BTreeSet<(Timestamp, Hash)>,
    pub(crate) api_tokens: BTreeMap<Hash, ApiToken>,
    pub(crate) sessions: BTreeMap<Hash, Session>,
    pub(crate) links: BTreeMap<Hash, Timestamp>,
    pub(crate) password: Option<PasswordHash>,
    pub(crate) audit: BTreeMap<u64, (Ring, AuditEntry)>,
}

/// A change, and what a model makes of it.
pub(crate) trait Played: Change {
    fn play(&self, model: &mut Model) -> Self::Outcome;

    /// Rows of a view that are true from now on, though they may not be there.
    fn tells(&self, _: &Model) -> Vec<(String, String)> {
        Vec::new()
    }
}

/// A change whose type is forgotten. Outcomes are compared as text.
pub(crate) trait Deed {
    fn play(&self, model: &mut Model) -> String;
    fn tells(&self, model: &Model) -> Vec<(String, String)>;
    fn commit(self: Box<Self>, store: &Store) -> Result<String, StoreError>;
    /// Whether it is durable only with the next one.
    fn is_derived(&self) -> bool;
    fn name(&self) -> String;
    /// The same deed, to be done again.
    fn again(&self) -> Box<dyn Deed>;
}

impl<C: Played + Debug> Deed for C
where
    C::Outcome: Debug,
{
    fn play(&self, model: &mut Model) -> String {
        format!("{:?}", Played::play(self, model))
    }

    fn tells(&self, model: &Model) -> Vec<(String, String)> {
        Played::tells(self, model)
    }

    fn commit(self: Box<Self>, store: &Store) -> Result<String, StoreError> {
        now(store.commit(*self)).map(|outcome| format!("{outcome:?}"))
    }

    fn is_derived(&self) -> bool {
        Change::is_derived(self)
    }

    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn again(&self) -> Box<dyn Deed> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).unwrap();
        Box::new(ciborium::from_reader::<C, _>(&bytes[..]).unwrap())
    }
}

/// Whether all that was done is durable when this outcome is told: a derived change waits for others, and what
/// was done before is not done again.
pub(crate) fn is_flushed(is_derived: bool, outcome: &str) -> bool {
    !is_derived && !outcome.starts_with("Duplicate")
}

/// The row of a name; the next one if it has none yet.
fn row_of<K: Ord + Clone>(rows: &mut BTreeMap<K, u32>, name: &K) -> u32 {
    let next = u32::try_from(rows.len()).unwrap() + 1;
    *rows.entry(name.clone()).or_insert(next)
}

// === Users ===

impl Played for PutUser {
    fn play(&self, model: &mut Model) -> UserPut {
        if model.users.contains_key(&self.user.id) != (self.when == When::There) {
            return UserPut::Refused;
        }
        row_of(&mut model.user_rows, &self.user.id);
        model.users.insert(self.user.id.clone(), self.user.clone());
        UserPut::Stored
    }
}

impl Played for RemoveUser {
    fn play(&self, model: &mut Model) {
        model.users.remove(&self.id);
        model.api_tokens.retain(|_, token| token.user.as_ref() != Some(&self.id));
        let expiry = |user: &AppUserId, at: Timestamp| (*user == self.id).then_some(at);
        drop_those(&mut model.invites, &mut model.invites_by_expiry, |invite| expiry(&invite.user, invite.expires_at));
        drop_those(&mut model.attempts, &mut model.attempts_by_expiry, |attempt| expiry(&attempt.user, attempt.expires_at));
    }
}

// === Invites and attempts ===

/// Drops what expired before a time.
fn make_room<V>(kept: &mut BTreeMap<Hash, V>, by_expiry: &mut BTreeSet<(Timestamp, Hash)>, before: Timestamp) {
    while let Some((at, hash)) = by_expiry.first().copied()
        && at < before
    {
        by_expiry.pop_first();
        kept.remove(&hash);
    }
}

/// Drops those for which there is an expiry.
fn drop_those<V>(
    kept: &mut BTreeMap<Hash, V>,
    by_expiry: &mut BTreeSet<(Timestamp, Hash)>,
    expiry: impl Fn(&V) -> Option<Timestamp>,
) {
    kept.retain(|hash, value| expiry(value).map(|at| by_expiry.remove(&(at, *hash))).is_none());
}

impl Played for PutInvite {
    fn play(&self, model: &mut Model) {
        let before = self.at.before(Duration::from_secs(86_400));
        make_room(&mut model.invites, &mut model.invites_by_expiry, before);
        model.invites_by_expiry.insert((self.invite.expires_at, self.hash));
        model.invites.insert(self.hash, self.invite.clone());
    }
}

impl Played for EndTrip {
    fn play(&self, model: &mut Model) {
        let Some(invite) = model.invites.get_mut(&self.hash) else { return };
        let connected = matches!(self.ending, Ending::Connected { .. });
        if connected || !invite.spent {
            invite.spent |= connected;
            invite.ending = self.ending.clone();
        }
    }
}

impl Played for OpenAttempt {
    fn play(&self, model: &mut Model) {
        make_room(&mut model.attempts, &mut model.attempts_by_expiry, self.at);
        model.attempts_by_expiry.insert((self.attempt.expires_at, self.hash));
        model.attempts.insert(self.hash, self.attempt.clone());
    }
}

impl Played for TakeAttempt {
    fn play(&self, model: &mut Model) -> Option<Attempt> {
        let attempt = model.attempts.get(&self.hash)?;
        let fits = attempt.browser == self.browser
            && self.user.as_ref().is_none_or(|user| *user == attempt.user)
            && self.redirect_uri.as_ref().is_none_or(|uri| *uri == attempt.redirect_uri);
        if !fits {
            return None;
        }
        model.attempts_by_expiry.remove(&(attempt.expires_at, self.hash));
        model.attempts.remove(&self.hash).filter(|attempt| attempt.expires_at > self.at)
    }
}

// === Tokens ===

impl Model {
    fn put_tokens(&mut self, connection: ConnectionId, tokens: &SealedTokens) {
        if let Some(due_at) = self.tokens.get(&connection).and_then(|before| before.due_at) {
            self.due.remove(&(due_at, connection));
        }
        self.due.extend(tokens.due_at.map(|due_at| (due_at, connection)));
        self.tokens.insert(connection, tokens.clone());
    }

    fn drop_tokens(&mut self, connection: ConnectionId) {
        self.forget_refresh(connection);
        if let Some(due_at) = self.tokens.remove(&connection).and_then(|before| before.due_at) {
            self.due.remove(&(due_at, connection));
        }
    }

    /// The intent goes, and the set before the present one.
    fn forget_refresh(&mut self, connection: ConnectionId) {
        if let Some(tokens) = self.tokens.get(&connection) {
            self.intents.remove(&connection);
            self.previous.remove(&(tokens.issued_at.after(KEPT), connection));
        }
    }

    fn current(&self, connection: ConnectionId, version: u64) -> Option<SealedTokens> {
        self.tokens.get(&connection).filter(|tokens| tokens.version == version).cloned()
    }

    fn has_spare(&self, connection: ConnectionId) -> bool {
        self.connections.get(&connection).is_some_and(|connection| connection.generation == Generation::V3)
    }

    fn version(&self, connection: ConnectionId) -> u64 {
        self.tokens.get(&connection).map_or(0, |tokens| tokens.version)
    }
}

impl Played for RotateTokens {
    fn play(&self, model: &mut Model) -> Rotated {
        match model.version(self.connection) {
            version if version == self.from_version => {}
            0 => return Rotated::Gone,
            _ => return Rotated::Superseded,
        }
        if let Some(before) = model.tokens.get(&self.connection).cloned() {
            let at = self.tokens.issued_at;
            model.forget_refresh(self.connection);
            if self.connection != ConnectionId::APPLICATION {
                let first: Vec<_> = model.previous.keys().take(2).copied().filter(|(until, _)| *until <= at).collect();
                let last = model.previous.keys().next_back().copied().filter(|(until, _)| *until > at.after(2 * KEPT));
                for key in first.into_iter().chain(last) {
                    model.previous.remove(&key);
                }
                model.previous.insert((at.after(KEPT), self.connection), before);
            }
        }
        model.put_tokens(self.connection, &self.tokens);
        model.connections.get_mut(&self.connection).map(|connection| connection.mended(Cause::Tokens));
        Rotated::Stored
    }
}

impl Played for Reschedule {
    fn play(&self, model: &mut Model) {
        if let Some(tokens) = model.tokens.get(&self.connection)
            && tokens.version == self.version
        {
            let tokens = SealedTokens { used_at: self.used_at, due_at: self.due_at, ..tokens.clone() };
            model.put_tokens(self.connection, &tokens);
        }
    }
}

impl Played for DropDue {
    fn play(&self, model: &mut Model) {
        model.due.remove(&(self.due_at, self.connection));
    }
}

impl Played for BeginRefresh {
    fn play(&self, model: &mut Model) -> bool {
        let Some(tokens) = model.current(self.connection, self.intent.version) else { return false };
        model.intents.insert(self.connection, self.intent);
        if tokens.due_at.is_some_and(|due_at| due_at > self.intent.started_at) {
            model.put_tokens(self.connection, &SealedTokens { due_at: Some(self.intent.started_at), ..tokens });
        }
        true
    }
}

impl Played for PostponeRefresh {
    fn play(&self, model: &mut Model) {
        let Some(tokens) = model.current(self.connection, self.version) else { return };
        if self.unspent {
            model.intents.remove(&self.connection);
        }
        if tokens.due_at.is_some() {
            model.put_tokens(self.connection, &SealedTokens { due_at: Some(self.due_at), ..tokens });
        }
    }
}

impl Played for RefuseTokens {
    fn play(&self, model: &mut Model) -> Refused {
        let Some(tokens) = model.current(self.connection, self.version) else { return Refused::Superseded };
        if model.has_spare(self.connection) {
            model.drop_tokens(self.connection);
            return Refused::Known;
        }
        model.intents.remove(&self.connection);
        model.put_tokens(self.connection, &SealedTokens { due_at: None, ..tokens });
        let Some(connection) = model.connections.get_mut(&self.connection) else { return Refused::Known };
        let known = match &connection.status {
            ConnectionStatus::Active => false,
            ConnectionStatus::NeedsReconnect { cause, .. } => *cause == Cause::Tokens,
            ConnectionStatus::Disconnected => true,
        };
        if known {
            return Refused::Known;
        }
        connection.status = ConnectionStatus::NeedsReconnect { reason: self.reason.clone(), cause: Cause::Tokens, since: None };
        connection.last_error = Some(self.reason.clone());
        Refused::Marked
    }
}

// === Connections ===

impl Played for AdoptConnection {
    fn play(&self, model: &mut Model) {
        model.connections.insert(self.connection.id, self.connection.clone());
        model.put_tokens(self.connection.id, &self.tokens);
    }
}

impl Played for LinkVehicles {
    fn play(&self, model: &mut Model) -> Linking {
        let id = self.connection.id;
        let has_good_tokens = model.tokens.get(&id).is_some_and(|tokens| tokens.due_at.is_some());
        if self.connection.generation == Generation::V2 && !has_good_tokens {
            return Linking::Gone;
        }
        if let Some(identity) = self.connection.identity() {
            match model.identities.get(&identity).copied() {
                Some(other) if other != id && model.connections.contains_key(&other) => return Linking::Existing(other),
                Some(other) if other != id => model.drop_tokens(other),
                _ => {}
            }
            model.identities.insert(identity, id);
        }
        model.connections.insert(id, self.connection.clone());
        for facts in &self.vehicles {
            model.link(facts, &self.connection, self.at, self.takes_back);
        }
        if !self.vehicles.is_empty() {
            model.unlink(id, self.at, |vehicle| self.vehicles.iter().any(|facts| facts.id == vehicle.facts.id));
        }
        Linking::Linked
    }
}

impl Played for HandOver {
    fn play(&self, model: &mut Model) -> HandedOver {
        if model.version(self.to) != self.to_version {
            return HandedOver::Superseded;
        }
        model.forget_refresh(self.to);
        model.put_tokens(self.to, &self.tokens);
        model.drop_tokens(self.from);
        model.connections.remove(&self.from);
        HandedOver::Done
    }
}

impl Played for MarkConnection {
    fn play(&self, model: &mut Model) -> bool {
        match model.connections.get_mut(&self.id) {
            Some(connection)
                if connection.status != ConnectionStatus::Disconnected
                    && self.seen.is_none_or(|seen| seen == connection.connected_at)
                    && !(is_of_account(self.status.as_ref()) && is_worse(&connection.status)) =>
            {
                connection.status = self.status.clone().unwrap_or(connection.status.clone());
                connection.last_error.clone_from(&self.error);
                true
            }
            _ => false,
        }
    }
}

fn is_of_account(status: Option<&ConnectionStatus>) -> bool {
    matches!(status, Some(ConnectionStatus::NeedsReconnect { cause: Cause::Account, .. }))
}

fn is_worse(status: &ConnectionStatus) -> bool {
    matches!(status, ConnectionStatus::NeedsReconnect { cause: Cause::Tokens | Cause::Access, .. })
}

impl Played for NoteGoodRead {
    fn play(&self, model: &mut Model) -> bool {
        let seen = |connection: &&mut Connection| self.seen.is_none_or(|seen| seen == connection.connected_at);
        model.connections.get_mut(&self.id).filter(seen).is_some_and(|connection| {
            connection.mended(self.cause);
            connection.status == ConnectionStatus::Active
        })
    }
}

impl Played for EndConnection {
    fn play(&self, model: &mut Model) {
        let Some(connection) = model.connections.get(&self.id).cloned() else { return };
        let mut served = model.vehicles.values().filter(|vehicle| vehicle.connection == Some(self.id));
        if self.if_empty && served.any(|vehicle| vehicle.user == connection.user) {
            return;
        }
        model.drop_tokens(self.id);
        model.unlink_of(&connection.user, self.id, self.at, |_| false);
        if self.erase {
            if let Some(identity) = connection.identity().filter(|identity| model.identities.get(identity) == Some(&self.id)) {
                model.identities.remove(&identity);
            }
            model.connections.remove(&self.id);
        } else {
            let ended = Connection { status: ConnectionStatus::Disconnected, last_error: None, ..connection };
            model.connections.insert(self.id, ended);
        }
    }
}

impl Played for SwitchGeneration {
    fn play(&self, model: &mut Model) -> Switched {
        let Some(before) = model.connections.get(&self.id).cloned() else { return Switched::Gone };
        if before.status == ConnectionStatus::Disconnected {
            return Switched::Gone;
        }
        if before.generation == self.to {
            return Switched::Done;
        }
        if self.to == Generation::V2 && !model.tokens.contains_key(&self.id) {
            return Switched::NoTokens;
        }
        let mut after = Connection { generation: self.to, ..before.clone() };
        if self.to == Generation::V3 {
            after.mended(Cause::Tokens);
            if !self.vehicles.is_empty() {
                after.mended(Cause::Access);
            }
            if model.tokens.get(&self.id).is_some_and(|tokens| tokens.due_at.is_none()) {
                model.drop_tokens(self.id);
            }
        }
        if !self.scope.is_empty() {
            after.scope.clone_from(&self.scope);
        }
        if let Some(identity) = before.identity().filter(|identity| model.identities.get(identity) == Some(&self.id)) {
            model.identities.remove(&identity);
        }
        if let Some(identity) = after.identity() {
            let taken = model.identities.get(&identity).is_some_and(|id| model.connections.contains_key(id));
            if !taken {
                model.identities.insert(identity, self.id);
            }
        }
        for vehicle in model.vehicles.values_mut().filter(|vehicle| vehicle.user == after.user) {
            let told = self.vehicles.iter().find(|told| told.id == vehicle.facts.id);
            if let Some(told) = told.filter(|_| vehicle.connection == Some(self.id)) {
                merge(&mut vehicle.facts, told);
            }
        }
        model.connections.insert(self.id, after);
        Switched::Done
    }
}

impl Played for DropSpare {
    fn play(&self, model: &mut Model) -> bool {
        let has_spare = model.has_spare(self.connection);
        if has_spare {
            model.drop_tokens(self.connection);
        }
        has_spare
    }
}

// === Vehicles ===

impl Model {
    fn new_vehicle_row(&mut self, id: &VehicleId) -> u32 {
        self.last_vehicle_row += 1;
        self.erased.remove(id);
        self.vehicle_rows.insert(id.clone(), self.last_vehicle_row);
        self.last_vehicle_row
    }

    fn vehicle_row(&mut self, id: &VehicleId) -> u32 {
        self.vehicle_rows.get(id).copied().unwrap_or_else(|| self.new_vehicle_row(id))
    }

    fn vehicle(&mut self, id: &VehicleId) -> Option<&mut Vehicle> {
        self.vehicles.get_mut(self.vehicle_rows.get(id)?)
    }

    /// Whether a vehicle is served by what was seen to serve it, if anything was.
    fn is_served_by(&self, vehicle: &Vehicle, seen: Option<(ConnectionId, Timestamp)>) -> bool {
        seen.is_none_or(|(id, since)| {
            vehicle.connection == Some(id) && self.connections.get(&id).is_some_and(|known| known.connected_at == since)
        })
    }

    fn link(&mut self, facts: &VehicleFacts, connection: &Connection, at: Timestamp, takes_back: bool) {
        let (id, user, newest) = (&facts.id, &connection.user, self.newest);
        let held = self.vehicle_rows.get(id).copied();
        let (is_linked, is_users) =
            held.and_then(|row| self.vehicles.get_mut(&row)).map_or((false, false), |vehicle| (true, vehicle.user == *user));
        let changes_hands = is_linked && !is_users;
        let had_by_others = changes_hands || self.erased.contains(id);
        if changes_hands {
            let former = self.vehicles.get_mut(&held.unwrap()).unwrap();
            former.end(newest, at);
        }
        let own = self.former_rows(id, Some(user)).into_iter().next_back().filter(|_| takes_back);
        let row = match (held.filter(|_| is_users || !changes_hands && own.is_none()), own) {
            (Some(row), _) => row,
            (None, Some(own)) => {
                self.erased.remove(id);
                self.vehicle_rows.insert(id.clone(), own);
                let vehicle = self.vehicles.get_mut(&own).unwrap();
                (vehicle.linked_at, vehicle.had_by_others) = (at, true);
                own
            }
            (None, None) => self.new_vehicle_row(id),
        };
        let Model { vehicles, to_revisit, .. } = self;
        let vehicle = vehicles.entry(row).or_insert_with(|| {
            if !had_by_others {
                to_revisit.insert(row);
            }
            Vehicle {
                facts: VehicleFacts::unknown(id.clone()),
                nickname: None,
                called: None,
                user: user.clone(),
                connection: None,
                linked_at: at,
                ended_after: None,
                had_by_others,
                last_event_at: None,
                errors: Vec::new(),
                taken_back_at: None,
                taken_back_from: None,
                absences: Vec::new(),
                resolved: Vec::new(),
            }
        });
        merge(&mut vehicle.facts, facts);
        vehicle.resume(newest);
        vehicle.connection = Some(connection.id);
        self.to_read.insert(row);
        row_of(&mut self.user_rows, &connection.user);
    }

    /// The rows of a car to which its id does not lead, oldest first.
    fn former_rows(&self, id: &VehicleId, user: Option<&AppUserId>) -> Vec<u32> {
        let is_former = |row: u32, vehicle: &Vehicle| {
            vehicle.facts.id == *id && self.vehicle_rows.get(id) != Some(&row) && user.is_none_or(|user| vehicle.user == *user)
        };
        self.vehicles.iter().filter(|(row, vehicle)| is_former(**row, vehicle)).map(|(row, _)| *row).collect()
    }

    /// Of a row nothing is left, nor what came in about it while the id led there.
    fn erase_row(&mut self, row: u32) {
        self.vehicles.remove(&row);
        self.to_revisit.remove(&row);
        self.to_read.remove(&row);
        self.latest.retain(|(vehicle, _), _| *vehicle != row);
        self.readings.retain(|(vehicle, _), _| *vehicle != row);
        self.log.retain(|_, (header, _)| header.vehicle != Some(row));
    }

    /// Takes from a connection the vehicles of its owner that are not to stay.
    fn unlink(&mut self, id: ConnectionId, at: Timestamp, stays: impl Fn(&Vehicle) -> bool) {
        let user = self.connections[&id].user.clone();
        self.unlink_of(&user, id, at, stays);
    }

    fn unlink_of(&mut self, user: &AppUserId, id: ConnectionId, at: Timestamp, stays: impl Fn(&Vehicle) -> bool) {
        for vehicle in self.vehicles.values_mut() {
            if vehicle.user == *user && vehicle.connection == Some(id) && !stays(vehicle) {
                vehicle.end(self.newest, at);
            }
        }
    }
}

/// What is told of a vehicle is newer than what is known; what is not told stays.
fn merge(known: &mut VehicleFacts, told: &VehicleFacts) {
    let (before, told) = (known.clone(), told.clone());
    *known = VehicleFacts {
        id: before.id,
        make: told.make.or(before.make),
        model: told.model.or(before.model),
        year: told.year.or(before.year),
        vin: told.vin.or(before.vin),
        mode: told.mode.or(before.mode),
        powertrain: told.powertrain.or(before.powertrain),
        smartcar_connection_id: told.smartcar_connection_id.or(before.smartcar_connection_id),
        permissions: told.permissions.or(before.permissions),
    };
}

impl Played for RenameVehicle {
    fn play(&self, model: &mut Model) -> bool {
        let vehicle = model.vehicle(&self.id).filter(|vehicle| self.user.as_ref().is_none_or(|user| vehicle.user == *user));
        vehicle.map(|vehicle| vehicle.nickname.clone_from(&self.nickname)).is_some()
    }
}

impl Played for NoteFacts {
    fn play(&self, model: &mut Model) -> bool {
        let vehicle = model.vehicle(&self.facts.id);
        let vehicle = vehicle.filter(|vehicle| self.connection.is_none() || vehicle.connection == self.connection);
        vehicle.map(|vehicle| merge(&mut vehicle.facts, &self.facts)).is_some()
    }
}

impl Played for PictureTaken {
    fn play(&self, model: &mut Model) {
        if model.vehicles.get(&self.vehicle).is_none_or(|vehicle| model.is_served_by(vehicle, self.served_by)) {
            model.to_read.remove(&self.vehicle);
        }
    }
}

impl Played for ForgetVehicle {
    fn play(&self, model: &mut Model) -> bool {
        let newest = model.newest;
        let Some(known) = model.vehicle(&self.id).cloned() else { return false };
        if self.user.as_ref().is_some_and(|user| known.user != *user) || !model.is_served_by(&known, self.served_by) {
            return false;
        }
        if let Some(vehicle) = model.vehicle(&self.id).filter(|_| !self.erase) {
            vehicle.end(newest, self.at);
            (vehicle.taken_back_from, vehicle.taken_back_at) = self.served_by.map(|(from, _)| (from, self.at)).unzip();
            return true;
        }
        let row = model.vehicle_rows.remove(&self.id).unwrap();
        model.api_tokens.retain(|_, token| token.vehicle.as_ref() != Some(&self.id));
        if self.is_remembered {
            model.erased.insert(self.id.clone());
        }
        model.erase_row(row);
        true
    }
}

/// All that there is can be read.
impl Played for EraseUnreadable {
    fn play(&self, _: &mut Model) -> usize {
        0
    }
}

impl Played for EraseFormer {
    fn play(&self, model: &mut Model) -> bool {
        let rows = model.former_rows(&self.id, self.user.as_ref());
        let is_any = !rows.is_empty();
        for row in rows {
            model.erase_row(row);
        }
        is_any
    }
}

// === The log ===

impl Model {
    pub(crate) fn log_bytes(&self) -> u64 {
        self.log.values().map(|(header, _)| u64::from(header.bytes)).sum()
    }

    fn has_room(&self, delivery: &RecordDelivery) -> bool {
        let (entries, more) = (self.log.len() as u64, body_of(&delivery.event).len() as u64);
        entries == 0 || (entries < delivery.ring.events && self.log_bytes() + more <= delivery.ring.bytes)
    }
}

impl Played for RecordDelivery {
    fn play(&self, model: &mut Model) -> Recorded {
        if let Some((seq, ..)) = model.events.iter().find(|(.., event)| *event == self.event) {
            return Recorded::Duplicate(*seq);
        }
        if self.vehicle.as_ref().is_some_and(|id| model.erased.contains(id)) {
            return Recorded::Erased;
        }
        let vehicle = self.vehicle.as_ref().map(|id| model.vehicle_row(id));
        // Seqs begin with 1.
        model.oldest = model.oldest.max(Seq(1));
        while !model.has_room(self) && model.oldest <= model.bookmark.cursor() {
            model.log.remove(&model.oldest);
            model.oldest = model.oldest.next();
        }
        if !model.has_room(self) {
            return Recorded::Full;
        }
        let is_known = vehicle.is_none_or(|row| model.vehicles.contains_key(&row));
        let result = match self.result {
            DeliveryResult::Accepted if !is_known => DeliveryResult::UnknownVehicle,
            result => result,
        };
        let body = body_of(&self.event);
        let bytes = u32::try_from(body.len()).unwrap();
        let header = Header { received_at: self.received_at, kind: self.kind.clone(), result, vehicle, bytes };
        model.newest = model.newest.next();
        model.log.insert(model.newest, (header, body));
        model.events.push_back((model.newest, self.received_at, self.event.clone()));
        let remembered = self.received_at.before(self.ring.dedupe_for)..self.received_at.after(Duration::from_secs(3600));
        while model.events.front().is_some_and(|(seq, at, _)| !remembered.contains(at) && *seq < model.oldest) {
            model.events.pop_front();
        }
        Recorded::New(model.newest, result)
    }

    fn tells(&self, _: &Model) -> Vec<(String, String)> {
        self.vehicle.iter().map(|car| view::car_of(self.received_at, car)).collect()
    }
}

impl Played for NoteVerify {
    fn play(&self, model: &mut Model) {
        model.verify = Some((self.at, self.signed));
    }
}

impl Played for NoteGrammar {
    fn play(&self, model: &mut Model) {
        model.grammar = Some(self.version);
    }
}

impl Played for NoteAlive {
    fn play(&self, model: &mut Model) {
        model.alive = Some(self.at);
    }
}

impl Played for NoteGap {
    fn play(&self, model: &mut Model) -> u32 {
        let is_told_of = |vehicle: &Vehicle| vehicle.connection.is_some() && vehicle.last_event_at.is_some();
        let rows: Vec<u32> = model.vehicles.iter().filter(|(_, vehicle)| is_told_of(vehicle)).map(|(row, _)| *row).collect();
        let vehicles = rows.len().try_into().unwrap();
        model.to_read.extend(rows);
        if vehicles > 0 {
            model.gaps.push(Gap { since: self.since, until: self.until, cause: self.cause, vehicles });
            model.gaps.drain(..model.gaps.len().saturating_sub(20));
        }
        model.alive = model.alive.max(Some(self.until));
        vehicles
    }
}

// === Notices ===

impl Played for GiveNotice {
    fn play(&self, model: &mut Model) -> bool {
        let before = model.notices.get(&about(&self.notice.subject)).cloned();
        let is_news = before.as_ref().is_none_or(|before| self.notice.days < before.days);
        let since = before.map_or(self.notice.since, |before| before.since);
        model.notices.insert(about(&self.notice.subject), Notice { since, ..self.notice.clone() });
        is_news
    }
}

impl Played for EndNotice {
    fn play(&self, model: &mut Model) -> bool {
        model.notices.remove(&about(&self.subject)).is_some()
    }
}

pub(crate) fn about(subject: &Subject) -> String {
    format!("{subject:?}")
}

// === Readings ===

impl Played for ApplyReadings {
    fn play(&self, model: &mut Model) -> bool {
        if self.moved.as_ref().is_some_and(|(from, _)| *from != model.bookmark) {
            return false;
        }
        self.tellings.iter().for_each(|telling| model.tell(telling));
        self.revisited.map(|row| model.to_revisit.remove(&row));
        if let Some((_, to)) = &self.moved {
            model.bookmark = to.clone();
        }
        true
    }

    fn tells(&self, model: &Model) -> Vec<(String, String)> {
        let mut told = Vec::new();
        for telling in &self.tellings {
            let Some(vehicle) = model.vehicles.get(&telling.vehicle) else { continue };
            let readings = telling.reports.iter().filter_map(|report| Some((&report.code, reading(telling, report)?)));
            told.extend(readings.map(|(code, reading)| view::reading(vehicle, code, &reading)));
        }
        told
    }
}

impl Model {
    fn tell(&mut self, telling: &Telling) {
        if !self.vehicles.contains_key(&telling.vehicle) {
            return;
        }
        telling.reports.iter().for_each(|report| self.record(telling, report));
        let vehicle = self.vehicles.get_mut(&telling.vehicle).unwrap();
        telling.facts.iter().for_each(|facts| merge(&mut vehicle.facts, facts));
        for end in &telling.resolved {
            vehicle.errors.retain(|error| error.kind != end.kind || error.code != end.code || error.since > end.at);
            vehicle.resolved.retain(|known| known.kind != end.kind || known.code != end.code || known.at > end.at);
            vehicle.resolved.push(end.clone());
        }
        for error in &telling.errors {
            let is_over = |error: &VehicleError| {
                vehicle.resolved.iter().any(|end| end.kind == error.kind && end.code == error.code && end.at >= error.since)
            };
            if is_over(error) {
                continue;
            }
            if vehicle.connection.is_none() {
                let at = telling.at.max(error.since);
                vehicle.resolve(Resolved { kind: error.kind.clone(), code: error.code.clone(), at });
                continue;
            }
            match vehicle.errors.iter_mut().find(|known| known.kind == error.kind && known.code == error.code) {
                Some(known) => *known = VehicleError { since: known.since.min(error.since), ..error.clone() },
                None => vehicle.errors.push(error.clone()),
            }
        }
        if telling.source == Source::Webhook {
            vehicle.last_event_at = vehicle.last_event_at.max(Some(telling.at));
        }
    }

    fn record(&mut self, telling: &Telling, report: &SignalReport) {
        row_of(&mut self.signal_rows, &report.code);
        let key = (telling.vehicle, report.code.clone());
        let code = report.code.clone();
        let nothing = Latest {
            code,
            group: None,
            name: None,
            reading: None,
            failure: None,
            told_at: None,
            reading_told_at: None,
            lack: None,
        };
        let latest = self.latest.entry(key.clone()).or_insert(nothing);
        latest.group = report.group.clone().or(latest.group.take());
        latest.name = report.name.clone().or(latest.name.take());
        match &report.outcome {
            Outcome::Failed(failure) => {
                let is_late = latest.told_at.is_some_and(|told_at| told_at > telling.told_at);
                if latest.failure.as_ref().is_none_or(|(_, at)| *at <= telling.told_at) && !is_late {
                    latest.failure = Some((failure.clone(), telling.told_at));
                }
                if !is_late {
                    latest.lack = Lack::after(latest.lack.take(), failure, telling.told_at);
                }
            }
            Outcome::Value(_) => {
                let reading = reading(telling, report).unwrap();
                latest.failure.take_if(|(_, failed_at)| *failed_at <= telling.told_at);
                latest.lack.take_if(|lack| lack.told_at <= telling.told_at);
                let newest_told_at = latest.reading_told_at.or(latest.told_at);
                latest.told_at = latest.told_at.max(Some(telling.told_at));
                let is_known = latest.reading.as_ref().is_some_and(|known| known.at == reading.at);
                if is_known && newest_told_at > Some(telling.told_at) {
                    return;
                }
                remember(self.readings.entry(key).or_default(), &reading, latest.reading.as_ref());
                let mut told_at = newest_told_at;
                if latest.reading.as_ref().is_none_or(|known| known.at <= reading.at) {
                    (latest.reading, told_at) = (Some(reading), Some(telling.told_at));
                }
                latest.reading_told_at = told_at.filter(|told_at| Some(*told_at) != latest.told_at);
            }
        }
    }
}

fn reading(telling: &Telling, report: &SignalReport) -> Option<Reading> {
    let Outcome::Value(body) = &report.outcome else { return None };
    let SignalReport { oem_updated_at, retrieved_at, .. } = *report;
    let at = oem_updated_at.or(retrieved_at).unwrap_or(telling.at).min(telling.at);
    Some(Reading { body: body.clone(), at, oem_updated_at, retrieved_at, source: telling.source })
}

/// Keeps a reading if it is a change. One after it that says the same is none any more; the newest may be
/// one now.
fn remember(readings: &mut BTreeMap<Timestamp, Reading>, reading: &Reading, newest: Option<&Reading>) {
    let is_same = |known: &Reading| known.body.same_as(&reading.body);
    let before = readings.range(..reading.at).next_back();
    let is_change = !before.is_some_and(|(_, before)| is_same(before));
    match readings.get(&reading.at) {
        Some(known) if is_same(known) => return,
        None if !is_change => return,
        _ if is_change => drop(readings.insert(reading.at, reading.clone())),
        _ => drop(readings.remove(&reading.at)),
    }
    match readings.range((Excluded(reading.at), Unbounded)).next().map(|(at, next)| (*at, is_same(next))) {
        Some((at, true)) => drop(readings.remove(&at)),
        Some((_, false)) => {}
        None => newest.filter(|newest| newest.at > reading.at).into_iter().for_each(|newest| remember(readings, newest, None)),
    }
}

// === Access ===

impl Played for PutApiToken {
    fn play(&self, model: &mut Model) {
        model.api_tokens.insert(self.hash, self.token.clone());
    }
}

impl Played for RevokeApiToken {
    fn play(&self, model: &mut Model) -> bool {
        let before = model.api_tokens.len();
        model.api_tokens.retain(|_, token| token.id != self.id);
        model.api_tokens.len() < before
    }
}

impl Played for PutSignInLink {
    fn play(&self, model: &mut Model) {
        model.links.retain(|_, expires_at| *expires_at > self.at);
        model.links.insert(self.hash, self.expires_at);
    }
}

impl Played for SignIn {
    fn play(&self, model: &mut Model) -> bool {
        if model.links.get(&self.link).is_none_or(|expires_at| *expires_at <= self.session.created_at) {
            return false;
        }
        model.links.remove(&self.link);
        model.sessions.retain(|_, session| session.last_seen_at >= self.idle_before);
        model.sessions.insert(self.hash, self.session.clone());
        true
    }
}

impl Played for TouchSession {
    fn play(&self, model: &mut Model) {
        model.sessions.entry(self.hash).and_modify(|session| session.last_seen_at = self.at);
    }
}

impl Played for RevokeSession {
    fn play(&self, model: &mut Model) -> bool {
        let before = model.sessions.len();
        model.sessions.retain(|_, session| session.id != self.id);
        model.sessions.len() < before
    }
}

impl Played for NoteAudit {
    fn play(&self, model: &mut Model) -> u64 {
        let number = model.audit.keys().next_back().map_or(1, |newest| newest + 1);
        model.audit.insert(number, (self.ring, self.entry.clone()));
        let of_ring: Vec<u64> =
            model.audit.iter().filter(|(_, (ring, _))| *ring == self.ring).map(|(number, _)| *number).collect();
        for number in &of_ring[..of_ring.len().saturating_sub(self.ring.keeps())] {
            model.audit.remove(number);
        }
        number
    }
}

impl Played for EndAudit {
    fn play(&self, model: &mut Model) {
        let is_of_ring = model.audit.get(&self.number).is_some_and(|(ring, _)| *ring == self.ring);
        match &self.entry {
            Some(entry) if is_of_ring => drop(model.audit.insert(self.number, (self.ring, entry.clone()))),
            None if is_of_ring => drop(model.audit.remove(&self.number)),
            _ => {}
        }
    }
}

impl Played for SetPassword {
    fn play(&self, model: &mut Model) {
        model.password.clone_from(&self.password);
    }
}

impl Played for SignInByPassword {
    fn play(&self, model: &mut Model) -> bool {
        if model.password.as_ref() != Some(&self.password) {
            return false;
        }
        model.sessions.retain(|_, session| session.last_seen_at >= self.idle_before);
        model.sessions.insert(self.hash, self.session.clone());
        true
    }
}
