//! Histories: every kind of change, in a small world, so that they meet each other often.

use std::time::Duration;

use carport::model::access::{ApiToken, PasswordHash, Scope, Session};
use carport::model::audit::{Actor, AuditEntry, Ring as AuditRing};
use carport::model::connection::{Cause, Connection, ConnectionStatus};
use carport::model::gap::GapCause;
use carport::model::journey::{Attempt, Ending, Invite, Terms};
use carport::model::notice::{Notice, Subject};
use carport::model::reading::{Outcome, SignalFailure, SignalReport, Source};
use carport::model::token::Generation;
use carport::model::user::User;
use carport::model::vehicle::{Resolved, Vehicle, VehicleError, VehicleFacts};
use carport::model::{AppUserId, Blob, ConnectionId, Json, Seq, SmartcarUserId, Timestamp, VehicleId};
use carport::store::Packed;
use carport::store::access::{
    PutApiToken, PutSignInLink, RevokeApiToken, RevokeSession, SetPassword, SignIn, SignInByPassword, TouchSession,
};
use carport::store::attempts::{EndTrip, OpenAttempt, PutInvite, TakeAttempt};
use carport::store::audit::{EndAudit, NoteAudit};
use carport::store::bookmark::Bookmark;
use carport::store::connections::{AdoptConnection, EndConnection, HandOver, LinkVehicles, MarkConnection, NoteGoodRead};
use carport::store::former::{EraseFormer, EraseUnreadable};
use carport::store::gaps::{NoteAlive, NoteGap};
use carport::store::notices::{EndNotice, GiveNotice};
use carport::store::rotation::{BeginRefresh, Intent, PostponeRefresh, RefuseTokens};
use carport::store::switching::{DropSpare, SwitchGeneration};
use carport::store::tellings::{ApplyReadings, NoteGrammar, Telling};
use carport::store::tokens::{DropDue, Reschedule, RotateTokens, SealedTokens};
use carport::store::users::{PutUser, RemoveUser, When};
use carport::store::vehicles::{ForgetVehicle, NoteFacts, PictureTaken, RenameVehicle};
use carport::store::webhook_log::{DeliveryResult, NoteVerify, RecordDelivery, Ring};
use serde_json::json;

use super::disk::Chance;
use super::model::{Deed, Hash, Model};
use super::{BEGIN, body_of};

/// A small ring, so that entries and event ids go soon.
const RING: Ring = Ring { events: 4, bytes: 22_000, dedupe_for: Duration::from_secs(2 * 3600) };

pub(crate) const USERS: u8 = 4;
pub(crate) const CARS: u8 = 4;
pub(crate) const ACCOUNTS: u8 = 3;
pub(crate) const CONNECTIONS: u8 = 5;
pub(crate) const SIGNALS: [&str; 3] = ["odometer-traveleddistance", "closure-islocked", "location-preciselocation"];
pub(crate) const HASHES: u8 = 6;
const EVENTS: u8 = 10;

pub(crate) fn user(n: u8) -> AppUserId {
    AppUserId::new(format!("user-{}", n % USERS))
}

pub(crate) fn car(n: u8) -> VehicleId {
    VehicleId::new(format!("car-{}", n % CARS))
}

pub(crate) fn account(n: u8) -> SmartcarUserId {
    SmartcarUserId::new(format!("account-{}", n % ACCOUNTS))
}

/// One of the connections; the application, which has tokens but is none, is the last.
pub(crate) fn connection(n: u8) -> ConnectionId {
    match n % (CONNECTIONS + 1) {
        CONNECTIONS => ConnectionId::APPLICATION,
        n => ConnectionId(uuid::Uuid::from_u128(u128::from(n) + 1)),
    }
}

pub(crate) fn hash(n: u8) -> Hash {
    [n % HASHES; 32]
}

/// What is done next: a kind of change, and what distinguishes it from others of its kind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) kind: u8,
    pub(crate) who: u8,
    pub(crate) what: u8,
    pub(crate) how: u8,
}

impl Step {
    pub(crate) fn random(chance: &mut Chance) -> Step {
        let [kind, who, what, how, ..] = chance.next().to_le_bytes();
        Step { kind, who, what, how }
    }

    /// The change that this step makes of what there is. Steps are 17 minutes apart.
    pub(crate) fn deed(self, number: usize, model: &Model) -> Box<dyn Deed> {
        let at = BEGIN.after(minutes(17 * number));
        let Step { kind, who, what, how } = self;
        let hash = hash(what);
        match kind % 70 {
            0..8 | 48..56 => self.delivery(at),
            8..14 => self.rotation(at, model),
            14..19 | 56..60 => self.projection(at, model),
            19..22 => self.link(at),
            22 | 23 => self.adoption(at),
            24 | 25 => Box::new(self.user(at)),
            26 => Box::new(RemoveUser { id: user(who) }),
            27 => self.invite(at),
            28 => Box::new(EndTrip { hash, ending: self.ending() }),
            29 | 30 => self.attempt(at),
            31 => {
                let user = how.is_multiple_of(2).then(|| user(who));
                Box::new(TakeAttempt { hash, browser: browser(who), user, redirect_uri: None, at })
            }
            32 => self.hand_over(at, model),
            33 => self.marking(at),
            34 => Box::new(self.good_read(at)),
            35 => {
                let (erase, if_empty) = (what.is_multiple_of(2), how.is_multiple_of(2));
                Box::new(EndConnection { id: connection(who), erase, if_empty, at })
            }
            36 => self.reschedule(at, model),
            37 => {
                let due_at = model.due.iter().nth(usize::from(how) % model.due.len().max(1)).map_or(at, |(due_at, _)| *due_at);
                Box::new(DropDue { due_at, connection: connection(who) })
            }
            38 => self.naming(),
            39 => Box::new(NoteFacts { facts: self.facts(who), connection: (!how.is_multiple_of(3)).then(|| connection(what)) }),
            40 => {
                // Of those that wait for one, if any does.
                let waiting = model.to_read.iter().nth(usize::from(who) % model.to_read.len().max(1));
                let vehicle = waiting.copied().unwrap_or(u32::from(who % 8));
                Box::new(PictureTaken { vehicle, served_by: self.seen_serving(model.vehicles.get(&vehicle), model, at) })
            }
            41 if how.is_multiple_of(3) => self.erasure(),
            41 => self.forgetting(at, model),
            42 => Box::new(NoteVerify { at, signed: how.is_multiple_of(2) }),
            43 => {
                let expires_at = how.is_multiple_of(2).then(|| at.after(minutes(600)));
                let (user, vehicle) = if who % 2 == 0 { (Some(user(who)), None) } else { (None, Some(car(what))) };
                let (id, name) = (format!("token-{}", what % HASHES), format!("name {how}"));
                let token = ApiToken { id, name, scope: Scope::Read, user, vehicle, created_at: at, expires_at };
                Box::new(PutApiToken { hash, token })
            }
            44 if how.is_multiple_of(2) => {
                let password = PasswordHash { salt: [who % 4; 16], hash: [who % 4; 32], cost: (8, 1) };
                Box::new(SetPassword { password: (!what.is_multiple_of(3)).then_some(password) })
            }
            44 => Box::new(RevokeApiToken { id: format!("token-{}", what % HASHES) }),
            45 => Box::new(PutSignInLink { hash, expires_at: at.after(minutes(how.into())), at }),
            46 => {
                let id = format!("session-{}", what % HASHES);
                let session = Session { id, created_at: at, last_seen_at: at, browser: Some(format!("browser {how}")) };
                let password = PasswordHash { salt: [who % 4; 16], hash: [who % 4; 32], cost: (8, 1) };
                if how.is_multiple_of(3) {
                    return Box::new(SignInByPassword { password, hash, session, idle_before: at.before(minutes(200)) });
                }
                let link = super::deeds::hash(model.links.keys().next().map_or(who, |link| link[0]));
                Box::new(SignIn { link, hash, session, idle_before: at.before(minutes(200)) })
            }
            60..63 => self.refresh(at, model),
            63 => {
                let days = (!what.is_multiple_of(3)).then_some(what);
                let (reason, ends_at) = (how.is_multiple_of(2).then(|| format!("reason {how}")), days.map(|_| at));
                Box::new(GiveNotice { notice: Notice { subject: self.subject(), since: at, reason, ends_at, days } })
            }
            64 if how.is_multiple_of(2) => {
                let ring = AuditRing::ALL[usize::from(what % 3)];
                let (actor, address) = (Actor::Session { id: format!("session-{who}") }, "192.0.2.1".parse().ok());
                let (action, ids, count) = (format!("action {how}"), vec![format!("user-{who}")], u32::from(how) + 1);
                let entry = AuditEntry { at, actor, address, action, ids, status: Some(200), count };
                match (how / 2) % 4 {
                    0 => Box::new(EndAudit { ring, number: u64::from(who), entry: (how < 128).then_some(entry) }),
                    _ => Box::new(NoteAudit { ring, entry }),
                }
            }
            64 => Box::new(EndNotice { subject: self.subject() }),
            65 if how.is_multiple_of(4) => Box::new(NoteGrammar { version: who.into() }),
            65 => Box::new(NoteAlive { at }),
            66 => {
                let cause = [GapCause::Down, GapCause::Refused, GapCause::Silent][usize::from(what % 3)];
                Box::new(NoteGap { since: at.before(minutes(how.into())), until: at, cause })
            }
            67 | 68 => {
                let to = if how.is_multiple_of(2) { Generation::V2 } else { Generation::V3 };
                let scope = (0..what % 2).map(|n| format!("scope {n}")).collect();
                Box::new(SwitchGeneration { id: connection(who), to, vehicles: vec![self.facts(what)], scope })
            }
            69 => Box::new(DropSpare { connection: connection(who) }),
            _ if how.is_multiple_of(2) => Box::new(TouchSession { hash, at }),
            _ => Box::new(RevokeSession { id: format!("session-{}", what % HASHES) }),
        }
    }

    fn subject(self) -> Subject {
        let generation = if self.how.is_multiple_of(2) { Generation::V2 } else { Generation::V3 };
        match self.what % 4 {
            0 => Subject::NeedsReconnect(connection(self.who)),
            1 => Subject::AccessEnding(connection(self.who)),
            2 => Subject::CredentialsRefused(generation),
            _ => Subject::RenewalFailing(generation),
        }
    }

    fn user(self, at: Timestamp) -> PutUser {
        let (name, email) = (Some(format!("name {}", self.how)), self.how.is_multiple_of(2).then(|| "a@example.com".to_owned()));
        let when = if self.what.is_multiple_of(3) { When::There } else { When::New };
        PutUser { user: User { id: user(self.who), name, email, created_at: at }, when }
    }

    fn delivery(self, at: Timestamp) -> Box<dyn Deed> {
        let event = format!("event-{}", self.how % EVENTS);
        let result = if self.what.is_multiple_of(5) { DeliveryResult::Test } else { DeliveryResult::Accepted };
        let vehicle = (!self.what.is_multiple_of(7)).then(|| car(self.who));
        let body = Packed::of(body_of(&event).as_bytes());
        Box::new(RecordDelivery {
            event,
            kind: "VEHICLE_STATE".to_owned(),
            result,
            vehicle,
            is_about_others: false,
            body,
            received_at: at,
            ring: RING,
        })
    }

    fn tokens(self, at: Timestamp, version: u64) -> SealedTokens {
        SealedTokens {
            version,
            sealed: Blob(vec![self.how; 8 + usize::from(self.what)]),
            access_expires_at: at.after(minutes(120)),
            refresh_expires_at: (!self.what.is_multiple_of(4)).then(|| at.after(minutes(60 * 24 * 60))),
            issued_at: at,
            used_at: at,
            due_at: (!self.what.is_multiple_of(5)).then(|| at.after(minutes(usize::from(self.how) * 10))),
        }
    }

    fn rotation(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let connection = connection(self.who);
        let known = model.tokens.get(&connection).map_or(0, |tokens| tokens.version);
        let from_version = if self.what.is_multiple_of(8) { known + 1 } else { known };
        Box::new(RotateTokens { connection, from_version, tokens: self.tokens(at, from_version + 1) })
    }

    /// A refresh that begins, gives nothing, or is refused.
    fn refresh(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let connection = connection(self.who);
        let version = model.tokens.get(&connection).map_or(1, |tokens| tokens.version) + u64::from(self.what.is_multiple_of(8));
        match self.how % 4 {
            0 => Box::new(RefuseTokens { connection, version, reason: format!("reason {}", self.how) }),
            1 => {
                let due_at = at.after(minutes(usize::from(self.how)));
                Box::new(PostponeRefresh { connection, version, due_at, unspent: self.what.is_multiple_of(2) })
            }
            _ => Box::new(BeginRefresh { connection, intent: Intent { version, started_at: at } }),
        }
    }

    fn reschedule(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let connection = connection(self.who);
        let version = model.tokens.get(&connection).map_or(1, |tokens| tokens.version);
        Box::new(Reschedule {
            connection,
            version,
            used_at: at,
            due_at: (!self.how.is_multiple_of(3)).then(|| at.after(minutes(60))),
        })
    }

    fn connection(self, at: Timestamp, id: ConnectionId) -> Connection {
        Connection {
            id,
            user: user(self.what),
            smartcar_user: None,
            generation: if self.how.is_multiple_of(2) { Generation::V2 } else { Generation::V3 },
            single: None,
            single_select: self.how.is_multiple_of(3),
            mode: None,
            status: ConnectionStatus::Active,
            scope: vec!["read_odometer".to_owned()],
            connected_at: at,
            last_error: None,
        }
    }

    fn adoption(self, at: Timestamp) -> Box<dyn Deed> {
        let id = connection(self.who % CONNECTIONS);
        Box::new(AdoptConnection { connection: self.connection(at, id), tokens: self.tokens(at, 1) })
    }

    fn link(self, at: Timestamp) -> Box<dyn Deed> {
        let id = connection(self.who % CONNECTIONS);
        let smartcar_user = (!self.how.is_multiple_of(7)).then(|| account(self.how / 7));
        let connection = Connection { smartcar_user, ..self.connection(at, id) };
        let vehicles = (0..self.what % 3).map(|n| self.facts((self.how / 3).wrapping_add(n))).collect();
        Box::new(LinkVehicles { connection, vehicles, at, takes_back: !self.how.is_multiple_of(11) })
    }

    fn erasure(self) -> Box<dyn Deed> {
        let user = (!self.what.is_multiple_of(3)).then(|| user(self.what));
        if self.how.is_multiple_of(2) {
            return Box::new(EraseUnreadable { id: (!self.what.is_multiple_of(5)).then(|| car(self.who)), user });
        }
        Box::new(EraseFormer { id: car(self.who), user })
    }

    fn marking(self, at: Timestamp) -> Box<dyn Deed> {
        let Step { who, what, how, .. } = self;
        let cause = [Cause::Tokens, Cause::Account, Cause::Access][usize::from(how % 3)];
        let broken = ConnectionStatus::NeedsReconnect { reason: format!("reason {how}"), cause, since: None };
        let status = [None, Some(broken), Some(ConnectionStatus::Active)][usize::from(what % 3)].clone();
        let error = (!how.is_multiple_of(3)).then(|| format!("error {how}"));
        Box::new(MarkConnection { id: connection(who), status, error, seen: how.is_multiple_of(7).then_some(at) })
    }

    fn good_read(self, at: Timestamp) -> NoteGoodRead {
        let Step { who, what, how, .. } = self;
        let cause = [Cause::Tokens, Cause::Account, Cause::Access][usize::from(what % 3)];
        NoteGoodRead { id: connection(who), cause, seen: how.is_multiple_of(7).then_some(at) }
    }

    fn naming(self) -> Box<dyn Deed> {
        let Step { who, what, how, .. } = self;
        let nickname = (!what.is_multiple_of(3)).then(|| format!("Herbie {how}"));
        Box::new(RenameVehicle { id: car(who), nickname, user: how.is_multiple_of(4).then(|| user(what)) })
    }

    fn forgetting(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let Step { who, what, how, .. } = self;
        let user = how.is_multiple_of(5).then(|| user(what));
        let (erase, is_remembered) = (what.is_multiple_of(2), !how.is_multiple_of(4));
        let known = model.vehicle_rows.get(&car(who)).and_then(|row| model.vehicles.get(row));
        Box::new(ForgetVehicle { id: car(who), erase, is_remembered, user, at, served_by: self.seen_serving(known, model, at) })
    }

    /// By what a vehicle was seen to be served: nobody has looked, it is so still, it was connected again since, or something
    /// else serves it.
    fn seen_serving(self, vehicle: Option<&Vehicle>, model: &Model, at: Timestamp) -> Option<(ConnectionId, Timestamp)> {
        let id = vehicle?.connection?;
        let connected_at = model.connections.get(&id)?.connected_at;
        [None, Some((id, connected_at)), Some((id, at)), Some((connection(self.what), connected_at))]
            [usize::from(self.how / 3 % 4)]
    }

    fn hand_over(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let (from, to) = (connection(self.who), connection(self.what));
        let to_version = model.tokens.get(&to).map_or(0, |tokens| tokens.version) + u64::from(self.how.is_multiple_of(4));
        Box::new(HandOver { from, to, to_version, tokens: self.tokens(at, to_version + 1) })
    }

    fn facts(self, which: u8) -> VehicleFacts {
        VehicleFacts {
            make: self.what.is_multiple_of(2).then(|| "VOLKSWAGEN".to_owned()),
            model: self.what.is_multiple_of(3).then(|| format!("ID.{}", self.how)),
            year: self.how.is_multiple_of(2).then(|| 2000 + i32::from(self.how)),
            ..VehicleFacts::unknown(car(which))
        }
    }

    fn terms(self) -> Terms {
        Terms { make: Some(format!("make {}", self.how)), ..Terms::default() }
    }

    fn invite(self, at: Timestamp) -> Box<dyn Deed> {
        let expires_at = at.after(minutes(usize::from(self.how)));
        let invite = Invite { user: user(self.who), terms: self.terms(), expires_at, spent: false, ending: Ending::NotYet };
        // Long enough ago that some have expired for a day.
        Box::new(PutInvite { hash: hash(self.what), invite, at: at.after(minutes(20 * 60)) })
    }

    fn ending(self) -> Ending {
        match self.how % 3 {
            0 => Ending::NotYet,
            1 => Ending::Connected { vehicles: Vec::new(), virtual_key_url: Some(format!("https://{}", self.who)) },
            _ => Ending::Failed {
                code: "access_denied".to_owned(),
                sentence: format!("Sentence {}.", self.who),
                is_final: self.who.is_multiple_of(2),
            },
        }
    }

    fn attempt(self, at: Timestamp) -> Box<dyn Deed> {
        let attempt = Attempt {
            invite: Some(format!("invite {}", self.how)),
            user: user(self.who),
            terms: self.terms(),
            redirect_uri: "https://gateway.example/callback".to_owned(),
            single_select: self.how.is_multiple_of(2),
            browser: browser(self.who),
            expires_at: at.after(minutes(usize::from(self.how))),
        };
        Box::new(OpenAttempt { hash: hash(self.what), attempt, at })
    }

    /// As the projector does it, or a read, or for a vehicle that is revisited.
    fn projection(self, at: Timestamp, model: &Model) -> Box<dyn Deed> {
        let row = |n: u8| model.vehicles.keys().nth(usize::from(n) % model.vehicles.len().max(1)).copied().unwrap_or(1);
        let source = if self.what % 8 < 2 { Source::Read } else { Source::Webhook };
        let tellings =
            (0..=self.how % 2).map(|n| Telling { source, ..self.telling(at, row(self.who.wrapping_add(n))) }).collect();
        let change = ApplyReadings::of(tellings);
        Box::new(match self.what % 8 {
            0 | 1 => change,
            2 => change.revisiting(row(self.who)),
            n => {
                let known = &model.bookmark;
                // Sometimes it is elsewhere than it thinks.
                let from = if self.who.is_multiple_of(8) { Bookmark::at(known.read.next()) } else { known.clone() };
                let read = Seq(known.read.0.max(model.newest.0.saturating_sub(u64::from(n % 2))));
                let held = (known.cursor().0 + 1..=read.0).filter(|seq| seq % 3 == u64::from(self.how % 4)).map(Seq).collect();
                change.moving(from, Bookmark { read, held })
            }
        })
    }

    fn telling(self, at: Timestamp, vehicle: u32) -> Telling {
        let mut chance = Chance::new(u64::from_le_bytes([self.who, self.what, self.how, 0, 0, 0, 0, 0]));
        let mut reports = Vec::new();
        for code in SIGNALS {
            if chance.percent(40) {
                continue;
            }
            let failed = SignalFailure { status: "ERROR".to_owned(), kind: Some(format!("kind {}", self.how)), code: None };
            let value = Json::of(&json!({ "value": chance.below(3), "unit": "km" }));
            reports.push(SignalReport {
                code: code.to_owned(),
                group: chance.maybe(50, |chance| format!("Group {}", chance.below(9))),
                name: chance.maybe(50, |chance| format!("Name {}", chance.below(9))),
                outcome: if chance.percent(20) { Outcome::Failed(failed) } else { Outcome::Value(value) },
                // To the hour, so that some fall together; some come from a car whose clock is ahead.
                oem_updated_at: chance.maybe(80, |chance| hour(at, chance.below(40), 38)),
                retrieved_at: chance.maybe(50, |chance| hour(at, chance.below(3), 2)),
            });
        }
        let (kind, code) = (format!("KIND_{}", chance.below(2)), chance.percent(50).then(|| "CODE".to_owned()));
        let error = |chance: &mut Chance| VehicleError {
            kind: kind.clone(),
            code: code.clone(),
            description: Some(format!("description {}", self.how)),
            message: None,
            resolution_url: None,
            resolution: None,
            signals: Vec::new(),
            since: hour(at, chance.below(5), 5),
        };
        let errors = if self.how.is_multiple_of(3) { vec![error(&mut chance)] } else { Vec::new() };
        let resolved =
            if self.how.is_multiple_of(4) { vec![Resolved { kind, code, at: hour(at, chance.below(5), 5) }] } else { Vec::new() };
        let told_at = hour(at, chance.below(4), 4);
        let facts = self.how.is_multiple_of(5).then(|| self.facts(self.who));
        Telling { vehicle, reports, source: Source::Webhook, at, told_at, facts, errors, resolved }
    }
}

fn minutes(n: usize) -> Duration {
    Duration::from_secs(60 * n as u64)
}

/// A full hour, `n - back` hours from `at`.
fn hour(at: Timestamp, n: usize, back: usize) -> Timestamp {
    let at = at.before(minutes(60 * back)).after(minutes(60 * n));
    Timestamp::from_millis(at.as_millis() / 3_600_000 * 3_600_000)
}

fn browser(n: u8) -> Option<Hash> {
    (!n.is_multiple_of(3)).then_some([n % 3; 32])
}
