//! The pages of the webhook log.

use super::super::answer::{self, Answer};
use super::super::dashboard::{DeliveryPage, Done, Filters, Shell, Tab, WebhooksPage};
use super::super::problem::Problem;
use super::super::{Call, api};
use super::names;
use crate::model::reach::Reach;
use crate::model::{Seq, VehicleId};
use crate::operate::deliveries::{DeliveriesError, DeliveryQuery};
use crate::vehicles::VehiclesError;

/// `GET /webhooks?vehicle=&type=&result=&find=&before=`
pub(in crate::web) async fn list(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let before = query.take("before").and_then(|text| text.parse().ok()).map(Seq);
    let filters = Filters {
        vehicle: query.take("vehicle"),
        kind: query.take("type"),
        result: query.take("result"),
        find: query.take("find").map(|text| text.trim().to_owned()).filter(|text| !text.is_empty()),
    };
    query.finish()?;
    if let Some(seq) = filters.find.as_deref().and_then(place) {
        return answer::see_other(&format!("/webhooks/{seq}"));
    }
    let wanted = DeliveryQuery {
        vehicle: filters.vehicle.as_deref().map(VehicleId::new),
        kind: filters.kind.clone(),
        result: filters.result.clone(),
        id: filters.find.clone(),
        before,
        limit: 50,
        looks: Some(LOOKS),
        ..DeliveryQuery::default()
    };
    let deliveries = call.services.rooms.deliveries.list(call.reach()?, wanted).await?;
    let names = names(call).await?;
    // Of the log as a whole only those hear who reach all of it.
    let status = match call.reach()? {
        Reach::All => Some(call.services.rooms.status.show().await.webhooks),
        Reach::User(_) | Reach::Vehicle(_) => None,
    };
    let refused = api::webhooks::refused_within(call)?;
    let webhook_url = call.services.settings.webhook_url();
    let page = WebhooksPage {
        shell: call.shell(Tab::Webhooks),
        deliveries: &deliveries.items,
        older: deliveries.next.and_then(|next| next.parse().ok()).map(Seq),
        later_part: before.is_some(),
        filters: &filters,
        status: status.as_ref(),
        refused: &refused,
        names: &names,
        webhook_url: &webhook_url,
    };
    Ok(answer::html(http::StatusCode::OK, page.render()))
}

/// `GET /webhooks/{seq}`, after a replay `?done=replayed`
pub(in crate::web) async fn show(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let done = query.take("done").and_then(|word| Done::parse(&word, &[Done::REPLAYED]));
    query.finish()?;
    let seq = api::webhooks::seq(call)?;
    let delivery = call.services.rooms.deliveries.show(call.reach()?, seq).await.map_err(absent)?;
    let made = call.services.rooms.deliveries.made_of(call.reach()?, seq).await?;
    let vehicle = match &delivery.vehicle {
        Some(id) => match call.services.rooms.vehicles.show(call.reach()?, id).await {
            Ok(vehicle) => Some(vehicle),
            Err(VehiclesError::NotFound) => None,
            Err(other) => return Err(other.into()),
        },
        None => None,
    };
    let page = DeliveryPage {
        shell: Shell { done, ..call.shell(Tab::Webhooks) },
        delivery: &delivery,
        made: made.as_ref(),
        taste: super::car::taste(call),
        vehicle: vehicle.as_ref(),
    };
    Ok(answer::html(http::StatusCode::OK, page.render()))
}

/// `POST /webhooks/{seq}`: turns it into vehicle data again.
pub(in crate::web) async fn replay(call: &Call<'_>) -> Answer {
    call.pressed()?;
    let seq = api::webhooks::seq(call)?;
    // What is out of reach does not exist.
    call.services.rooms.deliveries.show(call.reach()?, seq).await.map_err(absent)?;
    call.services.rooms.deliveries.replay(seq).await?;
    answer::see_other(&format!("/webhooks/{seq}?done={}", Done::REPLAYED.word))
}

/// In the words of the page: who came by an old link or a number of their own is told why there is nothing.
fn absent(error: DeliveriesError) -> Problem {
    let is_absent = matches!(error, DeliveriesError::NotFound);
    let problem = Problem::from(error);
    if !is_absent {
        return problem;
    }
    problem.saying("This delivery is not in the log. It was dropped to make room for newer ones, or there never was one.")
}

/// How far back a page looks for what was asked: further back it is asked again.
const LOOKS: usize = 2_000;

/// The place in the log that somebody typed, such as `#42`.
fn place(text: &str) -> Option<u64> {
    text.strip_prefix('#').unwrap_or(text).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_place_and_an_id_is_not() {
        assert_eq!((place("#42"), place("42")), (Some(42), Some(42)));
        for text in ["0199c7f2-8a10-7c31-9d1e-aabbccddeeff", "#", "-1", "##2"] {
            assert_eq!(place(text), None, "{text}");
        }
    }
}
