//! What the simulated Smartcar remembers: accounts and their cars, connections, subscriptions, the webhook.
//! Accounts, cars and their ids are functions of the seed; connections and tokens begin empty.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::car::{Car, STEP_SECONDS};
use super::chance::Chance;
use super::commands::Command;
use super::counters::Counters;
use super::endpoints::read_permissions;
use super::faults::Faults;
use super::limits::Meter;
use super::model::Model;
use super::oauth::Tokens;
use super::past::{Past, grown};
use super::trouble::Trouble;
use super::{Settings, WebhookSettings};
use crate::model::Timestamp;

/// Everything behind the one lock.
#[derive(Debug)]
pub(super) struct State {
    pub(super) chance: Chance,
    pub(super) accounts: Vec<Account>,
    pub(super) cars: BTreeMap<String, Car>,
    /// What they lived through before.
    pub(super) pasts: BTreeMap<String, Past>,
    /// Oldest first.
    pub(super) connections: Vec<Connection>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) webhooks: Vec<Webhook>,
    pub(super) tokens: Tokens,
    pub(super) faults: Faults,
    pub(super) counters: Counters,
    /// Refreshes under way, by grant.
    pub(super) refreshing: BTreeMap<u64, u32>,
    /// A round of deliveries was asked for by hand.
    pub(super) round_asked: bool,
    /// A VERIFY was asked for by hand, of these webhooks.
    pub(super) verify_asked: Vec<String>,
    /// A test was asked for by hand, of these webhooks.
    pub(super) test_asked: Vec<String>,
    /// The sequence number of the newest event.
    pub(super) sequence: i64,
    /// As it is now: knobs can be turned while it runs.
    pub(super) settings: Arc<Settings>,
    /// Chance of faults, apart from the rest: the same seed, the same bad days.
    pub(super) luck: Chance,
    pub(super) meter: Meter,
    /// Which subscription is next in a steady flow.
    pub(super) next: usize,
    pub(super) speed: f64,
    pub(super) now: Timestamp,
    started: Timestamp,
    steps: u64,
}

/// What an account's owner gets from Connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// A code only.
    V2,
    /// A user id beside the code.
    V3,
}

/// One account at a car maker; Smartcar calls it a user.
#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) email: String,
    pub(super) user_id: String,
    pub(super) generation: Generation,
    pub(super) make: &'static str,
    pub(super) vehicles: Vec<String>,
    pub(super) external_id: Option<String>,
    /// What is wrong with its cars from the moment they are connected.
    trouble: Option<Trouble>,
}

/// One vehicle an owner connected.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) id: String,
    pub(super) user_id: String,
    pub(super) vehicle_id: String,
    pub(super) permissions: Vec<String>,
    pub(super) mode: &'static str,
    pub(super) connected_at: Timestamp,
}

/// A vehicle whose state goes to the webhook.
#[derive(Clone, Debug)]
pub(super) struct Subscription {
    pub(super) id: String,
    pub(super) webhook_id: String,
    pub(super) since: Timestamp,
    pub(super) user_id: String,
    pub(super) vehicle_id: String,
    /// Bodies as last sent, by code. None: the first delivery is still due.
    pub(super) sent: Option<BTreeMap<String, Value>>,
    /// The trouble last told of, until its end is told.
    pub(super) trouble: Option<Trouble>,
    /// Rounds until it goes away by itself, if it does.
    pub(super) trouble_left: Option<u32>,
}

/// A webhook of the application.
#[derive(Clone, Debug)]
pub(super) struct Webhook {
    pub(super) id: String,
    pub(super) settings: Arc<WebhookSettings>,
    pub(super) verified: bool,
    /// A VERIFY is on its way.
    pub(super) verifying: bool,
    /// Too many events in a row were lost.
    pub(super) disabled: bool,
    /// Events in a row that were lost.
    pub(super) failures: u32,
    /// Events that have flowed steadily.
    pub(super) flowed: u64,
}

impl State {
    pub(super) fn new(settings: &Settings, now: Timestamp) -> State {
        let mut state = State {
            // With the time in it: after a restart no token and no event id comes again.
            chance: Chance::of(settings.seed, &format!("state {}", now.as_millis())),
            accounts: Vec::new(),
            cars: BTreeMap::new(),
            pasts: BTreeMap::new(),
            connections: Vec::new(),
            subscriptions: Vec::new(),
            webhooks: Vec::new(),
            tokens: Tokens::default(),
            faults: settings.faults.clone(),
            counters: Counters::default(),
            refreshing: BTreeMap::new(),
            round_asked: false,
            verify_asked: Vec::new(),
            test_asked: Vec::new(),
            sequence: 0,
            settings: Arc::new(settings.clone()),
            luck: Chance::of(settings.seed, "faults"),
            meter: Meter::default(),
            next: 0,
            now,
            speed: if settings.speed.is_finite() { settings.speed.clamp(0.001, 100_000.0) } else { 1.0 },
            started: now,
            steps: 0,
        };
        state.set_webhook(settings.webhook.clone());
        state.populate(settings.cars);
        if settings.connected {
            state.connect_the_rest();
        }
        state
    }

    /// Puts `cars` cars into accounts: Ada's two, Grace's one, then further owners with one or two.
    fn populate(&mut self, cars: usize) {
        let named = |names: &[&str]| names.iter().filter_map(|name| Model::named(name)).collect::<Vec<_>>();
        let mut left = cars;
        for (email, generation, mut models) in [
            ("ada@example.com", Generation::V2, named(&["ID.4", "Golf"])),
            ("grace@example.com", Generation::V3, named(&["XC60"])),
        ] {
            models.truncate(left);
            left -= models.len();
            self.add_account(email, generation, models);
        }
        let mut chance = Chance::of(self.settings.seed, "owners");
        let mut number = 0;
        while left > 0 {
            let count = usize::try_from(chance.whole(1, 3)).unwrap_or(1).min(left);
            left -= count;
            let first = Model::of_make(None, &mut chance);
            let models = (0..count).map(|_| Model::of_make(Some(first.make), &mut chance)).collect();
            let generation = if chance.hit(0.5) { Generation::V2 } else { Generation::V3 };
            let email = match OWNERS.get(number) {
                Some(name) => format!("{name}@example.com"),
                None => format!("owner{}@example.com", number + 1),
            };
            self.add_account(&email, generation, models);
            number += 1;
        }
    }

    /// Connects the owners after Ada and Grace, who allow everything that can be read.
    fn connect_the_rest(&mut self) {
        let rest: Vec<(String, Vec<String>)> =
            self.accounts.iter().skip(2).map(|account| (account.user_id.clone(), account.vehicles.clone())).collect();
        let scope: Vec<String> = read_permissions().into_iter().map(str::to_owned).collect();
        for (user_id, vehicles) in rest {
            self.connect(&user_id, &vehicles, &scope, "live", self.now);
        }
    }

    fn add_account(&mut self, email: &str, generation: Generation, models: Vec<&'static Model>) {
        let make = models.first().map_or("VOLKSWAGEN", |model| model.make);
        let now = self.step_time(self.steps);
        let vehicles = models.into_iter().enumerate().map(|(place, model)| {
            let chance = Chance::of(self.settings.seed, &format!("car {place} of {email}"));
            let (car, past) = grown(model, chance, now, self.settings.past);
            let id = car.vehicle_id.clone();
            self.pasts.insert(id.clone(), past);
            self.cars.insert(id.clone(), car);
            id
        });
        let vehicles = vehicles.collect();
        let user_id = Chance::of(self.settings.seed, &format!("user {email}")).uuid();
        // As in Smartcar's test mode: VEHICLE_STATE.ASLEEP@smartcar.com
        let trouble = email.strip_suffix("@smartcar.com").and_then(Trouble::named);
        self.accounts.push(Account { email: email.to_owned(), user_id, generation, make, vehicles, external_id: None, trouble });
    }

    /// The account of this e-mail. One nobody knows gets a car of `make`: any sign-in works, as with
    /// Smartcar's test mode. An e-mail that begins with `v2` makes a v2 account. None: there are too many.
    pub(super) fn sign_in(&mut self, email: &str, make: Option<&str>) -> Option<usize> {
        let email = email.trim().to_ascii_lowercase();
        if let Some(place) = self.accounts.iter().position(|account| account.email == email) {
            return Some(place);
        }
        if self.accounts.len() >= MOST_ACCOUNTS || email.len() > 254 {
            return None;
        }
        let generation = if email.starts_with("v2") { Generation::V2 } else { Generation::V3 };
        let model = Model::of_make(make, &mut Chance::of(self.settings.seed, &format!("model of {email}")));
        self.add_account(&email, generation, vec![model]);
        Some(self.accounts.len() - 1)
    }

    /// Lets the cars live until `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        self.now = now;
        let lived = now.since(self.started).mul_f64(self.speed).as_secs() / STEP_SECONDS;
        // A clock that leapt years ahead must not hold the lock for minutes.
        self.steps = self.steps.max(lived.saturating_sub(MOST_STEPS));
        if self.steps == lived {
            return;
        }
        let kept: Vec<(String, Option<Duration>)> =
            self.connections.iter().map(|one| (one.vehicle_id.clone(), self.fetched_every(&one.vehicle_id))).collect();
        while self.steps < lived {
            self.steps += 1;
            let at = self.step_time(self.steps);
            for car in self.cars.values_mut() {
                car.step(at);
            }
            for (vehicle_id, every) in &kept {
                if let Some(car) = self.cars.get_mut(vehicle_id) {
                    car.keep(*every, Timestamp::from_millis(at));
                }
            }
        }
    }

    /// When step number `step` ends, by the wall.
    fn step_time(&self, step: u64) -> i64 {
        let car_time = Duration::from_secs(step.saturating_mul(STEP_SECONDS));
        self.started.after(Duration::try_from_secs_f64(car_time.as_secs_f64() / self.speed).unwrap_or_default()).as_millis()
    }

    /// Connects vehicles of an account with what the owner grants, and subscribes them to the webhook.
    pub(super) fn connect(
        &mut self,
        user_id: &str,
        vehicles: &[String],
        permissions: &[String],
        mode: &'static str,
        now: Timestamp,
    ) {
        for vehicle_id in vehicles {
            self.connections.retain(|connection| connection.vehicle_id != *vehicle_id || connection.user_id != user_id);
            self.connections.push(Connection {
                id: self.chance.uuid(),
                user_id: user_id.to_owned(),
                vehicle_id: vehicle_id.clone(),
                permissions: permissions.to_vec(),
                mode,
                connected_at: now,
            });
            // A car in trouble stays subscribed until the end of the trouble is told.
            let before: Vec<Subscription> =
                self.subscriptions.extract_if(.., |subscription| subscription.vehicle_id == *vehicle_id).collect();
            let webhooks = self.webhooks.iter().filter(|webhook| webhook.settings.auto_subscribe);
            for webhook_id in webhooks.map(|webhook| webhook.id.clone()).collect::<Vec<_>>() {
                self.subscribe(&webhook_id, user_id, vehicle_id);
                let told = before.iter().find(|subscription| subscription.webhook_id == webhook_id);
                if let Some(subscription) = self.subscriptions.last_mut() {
                    subscription.trouble = told.and_then(|told| told.trouble.clone());
                }
            }
            if let Some(car) = self.cars.get_mut(vehicle_id) {
                car.fetch(now);
            }
        }
        self.settle(user_id);
    }

    /// The owner signed in again: what was wrong is over, unless the account is one that fails always.
    pub(super) fn settle(&mut self, user_id: &str) {
        let Some(account) = self.accounts.iter().find(|account| account.user_id == user_id) else { return };
        let (vehicles, trouble) = (account.vehicles.clone(), account.trouble.clone());
        for id in &vehicles {
            if let Some(car) = self.cars.get_mut(id) {
                let was_in_trouble = car.trouble.is_some();
                let trouble = trouble.clone().map(|trouble| trouble.about(&self.settings, id));
                car.set_trouble(trouble, self.now);
                if was_in_trouble {
                    // The sign-in works again, and the car is asked at once.
                    car.fetch(self.now);
                }
            }
            self.keep_store(id);
        }
    }

    /// Adds a subscription, with a first delivery due. False: there is one already.
    pub(super) fn subscribe(&mut self, webhook_id: &str, user_id: &str, vehicle_id: &str) -> bool {
        let same = |other: &Subscription| other.vehicle_id == vehicle_id && other.webhook_id == webhook_id;
        if self.subscriptions.iter().any(same) {
            return false;
        }
        self.subscriptions.push(Subscription {
            id: self.chance.uuid(),
            webhook_id: webhook_id.to_owned(),
            since: self.now,
            user_id: user_id.to_owned(),
            vehicle_id: vehicle_id.to_owned(),
            sent: None,
            trouble: None,
            trouble_left: None,
        });
        true
    }

    /// Ends the connections that `ends` picks, with what hangs on them. Returns them.
    pub(super) fn disconnect(&mut self, ends: impl Fn(&Connection) -> bool) -> Vec<Connection> {
        let (ended, kept) = std::mem::take(&mut self.connections).into_iter().partition::<Vec<_>, _>(ends);
        self.connections = kept;
        for connection in &ended {
            let is_of_it =
                |other: &Subscription| other.vehicle_id == connection.vehicle_id && other.user_id == connection.user_id;
            self.subscriptions.retain(|subscription| !is_of_it(subscription));
            self.tokens.forget_vehicle(&connection.user_id, &connection.vehicle_id);
        }
        ended
    }

    /// Sets the one webhook, or removes all; a new one must be verified and makes first deliveries due.
    pub(super) fn set_webhook(&mut self, settings: Option<WebhookSettings>) {
        self.webhooks.clear();
        let before = std::mem::take(&mut self.subscriptions);
        if let Some(settings) = settings {
            self.add_webhook(settings);
        }
        for subscription in &mut self.subscriptions {
            let told = before.iter().find(|told| told.vehicle_id == subscription.vehicle_id);
            subscription.trouble = told.and_then(|told| told.trouble.clone());
        }
    }

    /// One more webhook. Every vehicle is subscribed to it, now or when it is connected, if the webhook is set up so.
    pub(super) fn add_webhook(&mut self, settings: WebhookSettings) -> String {
        let (id, settings) = (self.chance.uuid(), Arc::new(settings));
        let auto_subscribe = settings.auto_subscribe;
        let webhook =
            Webhook { id: id.clone(), settings, verified: false, verifying: false, disabled: false, failures: 0, flowed: 0 };
        self.webhooks.push(webhook);
        let connected: Vec<(String, String)> =
            self.connections.iter().map(|connection| (connection.user_id.clone(), connection.vehicle_id.clone())).collect();
        for (user_id, vehicle_id) in connected.iter().filter(|_| auto_subscribe) {
            self.subscribe(&id, user_id, vehicle_id);
        }
        id
    }

    /// Removes a webhook and its subscriptions. False: there is none.
    pub(super) fn remove_webhook(&mut self, id: &str) -> bool {
        let before = self.webhooks.len();
        self.webhooks.retain(|webhook| webhook.id != id);
        self.subscriptions.retain(|subscription| subscription.webhook_id != id);
        self.webhooks.len() < before
    }

    /// The webhook, if events may go to it.
    pub(super) fn verified(&self, webhook_id: &str) -> Option<&Webhook> {
        self.webhooks.iter().find(|webhook| webhook.id == webhook_id && webhook.verified && !webhook.disabled)
    }

    pub(super) fn command(&mut self, vehicle_id: &str, command: Command, mode: &str, now: Timestamp) -> Result<(), Trouble> {
        let car = self.cars.get_mut(vehicle_id).ok_or_else(Trouble::permission)?;
        command.obey(car, mode == "simulated", now.as_millis())?;
        // It has just been reached. That its new state is in the store then is assumed.
        car.fetch(now);
        self.keep_store(vehicle_id);
        Ok(())
    }

    pub(super) fn set_trouble(&mut self, vehicle_id: &str, name: Option<&str>) -> Result<(), String> {
        let trouble = name.map(|name| Trouble::named(name).ok_or("no such trouble")).transpose()?;
        let trouble = trouble.map(|trouble| trouble.about(&self.settings, vehicle_id));
        self.cars.get_mut(vehicle_id).ok_or("no such vehicle")?.set_trouble(trouble, self.now);
        self.keep_store(vehicle_id);
        Ok(())
    }

    pub(super) fn account_of(&self, user_id: &str) -> Option<&Account> {
        self.accounts.iter().find(|account| account.user_id == user_id)
    }

    pub(super) fn connection(&self, user_id: Option<&str>, vehicle_id: &str) -> Option<&Connection> {
        let fits = |connection: &&Connection| {
            connection.vehicle_id == vehicle_id && user_id.is_none_or(|user_id| connection.user_id == user_id)
        };
        self.connections.iter().find(fits)
    }

    /// What v3 and webhooks say about a vehicle besides its id.
    pub(super) fn attributes(&self, vehicle_id: &str, mode: &str) -> Option<Value> {
        let car = self.cars.get(vehicle_id)?;
        let Model { make, name, powertrain, .. } = car.model;
        Some(json!({ "make": make, "model": name, "year": car.year, "mode": mode, "powertrainType": powertrain.word() }))
    }

    /// How many cars are connected.
    pub(super) fn connected(&self) -> usize {
        self.connections.iter().map(|connection| &connection.vehicle_id).collect::<BTreeSet<_>>().len()
    }
}

const MOST_ACCOUNTS: usize = 10_000;
/// Two months of car time.
const MOST_STEPS: u64 = 60 * 24 * 60;
const OWNERS: &[&str] =
    &["alan", "barbara", "edsger", "frances", "hedy", "joan", "katherine", "linus", "margaret", "niklaus", "radia", "tim"];
