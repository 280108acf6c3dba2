//! All that can happen to stored state: the registry by which the journal finds a change again.
//!
//! A name, and the fields of a change, are read by later versions of Carport: a change keeps both, gets
//! new fields only with a default, and stays here for as long as a journal may hold it.

use super::access::{
    PutApiToken, PutSignInLink, RevokeApiToken, RevokeSession, SetPassword, SignIn, SignInByPassword, TouchSession,
};
use super::attempts::{EndTrip, OpenAttempt, PutInvite, TakeAttempt};
use super::audit::{EndAudit, NoteAudit};
use super::budget::{NoteCalls, TakeCall};
use super::certificates::{KeepAccount, KeepCertificate, KeepFailures};
use super::commands::{BeginCommand, EndCommand};
use super::connections::{AdoptConnection, EndConnection, HandOver, LinkVehicles, MarkConnection, NoteGoodRead};
use super::former::{EraseFormer, EraseUnreadable};
use super::gaps::{NoteAlive, NoteGap, NoteUnproven};
use super::journal::Record;
use super::made::KeepSettings;
use super::notices::{EndNotice, GiveNotice};
use super::retention::TrimHistory;
use super::rotation::{BeginRefresh, PostponeRefresh, RefuseTokens};
use super::subscriptions::NoteSubscription;
use super::switching::{DropSpare, SwitchGeneration};
use super::tables::from_cbor;
use super::tellings::{ApplyReadings, NoteGrammar};
use super::tokens::{DropDue, DropOrphaned, Reschedule, RotateTokens};
use super::users::{PutUser, RemoveUser};
use super::vehicles::{ForgetVehicle, NoteFacts, PictureTaken, RenameVehicle};
use super::webhook_log::{NoteVerify, RecordDelivery};
use super::{Change, StoreError, Tables};

/// What a change is called in the journal.
pub trait Named {
    /// Its name.
    const NAME: &'static str;
}

macro_rules! changes {
    ($($change:ident),+ $(,)?) => {
        $(impl Named for $change {
            const NAME: &'static str = stringify!($change);
        })+

        /// Applies a change from the journal. `None` if it cannot be read.
        pub(super) fn replay(record: &Record, tables: &mut Tables<'_>) -> Option<Result<(), StoreError>> {
            match record.0.as_str() {
                $($change::NAME => Some(from_cbor::<$change>(&record.1.0)?.apply(tables).map(drop)),)+
                _ => None,
            }
        }
    };
}

changes! {
    PutUser, RemoveUser,
    PutInvite, OpenAttempt, TakeAttempt, EndTrip,
    AdoptConnection, LinkVehicles, HandOver, MarkConnection, NoteGoodRead, EndConnection,
    RotateTokens, Reschedule, DropDue, BeginRefresh, PostponeRefresh, RefuseTokens,
    RenameVehicle, NoteFacts, PictureTaken, ForgetVehicle, EraseFormer, EraseUnreadable,
    RecordDelivery, NoteVerify, ApplyReadings, NoteGrammar, TrimHistory,
    GiveNotice, EndNotice,
    NoteAlive, NoteGap, NoteUnproven,
    TakeCall, NoteCalls,
    BeginCommand, EndCommand, NoteSubscription, SwitchGeneration, DropSpare, DropOrphaned,
    KeepCertificate, KeepAccount, KeepFailures, KeepSettings,
    PutApiToken, RevokeApiToken, PutSignInLink, SignIn, TouchSession, RevokeSession, SetPassword,
    SignInByPassword, NoteAudit, EndAudit,
}
