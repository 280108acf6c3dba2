//! `demo`: Carport without an account, a car or a network.

use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, header};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::args::Serve;
use super::print::announce;
use super::wiring::{Hangup, SIGN_IN, until_told, world};
use super::{Exit, Failure, descriptors};
use crate::app::{self, App, AppError};
use crate::config::{Config, Environment, Overrides, Sources, load};
use crate::connect::InviteRequest;
use crate::model::AppUserId;
use crate::operate::access::{Scope, TokenRequest};
use crate::operate::audit::{Done, Ring};
use crate::simulator::{Application, Settings, Simulator, WebhookSettings};
use crate::web::Services;
use crate::world::World;

/// What a gateway asks for by default, and commands: they are tried best on cars of nobody.
const SCOPE: &str = "read_vehicle_info,read_vin,read_odometer,read_battery,read_charge,read_fuel,read_location,read_security,\
                     read_tires,read_engine_oil,control_charge,control_security,control_navigation";

/// Owners of the demonstration: our id, and the account they sign in with at the simulated manufacturer.
const OWNERS: [(&str, &str); 2] = [("ada", "ada@example.com"), ("grace", "grace@example.com")];

/// Runs gateway and simulator in one process, connects the owners' cars through the real routes, and lets
/// webhooks flow. Without a data directory everything is forgotten at the end.
pub(super) async fn demo(flags: Serve, data_dir: Option<PathBuf>, environment: &Environment) -> Result<(), Failure> {
    let (wishes, others) = environment.parted(TRIED);
    if !others.is_empty() {
        eprintln!("The demonstration has settings of its own, and leaves aside {}", others.join(", "));
    }
    let world = world()?;
    let passing = if data_dir.is_none() { Some(passing(&world)?) } else { None };
    // To the end: by this others know that the directory is in use.
    let (temporary, _held) = passing.unzip();
    let data_dir = data_dir.or_else(|| temporary.clone()).unwrap_or_default();
    let forget = move || temporary.iter().for_each(|directory| drop(fs::remove_dir_all(directory)));
    let shutdown = until_told(Hangup::Stops, forget.clone())?;
    let result = play(&flags, &data_dir, wishes, world, shutdown).await;
    forget();
    result
}

/// A directory that is forgotten at the end, held until then. What demonstrations that were killed have left behind is
/// removed first.
fn passing(world: &World) -> Result<(PathBuf, File), Failure> {
    let all = std::env::temp_dir();
    for entry in fs::read_dir(&all).into_iter().flatten().flatten() {
        let is_one =
            entry.file_name().to_string_lossy().starts_with(PASSING) && entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_one && !is_held(&entry.path()) {
            drop(fs::remove_dir_all(entry.path()));
        }
    }
    let directory = all.join(format!("{PASSING}{}", &world.random_key()[..12]));
    let held = || {
        DirBuilder::new().mode(0o700).create(&directory)?;
        let held = File::open(&directory)?;
        held.lock()?;
        Ok(held)
    };
    let held = held().map_err(|error: std::io::Error| {
        let what = format!("{}: {error}. Say --data-dir with a directory that can be written to", directory.display());
        Failure::new(Exit::Failed, what)
    })?;
    Ok((directory, held))
}

/// Whether a demonstration that runs holds this directory, or its store. Other people's cannot be opened.
fn is_held(directory: &Path) -> bool {
    let is_locked = |path: &Path| File::open(path).map_or(true, |file| file.try_lock().is_err());
    let inside = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files = inside.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    is_locked(directory) || files.any(|entry| is_locked(&entry.path()))
}

/// How the names of temporary directories begin.
const PASSING: &str = "carport-demo-";

/// Settings that may be tried out in a demonstration. All others are its own, or would lead it to what is not.
const TRIED: &[&str] = &["budget", "compat", "history", "metrics", "poll", "units"];

async fn play(
    flags: &Serve,
    data_dir: &Path,
    wishes: Environment,
    world: World,
    shutdown: CancellationToken,
) -> Result<(), Failure> {
    // First: any free port could be the very one that is found free for the gateway.
    let (simulated, address) = bind((Ipv4Addr::LOCALHOST, 0).into()).await?;
    let origin = format!("http://{address}");
    let listen = listen(flags)?;
    let settings = simulation(&origin, listen);
    let mut config = configuration(&settings, &origin, listen, flags.lan, data_dir, wishes)?;
    descriptors::provide(&mut config);

    let is_new = claim(data_dir)?;
    let simulator = Simulator::new(world.clone(), settings);
    let mut app = App::build(&config, world.clone()).await?;
    app.bind(&config).await?;
    let services = app.services().clone();
    let stop = CancellationToken::new();
    let served = tokio::spawn({
        let (simulator, stop) = (simulator.clone(), stop.clone());
        async move { simulator.serve(simulated, stop).await }
    });
    let gateway = tokio::spawn(app.run(shutdown.clone()));

    let ready = async {
        for (owner, account) in OWNERS {
            connect(&services, &world, owner, account).await?;
        }
        welcome(&config, &services).await
    };
    tokio::select! {
        () = shutdown.cancelled() => {}
        done = ready => match done {
            Ok(()) => {
                let verified = async { is_new && simulator.verify().await };
                let verified = shutdown.run_until_cancelled(verified).await == Some(true);
                let past = async {
                    if verified {
                        simulator.tell_the_past().await;
                    }
                };
                tokio::join!(simulator.run(shutdown.clone()), shutdown.run_until_cancelled(past));
            }
            Err(error) => {
                shutdown.cancel();
                let _ = gateway.await;
                return Err(error);
            }
        }
    }
    // The terminal may be what has gone.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), b"Stopping.\n");
    // The gateway first: it may still be asking the simulator.
    let _ = gateway.await;
    stop.cancel();
    let _ = served.await;
    Ok(())
}

/// Marks a data directory as the demonstration's. One that somebody else's store lies in is left alone: the made-up cars,
/// their owners and a token for everything would stay in it. Says whether it is new.
fn claim(data_dir: &Path) -> Result<bool, Failure> {
    let mark = data_dir.join("demo");
    if mark.exists() {
        return Ok(false);
    }
    if app::there_is_a_store(data_dir) {
        let sentence = format!(
            "{} holds a store that is not the demonstration's, and made-up cars do not belong into it: name another --data-dir",
            data_dir.display()
        );
        return Err(Failure::new(Exit::Usage, sentence));
    }
    app::make_data_dir(data_dir)?;
    let marked = fs::write(&mark, "The store here is that of carport demo.\n");
    marked.map_err(|error| Failure::new(Exit::Failed, format!("cannot write {}: {error}", mark.display())))?;
    Ok(true)
}

/// Short lives and a quick clock, so that things move while somebody looks.
fn simulation(origin: &str, listen: SocketAddr) -> Settings {
    let webhook = WebhookSettings {
        every: Duration::from_secs(4),
        // What goes wrong by chance would take the buttons from whoever tries them.
        trouble: 0.0,
        retry_scale: 0.2,
        ..WebhookSettings::new(format!("{}/api/webhooks/smartcar", public_url(listen)))
    };
    let usual = Application::default();
    let redirect_uris = vec![format!("{}/api/smartcar/callback", public_url(listen)), app_uri(&usual)];
    Settings {
        past: Duration::from_secs(7 * 86_400),
        speed: 60.0,
        base_url: origin.to_owned(),
        application: Application { redirect_uris, ..usual },
        access_life: Duration::from_secs(30),
        application_token_life: Duration::from_secs(30),
        webhook: Some(webhook),
        ..Settings::default()
    }
}

/// As the SDKs for iOS and Android have it, so that an app can be tried too.
fn app_uri(application: &Application) -> String {
    format!("sc{}://exchange", application.application_id)
}

/// Where this machine finds the gateway; Smartcar too, for by this address Carport knows its webhook.
fn public_url(listen: SocketAddr) -> String {
    let here = listen.ip().is_loopback() || listen.ip().is_unspecified();
    if here { format!("http://localhost:{}", listen.port()) } else { format!("http://{listen}") }
}

fn configuration(
    settings: &Settings,
    origin: &str,
    listen: SocketAddr,
    lan: bool,
    data_dir: &Path,
    environment: Environment,
) -> Result<Config, Failure> {
    let application = &settings.application;
    let data_dir = std::path::absolute(data_dir).map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let mut overrides = Overrides::default();
    for (key, value) in [
        ("public_url", public_url(listen).as_str()),
        ("listen", &listen.to_string()),
        ("data_dir", &data_dir.to_string_lossy()),
        ("smartcar.application_id", &application.application_id),
        ("smartcar.v2.client_id", &application.application_id),
        ("smartcar.v2.client_secret", &application.v2_client_secret),
        ("smartcar.v3.client_id", &application.v3_client_id),
        ("smartcar.v3.client_secret", &application.v3_client_secret),
        ("smartcar.application_management_token", &application.management_token),
        ("smartcar.redirect_uris", &app_uri(application)),
        ("smartcar.scope", SCOPE),
        ("smartcar.origins.connect", origin),
        ("smartcar.origins.auth", origin),
        ("smartcar.origins.iam", origin),
        ("smartcar.origins.api", origin),
        ("smartcar.origins.vehicle", origin),
        ("smartcar.origins.management", origin),
        ("smartcar.origins.management_v3", origin),
        // A demonstration is welcome in a small temporary directory too.
        ("store.min_free", "0"),
    ] {
        overrides = overrides.set(key, value, "demo");
    }
    Ok(load(&Sources { overrides, lan, environment, ..Sources::default() })?)
}

/// The address asked for, with the next free port if its own is busy.
fn listen(flags: &Serve) -> Result<SocketAddr, Failure> {
    let usage =
        |text: &str| Failure::new(Exit::Usage, format!("--listen {text}: demo takes one IP:PORT, such as 127.0.0.1:8000"));
    let wanted = match flags.listen.as_slice() {
        [] => SocketAddr::new(if flags.lan { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST }.into(), 8000),
        [one] => one.parse().map_err(|_| usage(one))?,
        [_, second, ..] => return Err(usage(second)),
    };
    let last = wanted.port().saturating_add(100);
    for port in wanted.port()..=last {
        let at = SocketAddr::new(wanted.ip(), port);
        match std::net::TcpListener::bind(at).and_then(|listener| listener.local_addr()) {
            Ok(free) => {
                if at != wanted {
                    eprintln!("{wanted} is in use: the demonstration is at {free}");
                }
                return Ok(free);
            }
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(cannot_listen(at, error)),
        }
    }
    let sentence = format!("{wanted} is in use, and so are the ports after it up to {last}: name another one by --listen");
    Err(Failure::new(Exit::TryAgain, sentence))
}

/// What an owner's browser does: opens the invite, signs in and agrees at Smartcar, comes back.
async fn connect(services: &Services, world: &World, owner: &str, account: &str) -> Result<(), Failure> {
    let failed = |what: String| Failure::new(Exit::Failed, format!("connecting {owner}'s cars: {what}"));
    let request = InviteRequest {
        user: AppUserId::new(owner),
        create: true,
        expires_in: Duration::from_secs(600),
        vehicle: None,
        mode: None,
        scope: None,
        make: None,
        force: false,
        redirect_uri: None,
    };
    let invite = services.rooms.connect.invite(request).await.map_err(|error| failed(error.to_string()))?;
    let mut browser = Browser { world, cookie: None };
    let mut authorize = Url::parse(&browser.open(&invite.url).await?).map_err(|error| failed(error.to_string()))?;
    authorize.query_pairs_mut().append_pair("simulator_account", account);
    let callback = browser.open(authorize.as_str()).await?;
    let done = browser.open(&callback).await?;
    match services.rooms.connect.ending(done.trim_end_matches("/done").rsplit('/').next().unwrap_or_default()).await {
        Ok(crate::connect::Ending::Connected { .. }) => Ok(()),
        Ok(crate::connect::Ending::Failed { sentence, .. }) => Err(failed(sentence)),
        Ok(crate::connect::Ending::NotYet) => Err(failed("the callback was not understood".to_owned())),
        Err(error) => Err(failed(error.to_string())),
    }
}

/// As much of a browser as Connect needs: one cookie, and redirects that are looked at.
struct Browser<'a> {
    world: &'a World,
    cookie: Option<String>,
}

impl Browser<'_> {
    /// Opens an address; returns where it redirects to.
    async fn open(&mut self, address: &str) -> Result<String, Failure> {
        let failed = |what: String| Failure::new(Exit::Failed, what);
        let mut request = Request::get(address).header(header::ACCEPT, "text/html");
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let request = request.body(Bytes::new()).map_err(|error| failed(error.to_string()))?;
        let answer = self.world.transport.send(request, Duration::from_secs(30)).await?;
        if let Some(cookie) = answer.headers().get(header::SET_COOKIE).and_then(|value| value.to_str().ok()) {
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let location = answer.headers().get(header::LOCATION).and_then(|value| value.to_str().ok());
        location.map(str::to_owned).ok_or_else(|| failed(format!("an answer {} where a redirect was due", answer.status())))
    }
}

/// The link and the token that people and scripts look for, and nothing else.
async fn welcome(config: &Config, services: &Services) -> Result<(), Failure> {
    let failed = |error: crate::operate::access::AccessError| Failure::new(Exit::TryAgain, error.to_string());
    let done = Done::locally("carport demo: API token, sign-in link");
    let noted = services.rooms.audit.begin(Ring::Administration, done).await;
    noted.map_err(|error| Failure::new(Exit::TryAgain, error.to_string()))?;
    for token in services.rooms.access.tokens().await.map_err(failed)?.iter().filter(|token| token.name == "demo") {
        services.rooms.access.revoke_token(&token.id).await.map_err(failed)?;
    }
    let request = TokenRequest { name: "demo".to_owned(), scope: Scope::Admin, user: None, vehicle: None, expires_in: None };
    let (_, token) = services.rooms.access.create_token(request).await.map_err(failed)?;
    let link = services.rooms.access.sign_in_link(SIGN_IN).await.map_err(failed)?;
    let dashboard = config.private_url.as_str().trim_end_matches('/');
    let (link, token) = (link.expose(), token.expose());
    announce(&format!(
        "Dashboard: {dashboard}/login?t={link}\n\
         API token: {token}\n\n\
         Three simulated cars are connected and send webhooks. Try:\n  \
           curl -H 'Authorization: Bearer {token}' {dashboard}/api/v1/vehicles\n\
         Another sign-in link: carport login --data-dir {}\n\
         Stop with Ctrl-C.\n",
        config.data_dir.display()
    ));
    Ok(())
}

/// Where this machine reaches what listens at `address`.
pub(super) fn from_here(address: SocketAddr) -> SocketAddr {
    let host = if address.ip().is_unspecified() { IpAddr::V4(Ipv4Addr::LOCALHOST) } else { address.ip() };
    SocketAddr::new(host, address.port())
}

/// A listener, and where it really listens: port 0 takes any free one.
pub(super) async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), Failure> {
    let listener = TcpListener::bind(address).await.map_err(|error| cannot_listen(address, error))?;
    let bound = listener.local_addr().map_err(|error| cannot_listen(address, error))?;
    Ok((listener, bound))
}

fn cannot_listen(address: SocketAddr, error: std::io::Error) -> Failure {
    AppError::Bind { listen: address.to_string(), error }.into()
}
