//! The webhook log.

use serde_json::json;

use super::super::Call;
use super::super::answer::{self, Answer};
use super::super::problem::Problem;
use crate::ingest::Refusal;
use crate::model::reach::Reach;
use crate::model::{Seq, VehicleId};
use crate::operate::deliveries::{DeliveryQuery, DeliveryResult};

/// `GET webhooks?vehicle=&type=&result=&id=&before=&limit=`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let before = query.take("before").map(|text| text.parse().map(Seq)).transpose();
    let (since, until) = query.period(call.services.world.now())?;
    let wanted = DeliveryQuery {
        vehicle: query.take("vehicle").map(VehicleId::new),
        kind: query.take("type"),
        result: query.one_of("result", &DeliveryResult::WORDS)?.map(str::to_owned),
        id: query.take("id"),
        since,
        until,
        before: before.map_err(|_| Problem::bad_request("`before` must be the number of an entry."))?,
        limit: query.limit()?,
        looks: None,
    };
    query.finish()?;
    let (deliveries, reach) = (&call.services.rooms.deliveries, call.reach()?);
    deliveries.check(reach, &wanted).await?;
    answer::ok(&deliveries.list(reach, wanted).await?)
}

/// `GET webhooks/refused`
pub(in crate::web) fn refused(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&json!({ "items": refused_within(call)?, "next": null }))
}

/// The refused ones belong to nobody, so a bound caller sees none.
pub(in crate::web) fn refused_within(call: &Call<'_>) -> Result<Vec<Refusal>, Problem> {
    Ok(match call.reach()? {
        Reach::All => call.services.rooms.deliveries.refused(),
        Reach::User(_) | Reach::Vehicle(_) => Vec::new(),
    })
}

/// `GET webhooks/{seq}`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    call.no_query()?;
    answer::ok(&call.services.rooms.deliveries.show(call.reach()?, seq(call)?).await?)
}

/// `POST webhooks/{seq}/replay`
pub(in crate::web) async fn replay(call: &Call<'_>) -> Answer {
    call.no_query()?;
    let seq = seq(call)?;
    // What is out of reach does not exist.
    call.services.rooms.deliveries.show(call.reach()?, seq).await?;
    answer::ok(&call.services.rooms.deliveries.replay(seq).await?)
}

/// The place that the path names.
pub(in crate::web) fn seq(call: &Call<'_>) -> Result<Seq, Problem> {
    call.named(0)?.parse().map(Seq).map_err(|_| Problem::not_found())
}
