//! What comes late about a vehicle that was erased meanwhile: nothing is kept under its row, and its month goes on.

use carport::model::ConnectionId;
use carport::model::budget::{Configured, Lesson, Reason};
use carport::model::subscription::Subscription;
use carport::model::vehicle::VehicleFacts;
use carport::store::budget::{NoteCalls, TakeCall, Taken};
use carport::store::connections::LinkVehicles;
use carport::store::subscriptions::NoteSubscription;
use carport::store::vehicles::ForgetVehicle;

use super::deeds::{car, user};
use super::disk::{Chance, Disk};
use super::pages::link;
use super::{BEGIN, now, open};

#[test]
fn what_comes_late_revives_nothing() {
    let mut chance = Chance::new(3660);
    let store = open(&Disk::new(chance.split()), &mut chance).unwrap();
    link(&store);
    let connection = ConnectionId(uuid::Uuid::from_u128(1));
    let connection = now(store.read(move |snapshot| snapshot.connection(connection))).unwrap().unwrap();
    let take = TakeCall {
        vehicle: 1,
        reason: Reason::Request,
        at: BEGIN,
        since: BEGIN,
        limit: None,
        reserve: 0,
        aside: 0,
        share: None,
        leaves: 0,
    };
    let taken = now(store.commit(take)).unwrap();
    assert_eq!(taken, Taken::Granted { car: Some(car(0)), rested: false });
    now(store.commit(ForgetVehicle::of(user(0), car(0), true, BEGIN))).unwrap();
    let (reason, lesson) = (Reason::Request, Some(Lesson::VehicleRests { seconds: Some(60) }));
    let note = NoteCalls {
        vehicle: 1,
        reason,
        at: BEGIN,
        since: BEGIN,
        sent: 3,
        lesson,
        car: Some(car(0)),
        configured: Configured::Unlimited,
    };
    now(store.commit(note)).unwrap();
    let (id, connected_at) = (connection.id, connection.connected_at);
    let subscription = Subscription { webhook: "webhook".to_owned(), connection: id, connected_at, at: BEGIN };
    now(store.commit(NoteSubscription { vehicle: 1, subscription })).unwrap();
    let again = connection.clone();
    let left = |vehicle: u32| {
        let connection = connection.clone();
        let look =
            store.read(move |snapshot| Ok((snapshot.ledger(vehicle, BEGIN)?, snapshot.subscription(vehicle, &connection)?)));
        let (ledger, subscription) = now(look).unwrap();
        (ledger.used, ledger.rests_until > BEGIN, subscription.is_some())
    };
    assert_eq!(left(1), (0, false, false));
    now(store.commit(LinkVehicles::new(again, vec![VehicleFacts::unknown(car(0))], BEGIN))).unwrap();
    assert_eq!(left(2), (3, true, false), "the month goes on");
}
