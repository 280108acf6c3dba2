//! The dashboard's handlers: gather what a page shows, and let `dashboard` draw it.

use std::time::Duration;

use http::header::ALLOW;
use http::{HeaderValue, StatusCode};

use self::within::Within;
use super::answer::{self, Answer};
use super::dashboard::{AuditPage, CarsPage, InvitePage, Part, Shell, Tab, WebhookAddressPage};
use super::flash::{self, Looks};
use super::problem::Problem;
use super::{Call, Services, exchange};
use crate::connect::InviteRequest;
use crate::model::reach::{PageRequest, Reach};
use crate::model::{AppUserId, VehicleId};
use crate::operate::deliveries::DeliveryQuery;
use crate::vehicles::VehicleName;
use crate::vehicles::connections::ConnectionView;

pub(super) mod car;
pub(super) mod connections;
pub(super) mod setup;
pub(super) mod system;
pub(super) mod webhooks;
mod within;

/// `GET /?page=`
pub(super) async fn cars(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let page = query.take("page");
    query.finish()?;
    let names = names(call).await?;
    let part = Part::of(page.as_deref(), names.len());
    let shown = call.services.rooms.vehicles.named(call.reach()?, part.cut(&names)).await?;
    let vehicles: Vec<_> = shown.into_iter().map(|vehicle| car::to_taste(call, vehicle)).collect();
    let connections = match call.reach()? {
        Reach::All => call.services.rooms.vehicles.connections_of(&Reach::All, &vehicles).await?,
        // What the status tells them follows from all of theirs.
        Reach::User(_) | Reach::Vehicle(_) => all_connections(call).await?,
    };
    let newest = DeliveryQuery { limit: 5, ..DeliveryQuery::default() };
    let deliveries = call.services.rooms.deliveries.list(call.reach()?, newest).await?;
    let status = status(call, &connections).await?;
    let page = CarsPage {
        shell: call.shell(Tab::Cars),
        names: &names,
        part,
        vehicles: &vehicles,
        connections: &connections,
        deliveries: &deliveries.items,
        missing: &status.missing,
        notices: &status.notices,
    };
    Ok(answer::html(StatusCode::OK, page.render()))
}

/// `GET /audit?before=`
pub(super) async fn audit(call: &Call<'_>) -> Answer {
    let mut query = call.query()?;
    let before = query.take("before").and_then(|text| text.parse().ok());
    query.finish()?;
    let part = call.services.rooms.audit.list(before, 50).await?;
    let page = AuditPage {
        shell: call.shell(Tab::System),
        entries: &part.items,
        older: part.next.and_then(|next| next.parse().ok()),
        later_part: before.is_some(),
        names: &names(call).await?,
    };
    Ok(answer::html(StatusCode::OK, page.render()))
}

/// `POST /connect`: an invite, shown as a link; perhaps one for another permission of a car. Not a redirect: with `form-action 'self'` browsers would
/// not let a form end at Smartcar.
pub(super) async fn connect(call: &Call<'_>) -> Answer {
    let mut form = call.own_form()?;
    let (vehicle, added) = (form.take("vehicle").map(VehicleId::new), form.take("add_scope"));
    form.finish()?;
    let again = match &vehicle {
        Some(id) => Some(call.services.rooms.vehicles.show(call.reach()?, id).await?),
        None => None,
    };
    let user = match &again {
        Some(vehicle) => vehicle.user.clone(),
        None => exchange::bound(call.reach()?, None)?.unwrap_or_else(|| AppUserId::new(OWNER)),
    };
    call.noting.add(user.as_str());
    let scope = match added.clone() {
        Some(added) => Some(call.services.rooms.connect.with_added(vehicle.as_ref(), vec![added]).await?),
        None => None,
    };
    let request = InviteRequest {
        user,
        create: *call.reach()? == Reach::All,
        expires_in: INVITE_TIME,
        vehicle,
        mode: None,
        scope,
        make: None,
        force: false,
        redirect_uri: None,
    };
    let invite = call.services.rooms.connect.invite(request).await?;
    let page = InvitePage {
        shell: call.shell(Tab::Cars),
        invite: &invite,
        again: again.as_ref(),
        added: added.as_deref(),
        only_here: system::is_only_here(&invite.url),
    };
    flash::answer(call, Looks::Any, page.render())
}

/// A browser opened the webhook's address.
pub(super) fn webhook_address(services: &Services, allow: &str) -> Answer {
    let shell = Shell::outside(services.world.now());
    let mut response = answer::html(StatusCode::METHOD_NOT_ALLOWED, WebhookAddressPage { shell }.render());
    response.headers_mut().insert(ALLOW, HeaderValue::try_from(allow).map_err(|_| Problem::not_found())?);
    Ok(response)
}

/// Something is not done until somebody says that it is meant.
fn not_sure(button: &str) -> Problem {
    Problem::bad_request(format!("Tick the box that says that you are sure, then press {button} again."))
}

/// What the cars within reach are called, as many as pages know of.
async fn names(call: &Call<'_>) -> Result<Vec<VehicleName>, Problem> {
    Ok(call.services.rooms.vehicles.names(call.reach()?, MOST).await?)
}

async fn all_connections(call: &Call<'_>) -> Result<Vec<ConnectionView>, Problem> {
    Ok(call.services.rooms.vehicles.connections(call.reach()?, first_page()).await?.items)
}

/// The status, as far as it concerns the caller.
async fn status(call: &Call<'_>, connections: &[ConnectionView]) -> Result<Within, Problem> {
    let status = call.services.rooms.status.show().await;
    Ok(match call.reach()? {
        Reach::All => Within::whole(status),
        Reach::User(_) | Reach::Vehicle(_) => Within::of(status, connections),
    })
}

fn first_page() -> PageRequest {
    PageRequest { cursor: None, limit: MOST }
}

/// How many cars, connections and users pages know of.
const MOST: usize = 500;

/// The user whom a single household needs no name for.
pub(super) const OWNER: &str = "owner";

/// How long an invite may be used if nobody says otherwise.
pub(super) const INVITE_TIME: Duration = Duration::from_secs(24 * 3600);
