//! A small HTTP client: one connection, whole answers, no redirects.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Position, Url};

/// A request, as it is put together.
#[derive(Debug)]
pub(crate) struct Say {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Say {
    pub(crate) fn get(path: &str) -> Say {
        Say { method: Method::GET, path: path.to_owned(), headers: Vec::new(), body: Bytes::new() }
    }

    pub(crate) fn post(path: &str, body: impl Into<Bytes>) -> Say {
        Say { method: Method::POST, body: body.into(), ..Say::get(path) }
    }

    pub(crate) fn json(path: &str, body: &Value) -> Say {
        Say::post(path, body.to_string()).header("content-type", "application/json")
    }

    pub(crate) fn form(path: &str, body: &str) -> Say {
        Say::post(path, body.to_owned()).header("content-type", "application/x-www-form-urlencoded")
    }

    pub(crate) fn method(self, method: Method) -> Say {
        Say { method, ..self }
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Say {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With a bearer token; none if it is empty.
    pub(crate) fn token(self, token: &str) -> Say {
        if token.is_empty() { self } else { self.header("authorization", &format!("Bearer {token}")) }
    }
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {} {}", self.status, self.text()))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The cookie it sets, as it is sent back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap_or_default().to_owned()
    }
}

/// A connection that stays.
#[derive(Debug)]
pub(crate) struct Line {
    sender: SendRequest<Full<Bytes>>,
    host: String,
}

impl Line {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Line> {
        Line::over(TcpStream::connect(address).await?, address.port()).await
    }

    pub(crate) async fn over<S>(stream: S, port: u16) -> io::Result<Line>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Line { sender, host: format!("localhost:{port}") })
    }

    pub(crate) async fn send(&mut self, say: Say) -> hyper::Result<Answer> {
        let mut request = Request::builder().method(say.method).uri(say.path);
        if !say.headers.iter().any(|(name, _)| name == "host") {
            request = request.header(header::HOST, &self.host);
        }
        for (name, value) in &say.headers {
            request = request.header(name, value);
        }
        self.sender.ready().await?;
        let answer = self.sender.send_request(request.body(Full::new(say.body)).unwrap()).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// Gets a whole URL of this machine, with a cookie if there is one.
pub(crate) async fn browse(url: &str, cookie: &str) -> Answer {
    let url = Url::parse(url).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], url.port().unwrap()));
    let mut say = Say::get(&url[Position::BeforePath..]).header("accept", "text/html");
    if !cookie.is_empty() {
        say = say.header("cookie", cookie);
    }
    Line::open(address).await.unwrap().send(say).await.unwrap()
}
