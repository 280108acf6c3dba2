//! A keep-alive connection that costs its sender next to nothing: requests are bytes already, and of an answer only
//! the status and the end are looked for.

use std::net::SocketAddr;

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One connection.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    /// What was read of the answer.
    read: Vec<u8>,
}

impl Line {
    pub(crate) async fn open(to: SocketAddr) -> anyhow::Result<Line> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        Ok(Line { stream, read: Vec::with_capacity(4096) })
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
