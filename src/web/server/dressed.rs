//! Answers to what is no request. It never reaches [`handle`](super::super::handle): hyper refuses it by itself, with a
//! bare head. Such a head is the last thing that is written on a connection; here it is taken out, and an answer that is
//! like every other is written instead.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures_util::FutureExt;
use http::header::{CONTENT_LENGTH, DATE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::problem::Problem;
use super::super::{Peer, Services, finish};

/// A stream on which no bare head is written.
#[derive(Debug)]
pub(super) struct Dressed<'a, S> {
    stream: S,
    services: &'a Services,
    peer: Peer,
    /// What is left to write of the answer that takes the place of hyper's.
    instead: Option<Bytes>,
}

impl<'a, S> Dressed<'a, S> {
    pub(super) fn new(stream: S, services: &'a Services, peer: Peer) -> Dressed<'a, S> {
        Dressed { stream, services, peer, instead: None }
    }
}

/// Where in these bytes a head of hyper's own begins, and what it says. Answers of ours have more lines than that.
fn bare(bytes: &[u8]) -> Option<(usize, StatusCode, &str)> {
    let heads = bytes.strip_suffix(b"\r\n\r\n")?;
    let at = heads.windows(START.len()).rposition(|window| window == START)?;
    let mut lines = std::str::from_utf8(&heads[at..]).ok()?.split("\r\n");
    let status = lines.next()?.get(9..12)?.parse().ok()?;
    let mut date = "";
    for line in lines {
        match line.strip_prefix("date: ") {
            Some(said) => date = said,
            None if ["connection: close", "content-length: 0"].contains(&line) => {}
            None => return None,
        }
    }
    Some((at, status, date))
}

const START: &[u8] = b"HTTP/1.1 4";

/// The same refusal, as answers look here: a whole answer in bytes, after which the connection ends.
fn refusal(services: &Services, peer: Peer, status: StatusCode, date: &str) -> Bytes {
    let (code, sentence) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            ("head_too_large", "The head of the request has too many lines, or is too long.")
        }
        StatusCode::URI_TOO_LONG => ("address_too_long", "The address of the request is too long."),
        _ => ("bad_request", "This cannot be read as a request."),
    };
    let request_id = services.request_id();
    let response = Problem::new(status, code, sentence).closing().respond(&request_id);
    let (mut head, body) = finish(services, peer, None, response, &request_id).into_parts();
    // A problem is there as a whole: nothing is waited for.
    let body = body.collect().now_or_never().and_then(Result::ok).map(|body| body.to_bytes()).unwrap_or_default();
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if let Ok(date) = HeaderValue::try_from(date) {
        head.headers.insert(DATE, date);
    }
    let mut bytes = format!("HTTP/1.1 {}\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        bytes.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    bytes.extend([b"\r\n", &body[..]].concat());
    bytes.into()
}

impl<S: AsyncRead + Unpin> AsyncRead for Dressed<'_, S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Dressed<'_, S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        let (status, date) = match bare(bytes) {
            None => return Pin::new(&mut own.stream).poll_write(context, bytes),
            // First the rest of the answer before.
            Some((at, ..)) if at > 0 => return Pin::new(&mut own.stream).poll_write(context, &bytes[..at]),
            Some((_, status, date)) => (status, date),
        };
        let instead = own.instead.get_or_insert_with(|| refusal(own.services, own.peer, status, date));
        while instead.has_remaining() {
            match ready!(Pin::new(&mut own.stream).poll_write(context, instead))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => instead.advance(count),
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut whole = parts.iter().filter(|part| !part.is_empty());
        match (whole.next(), whole.next()) {
            // A bare head comes alone, or behind what is left of one answer.
            (Some(part), None) => self.poll_write(context, part),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_bare_head_is_one() {
        let head =
            "HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\ndate: today\r\n\r\n";
        assert_eq!(bare(head.as_bytes()), Some((0, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "today")));
        let behind = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{head}");
        assert_eq!(bare(behind.as_bytes()).map(|(at, ..)| at), Some(behind.len() - head.len()));
        for other in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nx-request-id: 1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 4",
            "\r\n\r\n",
            "",
        ] {
            assert_eq!(bare(other.as_bytes()), None, "{other}");
        }
    }
}
