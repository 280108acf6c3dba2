//! The way to `/api/v1`: through the socket of a running server, else in-process on an application
//! without listeners. There is no second implementation of anything.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use url::{Position, Url};

use super::{Exit, Failure, Place, args, wiring};
use crate::config::Config;
use crate::web::Body;

/// An application that answers requests without a listener, as its owner: every request is an admin's.
pub trait Handler: Send + Sync {
    /// Answers one request.
    fn handle(&self, request: Request<Bytes>) -> BoxFuture<'_, Response<Body>>;

    /// Closes the store, so that the next one who opens it need not repair it.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// A client of the API.
#[derive(Clone)]
pub enum Client {
    /// Of a running server.
    Socket(PathBuf),
    /// Of an application in this process.
    InProcess(Arc<dyn Handler>),
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Client::Socket(path) => f.debug_tuple("Socket").field(path).finish(),
            Client::InProcess(_) => f.write_str("InProcess"),
        }
    }
}

/// How long an answer may take: longer than an import whose token and cars Smartcar tells as late as can be.
const PATIENCE: Duration = Duration::from_secs(900);

/// Connects by the common flags. Only commands that `may_create` make a data directory, and only where a configuration
/// was found: a directory that was mistyped must not become a gateway of its own.
pub(super) async fn connect(place: &Place, common: &args::Common, may_create: bool) -> Result<Client, Failure> {
    let config = place.config(common)?;
    match reach(&config.socket).await {
        Reached::Server => return Ok(Client::Socket(config.socket)),
        Reached::Forbidden => return Err(forbidden(&config.socket)),
        Reached::Nobody => {}
    }
    let is_configured = place.sources(common).file.places().iter().any(|path| path.is_file());
    // A configuration of another place that names no data directory may be that of a server which began elsewhere.
    let origin = config.shown().iter().find(|shown| shown.key == "data_dir").map(|shown| shown.origin.as_str());
    let is_placed = common.config.is_none() || origin != Some("default");
    let may_open = config.data_dir.is_dir() || (may_create && is_configured && is_placed);
    if !may_open {
        return Err(nothing_here(place, common, &config).await);
    }
    Ok(Client::InProcess(wiring::application(config).await?))
}

/// Who answers at a socket.
pub(super) enum Reached {
    Server,
    Nobody,
    Forbidden,
}

pub(super) async fn reach(socket: &Path) -> Reached {
    match UnixStream::connect(socket).await {
        // The server hangs up on everybody else than its own user and root.
        Ok(stream) => match (stream.peer_cred(), rustix::process::geteuid()) {
            (Ok(server), own) if !own.is_root() && server.uid() != own.as_raw() => Reached::Forbidden,
            _ => Reached::Server,
        },
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Reached::Forbidden,
        // Not there, or left behind by a server that was killed.
        Err(_) => Reached::Nobody,
    }
}

/// The server is somebody else's.
pub(super) fn forbidden(socket: &Path) -> Failure {
    let sentence = format!(
        "{} belongs to another user: run this as the user that runs the server (sudo -u carport carport ...) or as root",
        socket.display()
    );
    Failure::new(Exit::Failed, sentence)
}

async fn nothing_here(place: &Place, common: &args::Common, config: &Config) -> Failure {
    let looked: Vec<String> = place.sources(common).file.places().iter().map(|path| path.display().to_string()).collect();
    let mut lines = vec![
        format!("there is no Carport here yet: {} does not exist", config.data_dir.display()),
        format!("configuration looked for at: {}", looked.join(", ")),
    ];
    let elsewhere = [PathBuf::from("/var/lib/carport"), place.directory.join("carport-data")];
    for directory in elsewhere.iter().filter(|directory| **directory != config.data_dir) {
        if !matches!(reach(&directory.join("carport.sock")).await, Reached::Nobody) {
            lines.push(format!("a server runs at another place: --data-dir {}", directory.display()));
        }
    }
    lines.push("say --data-dir or --config, or start one with carport serve".to_owned());
    Failure::new(Exit::Configuration, lines.join("\n  "))
}

impl Client {
    /// Ends what was opened to answer.
    pub async fn close(&self) {
        if let Client::InProcess(application) = self {
            application.close().await;
        }
    }

    /// Gets something.
    pub async fn get(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.call(Method::GET, path, query, None).await
    }

    /// Posts something; without a body if it is null.
    pub async fn post(&self, path: &[&str], body: Value) -> Result<Value, Failure> {
        self.call(Method::POST, path, &[], Some(body).filter(|body| !body.is_null())).await
    }

    /// Changes something.
    pub async fn patch(&self, path: &[&str], body: Value) -> Result<Value, Failure> {
        self.call(Method::PATCH, path, &[], Some(body)).await
    }

    /// Removes something.
    pub async fn delete(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.call(Method::DELETE, path, query, None).await
    }

    /// A whole list: all its parts.
    pub async fn list(&self, path: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let mut query = query.to_vec();
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut part = self.get(path, &query).await?;
            if let Some(Value::Array(more)) = part.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            // The same cursor again would go on for ever.
            match part.get("next").and_then(Value::as_str) {
                Some(next) if cursor.as_deref() != Some(next) => cursor = Some(next.to_owned()),
                _ => return Ok(serde_json::json!({ "items": items, "next": null })),
            }
        }
    }

    /// Gets something long and hands it on part by part. One that does not end as it should is a failure.
    pub async fn stream(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
        mut take: impl FnMut(&[u8]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let request = request(Method::GET, path, query, None)?;
        let (head, mut body) = match self {
            Client::InProcess(handler) => {
                let (head, body) = handler.handle(request).await.into_parts();
                (head, body.map_err(anyhow::Error::from).boxed_unsync())
            }
            Client::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| gone(socket, error))?;
                let (head, body) = send(stream, request).await.map_err(|error| gone(socket, error))?.into_parts();
                (head, body.map_err(anyhow::Error::from).boxed_unsync())
            }
        };
        if !head.status.is_success() {
            let body = body.collect().await?.to_bytes();
            return read(&Response::from_parts(head, body)).map(drop);
        }
        while let Some(part) = body.frame().await {
            let part = part.context("the answer was cut off: what was written is not all of it")?;
            take(part.data_ref().map_or(&[][..], |data| data))?;
        }
        Ok(())
    }

    async fn call(&self, method: Method, path: &[&str], query: &[(&str, &str)], body: Option<Value>) -> Result<Value, Failure> {
        let request = request(method, path, query, body)?;
        let answer = match self {
            Client::InProcess(handler) => {
                let (head, body) = handler.handle(request).await.into_parts();
                Response::from_parts(head, body.collect().await.context("the answer was cut off")?.to_bytes())
            }
            Client::Socket(socket) => {
                let stream = UnixStream::connect(socket).await.map_err(|error| gone(socket, error))?;
                let answer = tokio::time::timeout(PATIENCE, exchange(stream, request)).await;
                let answer = answer.map_err(|_| Failure::new(Exit::TryAgain, "the server does not answer"))?;
                answer.map_err(|error| gone(socket, error))?
            }
        };
        read(&answer)
    }
}

fn request(method: Method, path: &[&str], query: &[(&str, &str)], body: Option<Value>) -> Result<Request<Bytes>, Failure> {
    // Such a part would lead to another address, and an empty value be none.
    if path.iter().any(|part| ["", ".", ".."].contains(part)) {
        return Err(Failure::new(Exit::Usage, "the id is empty or of dots only: `list` shows the ids"));
    }
    if let Some((name, _)) = query.iter().find(|(_, value)| value.is_empty()) {
        return Err(Failure::new(Exit::Usage, format!("--{name} is empty: leave it out, or say which")));
    }
    let mut url = Url::parse("http://localhost/api/v1").context("an address of our own")?;
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.extend(path);
    }
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    let mut request = Request::builder().method(method).uri(&url[Position::BeforePath..]).header(header::HOST, "localhost");
    request = request.header(header::ACCEPT, "application/json");
    let body = match body {
        Some(body) => {
            request = request.header(header::CONTENT_TYPE, "application/json");
            Bytes::from(body.to_string())
        }
        None => Bytes::new(),
    };
    Ok(request.body(body).context("a request of our own")?)
}

/// One exchange over a stream of its own.
pub(super) async fn exchange<S>(stream: S, request: Request<Bytes>) -> hyper::Result<Response<Bytes>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (head, body) = send(stream, request).await?.into_parts();
    Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
}

async fn send<S>(stream: S, request: Request<Bytes>) -> hyper::Result<Response<hyper::body::Incoming>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    sender.send_request(request.map(Full::new)).await
}

fn gone(socket: &Path, error: impl Into<anyhow::Error>) -> Failure {
    let server = format!("the server at {} went away; start it again, and what was under way goes on", socket.display());
    Failure::new(Exit::TryAgain, format!("{server}: {:#}", error.into()))
}

/// The answer's JSON, or its problem as one line.
fn read(answer: &Response<Bytes>) -> Result<Value, Failure> {
    let body: Option<Value> = serde_json::from_slice(answer.body()).ok();
    let status = answer.status();
    if status.is_success() {
        return match body {
            Some(body) => Ok(body),
            None if answer.body().is_empty() => Ok(Value::Null),
            None => Err(Failure::new(Exit::Failed, "the server's answer is not JSON: is it another version?")),
        };
    }
    let field = |name: &str| body.as_ref().and_then(|body| body.get(name)).and_then(Value::as_str);
    let exit = match (status, field("code")) {
        // Trying again would not help before somebody has configured it.
        (_, Some("not_configured")) => Exit::Configuration,
        (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS, _) | (_, Some("busy")) => Exit::TryAgain,
        (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => Exit::Unreachable,
        _ => Exit::Failed,
    };
    let sentence = match (field("detail"), field("title")) {
        (Some(detail), _) if !detail.is_empty() => detail.to_owned(),
        (_, Some(title)) => title.to_owned(),
        _ => format!("the server answered {status}"),
    };
    Err(match field("code") {
        Some(code) => Failure::new(exit, format!("{sentence} ({code})")).called(code),
        None => Failure::new(exit, sentence),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(status: u16, body: &str) -> (Exit, String) {
        let answer = Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap();
        let failure = read(&answer).unwrap_err();
        (failure.exit, failure.to_string())
    }

    #[test]
    fn problems_are_one_line_and_an_exit_code() {
        let problem = r#"{"title":"Not found","code":"not_found","detail":"there is none of that id"}"#;
        assert_eq!(failure(404, problem), (Exit::Failed, "there is none of that id (not_found)".to_owned()));
        assert_eq!(failure(503, r#"{"title":"Busy","code":"busy"}"#), (Exit::TryAgain, "Busy (busy)".to_owned()));
        let unset = r#"{"code":"not_configured","detail":"Connect: set smartcar.application_id."}"#;
        let said = "Connect: set smartcar.application_id. (not_configured)".to_owned();
        assert_eq!(failure(503, unset), (Exit::Configuration, said));
        assert_eq!(failure(502, "<html>"), (Exit::Unreachable, "the server answered 502 Bad Gateway".to_owned()));
    }

    #[test]
    fn ids_cannot_leave_their_place_in_the_path() {
        let request = request(Method::GET, &["users", "a/../b?c"], &[("limit", "5")], None).unwrap();
        assert_eq!(request.uri(), "/api/v1/users/a%2F..%2Fb%3Fc?limit=5");
        for path in [["users", ""], ["users", ".."]] {
            assert_eq!(super::request(Method::DELETE, &path, &[], None).unwrap_err().exit, Exit::Usage);
        }
    }
}
