//! A keep-alive connection that costs its sender next to nothing: requests are bytes already, and of an answer only
//! the status and the end are looked for.

use std::fmt::Debug;
use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::trust;

/// A connection of either kind.
trait Duplex: AsyncRead + AsyncWrite + Debug + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Debug + Unpin + Send> Duplex for S {}

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: Box<dyn Duplex>,
    /// What was read of the answer.
    read: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(to: SocketAddr) -> anyhow::Result<Line> {
        Ok(Line { stream: Box::new(connect(to).await?), read: Vec::with_capacity(4096) })
    }

    /// Over TLS, with whatever certificate is shown.
    pub(crate) async fn open_tls(to: SocketAddr) -> anyhow::Result<Line> {
        let connector = TlsConnector::from(Arc::new(trust::anybody()?));
        let stream = connector.connect(ServerName::try_from("localhost")?, connect(to).await?).await?;
        Ok(Line { stream: Box::new(stream), read: Vec::with_capacity(4096) })
    }

    /// Sends a request; returns the status when the answer is there to its end.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.read.clear();
        self.stream.write_all(request).await?;
        let head = loop {
            self.more().await?;
            if let Some(end) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let Head { status, length } = Head::parse(&self.read[..head])?;
        match length {
            Some(length) => {
                while self.read.len() < head + length {
                    self.more().await?;
                }
            }
            None => {
                while !self.read.ends_with(b"0\r\n\r\n") {
                    self.more().await?;
                }
            }
        }
        Ok(status)
    }

    async fn more(&mut self) -> anyhow::Result<()> {
        ensure!(self.stream.read_buf(&mut self.read).await? > 0, "the server has closed a connection");
        Ok(())
    }
}

async fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

struct Head {
    status: u16,
    /// `None`: in chunks.
    length: Option<usize>,
}

impl Head {
    fn parse(bytes: &[u8]) -> anyhow::Result<Head> {
        let text = std::str::from_utf8(bytes)?;
        let status = text.get(9..12).context("no status line")?.parse()?;
        let (mut length, mut is_chunked) = (0, false);
        for (name, value) in text.lines().skip(1).filter_map(|line| line.split_once(':')) {
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
            is_chunked |= name.eq_ignore_ascii_case("transfer-encoding");
        }
        Ok(Head { status, length: (!is_chunked).then_some(length) })
    }
}
