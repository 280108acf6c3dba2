//! Commands that need no application: they read the configuration, or knock at the door.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use clap::CommandFactory;
use clap_complete::Shell;
use http::{Request, Response, StatusCode, header};
use serde_json::json;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::args::{Common, ConfigCommand};
use super::client::exchange;
use super::made::with_made;
use super::print::{align, say, say_json, shorten};
use super::{Cli, Exit, Failure, Place, proxy};
use crate::config::{Config, Listen};
use crate::web::server::proxy_protocol;

/// `carport config`
pub(super) async fn config(command: ConfigCommand, common: &Common, place: &Place) -> Result<(), Failure> {
    let written = place.config(common)?;
    let warnings = written.warnings.clone();
    let (config, _) = with_made(written).await;
    let flags = match command {
        ConfigCommand::Show(flags) => flags,
        ConfigCommand::Proxy { proxy: which } => return proxy::proxy(which, &config),
    };
    if flags.json {
        return say_json(&json!({ "items": config.shown(), "warnings": warnings }));
    }
    let title = ["KEY", "VALUE", "ORIGIN"].map(str::to_owned).to_vec();
    let rows = config.shown().iter().map(|shown| {
        let value = if shown.value.is_empty() { "-".to_owned() } else { shorten(&shown.value) };
        vec![shown.key.to_owned(), value, shown.origin.clone()]
    });
    say(&align(std::iter::once(title).chain(rows).collect()))?;
    for warning in &warnings {
        eprintln!("warning: {warning}");
    }
    Ok(())
}

/// `carport healthcheck`. The socket first: `serve --listen` is known to nobody else.
pub(super) async fn healthcheck(common: &Common, place: &Place) -> Result<(), Failure> {
    let config = place.config(common)?;
    let socket = Listen::Unix(config.socket.clone());
    if let Ok(Ok(answer)) = tokio::time::timeout(PATIENCE, knock(&config, &socket)).await
        && answer.status().is_success()
    {
        return Ok(());
    }
    let Some(listen) = config.listen.first() else {
        return Err(Failure::new(Exit::Configuration, "nothing is listened at"));
    };
    let answer = tokio::time::timeout(PATIENCE, knock(&config, listen)).await;
    match answer {
        Ok(Ok(answer)) if answer.status().is_success() => Ok(()),
        // Who speaks TLS says so.
        Ok(Ok(answer)) if config.tls.is_some() && answer.status() == StatusCode::PERMANENT_REDIRECT => Ok(()),
        Ok(Ok(answer)) => Err(Failure::new(Exit::Failed, format!("{listen} answered {}", answer.status()))),
        Ok(Err(_)) if !config.data_dir.is_dir() => {
            let sentence = format!("there is no gateway in {}: say --data-dir or --config", config.data_dir.display());
            Err(Failure::new(Exit::Failed, sentence))
        }
        Ok(Err(error)) => Err(Failure::new(Exit::Failed, format!("{listen} does not answer: {error:#}"))),
        Err(_) => Err(Failure::new(Exit::Failed, format!("{listen} does not answer within 5 s"))),
    }
}

/// How long the gateway may take to say that it is well.
const PATIENCE: Duration = Duration::from_secs(5);

/// A connection to a listener of ours. Where we look like a trusted proxy, it says first that it is for nobody.
pub(super) async fn connect(config: &Config, address: SocketAddr) -> io::Result<TcpStream> {
    let address = here(address);
    let mut stream = match TcpStream::connect(address).await {
        // A machine without IPv6 has no ::1.
        Err(_) if address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST) => {
            TcpStream::connect((Ipv4Addr::LOCALHOST, address.port())).await?
        }
        other => other?,
    };
    let own = stream.local_addr()?.ip();
    introduce(config, own, &mut stream).await?;
    Ok(stream)
}

async fn introduce(config: &Config, own: IpAddr, stream: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    if config.proxy_protocol && config.trusted_proxies.iter().any(|network| network.contains(own)) {
        stream.write_all(&proxy_protocol::FOR_NOBODY).await?;
    }
    Ok(())
}

/// An address at which a listener is reached from this machine: everywhere is here too.
fn here(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

async fn knock(config: &Config, listen: &Listen) -> anyhow::Result<Response<Bytes>> {
    let request = Request::get("/healthz").header(header::HOST, "localhost").body(Bytes::new())?;
    match listen {
        Listen::Unix(path) => {
            let mut stream = UnixStream::connect(path).await?;
            // Over such a file everybody comes from this machine, over our own nobody is a proxy.
            if *path != config.socket {
                introduce(config, Ipv4Addr::LOCALHOST.into(), &mut stream).await?;
            }
            Ok(exchange(stream, request).await?)
        }
        Listen::Tcp(address) => Ok(exchange(connect(config, *address).await?, request).await?),
    }
}

/// `carport completions`
pub(super) fn completions(shell: Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "carport", &mut script);
    say(&String::from_utf8_lossy(&script))
}
