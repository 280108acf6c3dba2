//! Where we listen, and what is shown there.

use super::{AppError, settings};
use crate::config::Config;
use crate::supervisor::Supervisor;
use crate::tls::Tls;
use crate::web::Face;
use crate::web::server::{Listen, Listener};

/// What is configured to be listened at.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    Listen,
    Private,
    Http,
}

pub(super) fn places(config: &Config) -> impl Iterator<Item = (Place, Listen)> {
    let listen = config.listen.iter().map(|listen| (Place::Listen, settings::listen(listen)));
    let private = config.private_listen.iter().map(|listen| (Place::Private, settings::listen(listen)));
    let http = config.http_listen.iter().map(|address| (Place::Http, Listen::Tcp(*address)));
    listen.chain(private).chain(http)
}

pub(super) async fn bind(
    places: impl Iterator<Item = (Place, Listen)>,
    supervisor: &Supervisor,
) -> Result<Vec<(Place, Listener)>, AppError> {
    let mut bound = Vec::new();
    for (place, listen) in places {
        let handed = if let Listen::Tcp(address) = listen { supervisor.take(address) } else { None };
        let listener = match handed {
            Some(socket) => Listener::adopt(socket),
            None => Listener::bind(&listen).await,
        };
        bound.push((place, listener.map_err(|error| AppError::Bind { listen: settings::place(&listen), error })?));
    }
    Ok(bound)
}

/// What a listener shows, and whether it speaks TLS.
pub(super) fn dress(config: &Config, place: Place, listener: Listener, tls: Option<&Tls>) -> Listener {
    let is_loopback = listener.address().is_some_and(|address| address.ip().is_loopback());
    let listener = match (place, tls) {
        (Place::Http, Some(tls)) => return listener.facing(Face::Way(tls.clone())),
        (Place::Listen, _) if !config.private_listen.is_empty() => listener.facing(Face::Public { api: config.public_api }),
        _ => listener,
    };
    match tls {
        Some(tls) if !(is_loopback && matches!(place, Place::Private)) => listener.over(tls),
        _ => listener,
    }
}
