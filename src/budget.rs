//! The ledger: no call that counts against Smartcar's plan goes out without a permit and its reason.
//!
//! A permit is on disk before the call, so that a crash can only make us call less than we may. What an answer
//! teaches of limits (429, 430, `Retry-After`) is kept too. Token calls need no permit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::metrics::Metrics;
use crate::model::budget::{APPLICATION, Lesson, Permit, Pool, Reason, Spent, month};
use crate::model::reach::Reach;
use crate::model::{Timestamp, VehicleId, in_words};
use crate::smartcar::{SmartcarError, needs_permit};
use crate::store::budget::{NoteCalls, TakeCall, Taken};
use crate::store::{Snapshot, Store, StoreError};
use crate::world::World;

mod view;

pub use view::{ApplicationBudget, BudgetView, Called, Plan, VehicleBudget};

/// What the plan allows.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls for each vehicle and month; `None`: as many as one likes.
    pub calls_per_vehicle_month: Option<u32>,
    /// How many of them are kept for commands and for reading what was missed.
    pub reserve: u32,
    /// The day of the month on which Smartcar counts anew, 1 to 28.
    pub reset_day: i8,
}

/// Why a call may not be made. Shown, it says what can be done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The month's calls are spent.
    #[error("{}: it opens again in {}, on {}{}", spent(*.told), in_words(*.after), until.plain(), remedy(*.told))]
    MonthIsOver {
        /// After how many calls Smartcar has said so itself, if it has.
        told: Option<u32>,
        /// When the next month begins.
        until: Timestamp,
        /// How long that is from now.
        after: Duration,
    },
    /// What is left is kept for commands and for reading what was missed.
    #[error(
        "what is left of this month's calls for this car is kept for commands and for reading what was missed \
         (budget.reserve): it opens again in {}, on {}",
        in_words(*.after), until.plain()
    )]
    Reserved {
        /// When the next month begins.
        until: Timestamp,
        /// How long that is from now.
        after: Duration,
    },
    /// What tokens that may only read can have of the month's calls is spent.
    #[error(
        "what tokens of scope `read` can have of this month's calls for this car is spent: it opens again in {}, on {}; a \
         token of scope `control` can have the rest now",
        in_words(*.after), until.plain()
    )]
    ShareIsSpent {
        /// When the next month begins.
        until: Timestamp,
        /// How long that is from now.
        after: Duration,
    },
    /// Smartcar wants to be left alone about this vehicle.
    #[error("Smartcar asks to leave this car alone: try again in {}", in_words(*.after))]
    VehicleRests {
        /// How long.
        after: Duration,
    },
    /// Smartcar wants to be left alone, or would soon.
    #[error("{}: try again in {}", .why.words(), in_words(*.after))]
    ApplicationRests {
        /// Why.
        why: Held,
        /// How long.
        after: Duration,
    },
    /// The ledger cannot be written, so nothing is called.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn spent(told: Option<u32>) -> String {
    let spent = "the calls of this month for this car are spent";
    match told {
        None => spent.to_owned(),
        Some(1) => format!("{spent}, as Smartcar itself has said after 1 call"),
        Some(calls) => format!("{spent}, as Smartcar itself has said after {calls} calls"),
    }
}

fn remedy(told: Option<u32>) -> &'static str {
    match told {
        None => ". budget.calls_per_vehicle_month may be as many as your plan allows; another number needs a restart",
        Some(_) => {
            "; if your plan allows more by now, write another number than before into budget.calls_per_vehicle_month, and \
             restart Carport: under the same number, what Smartcar has said holds"
        }
    }
}

/// Why the whole application waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held {
    /// Smartcar has refused its calls, and few have come back since.
    Refused,
    /// As many calls were made as Smartcar allows.
    Spent,
    /// The few that are left are left to others.
    LeftToOthers,
}

impl Held {
    fn words(self) -> &'static str {
        match self {
            Held::Refused => {
                "Smartcar has refused the calls of the whole application (429), and lets them come back by 2 a minute"
            }
            Held::Spent => "Carport has made as many calls as Smartcar allows the whole application",
            Held::LeftToOthers => {
                "of the calls that Smartcar allows the whole application, tokens of scope `read` leave the last 30 to others"
            }
        }
    }
}

impl Refused {
    fn month(spent: Spent, until: Timestamp, now: Timestamp) -> Refused {
        let after = until.since(now);
        match spent {
            Spent::Whole { told } => Refused::MonthIsOver { told, until, after },
            Spent::ButKept => Refused::Reserved { until, after },
        }
    }

    /// How long to wait.
    pub fn after(&self) -> Duration {
        match self {
            Refused::MonthIsOver { after, .. }
            | Refused::Reserved { after, .. }
            | Refused::ShareIsSpent { after, .. }
            | Refused::VehicleRests { after }
            | Refused::ApplicationRests { after, .. } => *after,
            Refused::Store(_) => Duration::from_secs(5),
        }
    }
}

/// The ledger. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    settings: Arc<Settings>,
    store: Store,
    world: World,
    metrics: Arc<Metrics>,
    /// Requests that count for the application only and are not in the store yet.
    aside: Arc<AtomicU32>,
}

impl Budget {
    /// The ledger in `store`.
    pub fn new(settings: Settings, store: Store, world: World, metrics: Arc<Metrics>) -> Budget {
        Budget { settings: Arc::new(settings), store, world, metrics, aside: Arc::default() }
    }

    /// A request went out to `endpoint`, with a permit or without.
    pub fn observe(&self, endpoint: &'static str) {
        let is_data = endpoint.starts_with("v2.") || endpoint.starts_with("v3.");
        if is_data && !needs_permit(endpoint) {
            self.aside.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The leave to make one call that is about no vehicle: the application's bucket counts it.
    pub async fn permit_application(&self, reason: Reason) -> Result<Permit, Refused> {
        self.permit(APPLICATION, reason).await
    }

    /// The leave to make one call about the vehicle in row `vehicle`. It is counted when this returns.
    pub async fn permit(&self, vehicle: u32, reason: Reason) -> Result<Permit, Refused> {
        let at = self.world.now();
        let (since, until) = month(at, self.settings.reset_day);
        let Settings { calls_per_vehicle_month: limit, reserve, .. } = *self.settings;
        let aside = self.aside.swap(0, Ordering::Relaxed);
        let half = || limit.map(|limit| limit.saturating_sub(reserve).div_ceil(2));
        let (share, leaves) = (if reason.leaves_a_share() { half() } else { None }, reason.leaves());
        let taken = self.store.commit(TakeCall { vehicle, reason, at, since, limit, reserve, aside, share, leaves }).await;
        if taken.is_err() {
            self.aside.fetch_add(aside, Ordering::Relaxed);
        }
        match taken? {
            Taken::Granted { car, rested } => Ok(Permit::granted(vehicle, reason, rested).about(car)),
            Taken::Spent(spent) => Err(Refused::month(spent, until, at)),
            Taken::ShareIsSpent => Err(Refused::ShareIsSpent { until, after: until.since(at) }),
            Taken::VehicleRests(until) => Err(Refused::VehicleRests { after: until.since(at) }),
            Taken::ApplicationRests { until, told } => {
                let why = match told {
                    true => Held::Refused,
                    false if reason.leaves_a_share() => Held::LeftToOthers,
                    false => Held::Spent,
                };
                Err(Refused::ApplicationRests { why, after: until.since(at) })
            }
        }
    }

    /// Leave for a further call of a read that is under way, which is sent at once.
    pub async fn further(&self, vehicle: u32, reason: Reason) -> Result<Permit, Refused> {
        let permit = self.permit(vehicle, reason).await?;
        self.metrics.calls(reason.as_str(), 1);
        Ok(permit)
    }

    /// Keeps what really went out under a permit, and what Smartcar's answer, or its error, taught. A permit that is
    /// never settled has cost one call.
    pub async fn settle(&self, permit: &Permit, error: Option<&SmartcarError>) {
        let (sent, lesson) = (permit.sent(), lesson(permit, error));
        self.metrics.calls(permit.reason.as_str(), sent);
        if sent != 1 || lesson.is_some() {
            self.note(permit, sent, lesson).await;
        }
    }

    /// Keeps what the error of a call that needs no permit taught. It was about the vehicle in row `vehicle`, or about none.
    pub async fn hear(&self, vehicle: u32, error: &SmartcarError) {
        if let Some(lesson) = limit(error) {
            // One request went out, as many as a permit has counted before: so nothing is counted here.
            self.note(&Permit::granted(vehicle, Reason::Request, false), 1, Some(lesson)).await;
        }
    }

    /// Refuses what needs no permit, while Smartcar wants the whole application to be left alone.
    pub async fn may_ask(&self) -> Result<(), Refused> {
        let (budget, at) = (self.clone(), self.world.now());
        let pool = self.store.read(move |snapshot| budget.pool(snapshot, at)).await?;
        match pool.rest(at) {
            Some(_) => Err(Refused::ApplicationRests { why: Held::Refused, after: pool.opens_at(0).since(at) }),
            None => Ok(()),
        }
    }

    async fn note(&self, permit: &Permit, sent: u32, lesson: Option<Lesson>) {
        let at = self.world.now();
        let (since, _) = month(at, self.settings.reset_day);
        let (vehicle, car) = (permit.vehicle, permit.car.clone());
        let configured = self.settings.calls_per_vehicle_month.into();
        let note = NoteCalls { vehicle, reason: permit.reason, at, since, sent, lesson, car, configured };
        if let Err(error) = self.store.commit(note).await {
            tracing::warn!(%error, "what a call has cost is not kept");
        }
    }

    /// What was called about a vehicle, which is in row `row`, and what is left.
    pub fn account(&self, snapshot: &Snapshot<'_>, row: u32, vehicle: VehicleId) -> Result<Plan, StoreError> {
        let now = self.world.now();
        let (since, until) = month(now, self.settings.reset_day);
        let account = VehicleBudget::of(vehicle, snapshot.ledger(row, since)?, &self.settings, (now, until));
        Ok(Plan { account, reserve: self.settings.reserve, since, until, pool: self.pool(snapshot, now)? })
    }

    /// The application's bucket as it is now.
    fn pool(&self, snapshot: &Snapshot<'_>, now: Timestamp) -> Result<Pool, StoreError> {
        let (pool, aside) = (snapshot.pool()?.at(now), u64::from(self.aside.load(Ordering::Relaxed)));
        Ok(Pool { level: pool.level.saturating_sub(aside * 1000), ..pool })
    }

    /// What a limit of Smartcar's own means for whoever asked about the vehicle in row `row`, or about none, as it will be told
    /// to whoever asks next; `None` if `error` is of none. The answer must have been settled, or heard.
    pub async fn refusal(&self, row: u32, error: &SmartcarError) -> Option<Refused> {
        let lesson = limit(error)?;
        let at = self.world.now();
        let (since, until) = month(at, self.settings.reset_day);
        let budget = self.clone();
        let look = self.store.read(move |snapshot| Ok((snapshot.ledger(row, since)?, budget.pool(snapshot, at)?)));
        let (ledger, pool) = look.await.ok()?;
        let refused = match lesson {
            Lesson::MonthIsOver if row != APPLICATION => {
                let told = ledger.learnt(self.settings.calls_per_vehicle_month);
                Refused::month(Spent::Whole { told }, until, at)
            }
            Lesson::Good | Lesson::MonthIsOver => return None,
            Lesson::VehicleRests { .. } => Refused::VehicleRests { after: ledger.rests_until.since(at) },
            Lesson::ApplicationRests { .. } => {
                Refused::ApplicationRests { why: Held::Refused, after: pool.opens_at(0).since(at) }
            }
        };
        Some(refused).filter(|refused| !refused.after().is_zero())
    }

    /// The application's bucket as it is now, and when the next month of the plan begins.
    pub async fn application(&self) -> Result<(ApplicationBudget, Timestamp), StoreError> {
        let (budget, now) = (self.clone(), self.world.now());
        let bucket = self.store.read(move |snapshot| Ok(ApplicationBudget::of(&budget.pool(snapshot, now)?))).await?;
        Ok((bucket, month(now, self.settings.reset_day).1))
    }

    /// How many calls of a vehicle's month are kept for commands and for reading what was missed.
    pub fn reserve(&self) -> u32 {
        self.settings.reserve
    }

    /// What was called, and what is left, of the vehicles within reach.
    pub async fn show(&self, reach: &Reach) -> Result<BudgetView, StoreError> {
        let now = self.world.now();
        let (budget, settings) = (self.clone(), self.settings.clone());
        let (since, until) = month(now, settings.reset_day);
        let reach = reach.clone();
        let look = move |snapshot: &Snapshot<'_>| {
            let application = ApplicationBudget::of(&budget.pool(snapshot, now)?);
            let mut items = Vec::new();
            for (row, vehicle) in snapshot.vehicles(0, usize::MAX)? {
                // What a former owner's car has cost counts for the one who has it.
                if reach.covers(&vehicle) && !snapshot.is_former(row, &vehicle)? {
                    let ledger = snapshot.ledger(row, since)?;
                    items.push(VehicleBudget::of(vehicle.facts.id, ledger, &settings, (now, until)));
                }
            }
            Ok(BudgetView {
                since,
                until,
                calls_per_vehicle_month: settings.calls_per_vehicle_month,
                reserve: settings.reserve,
                // It tells of everybody's calls.
                application: matches!(reach, Reach::All).then_some(application),
                items,
                next: None,
            })
        };
        self.store.read(look).await
    }
}

fn lesson(permit: &Permit, error: Option<&SmartcarError>) -> Option<Lesson> {
    match error {
        Some(error) => limit(error),
        None => (permit.rested && permit.sent() > 0).then_some(Lesson::Good),
    }
}

/// The limit that an error tells of.
fn limit(error: &SmartcarError) -> Option<Lesson> {
    let after = match error {
        SmartcarError::Later { after, .. } => after.map(|after| after.as_secs().max(1)),
        _ => None,
    };
    let what = error.failure();
    match (what.kind.as_deref(), what.code.as_deref(), what.status) {
        (Some("BILLING"), Some("VEHICLE_REQUEST_LIMIT"), _) => Some(Lesson::MonthIsOver),
        (Some("RATE_LIMIT"), Some("VEHICLE"), _) => Some(Lesson::VehicleRests { seconds: after }),
        // Manufacturers want to be asked every 30 minutes at most.
        (Some("UPSTREAM"), Some("RATE_LIMIT"), _) => Some(Lesson::VehicleRests { seconds: after.or(Some(1800)) }),
        (Some("RATE_LIMIT"), _, _) | (_, _, Some(429)) => Some(Lesson::ApplicationRests { seconds: after }),
        _ => None,
    }
}
