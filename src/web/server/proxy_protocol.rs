//! Who a proxy passes a connection on for, as it says before the first byte: HAProxy's PROXY protocol
//! (`proxy-protocol.txt`), in version 2 (section 2.2) or, as nginx speaks it, in version 1 (section 2.1). For proxies that
//! pass TLS through, and so cannot write headers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the header within `limit`, and nothing of what follows. `None` if the proxy speaks for itself, or does not say
/// for which address.
pub async fn source(stream: &mut (impl AsyncRead + Unpin), limit: Duration) -> io::Result<Option<IpAddr>> {
    let read = async {
        let (mut signature, mut head) = ([0; SIGNATURE.len()], [0; 4]);
        stream.read_exact(&mut signature).await?;
        if signature.starts_with(FIRST) {
            return in_words(stream, signature.to_vec()).await;
        }
        stream.read_exact(&mut head).await?;
        let [command, family, length @ ..] = head;
        let length = usize::from(u16::from_be_bytes(length));
        if signature != *SIGNATURE || length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut addresses = vec![0; length];
        stream.read_exact(&mut addresses).await?;
        match command {
            LOCAL => Ok(None),
            PROXY => address(family, &addresses),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    };
    tokio::time::timeout(limit, read).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Where the connection comes from: its address stands first.
fn address(family: u8, addresses: &[u8]) -> io::Result<Option<IpAddr>> {
    let short = || io::Error::from(io::ErrorKind::InvalidData);
    Ok(match family >> 4 {
        1 if addresses.len() >= 12 => addresses.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        2 if addresses.len() >= 36 => addresses.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_canonical()),
        1 | 2 => return Err(short()),
        _ => None,
    })
}

/// Version 1: a line of text, of which `line` is the beginning.
async fn in_words(stream: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> io::Result<Option<IpAddr>> {
    let wrong = || io::Error::from(io::ErrorKind::InvalidData);
    // One at a time: what follows the line is not ours.
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(wrong());
        }
        line.push(stream.read_u8().await?);
    }
    let line = str::from_utf8(&line).map_err(|_| wrong())?;
    let words: Vec<&str> = line.trim_end_matches("\r\n").split(' ').collect();
    let are_ports = |ports: [&str; 2]| ports.iter().all(|port| port.parse::<u16>().is_ok());
    let source = match words[..] {
        ["PROXY", "UNKNOWN", ..] => return Ok(None),
        ["PROXY", "TCP4", from, to, theirs, ours] if are_ports([theirs, ours]) => {
            to.parse::<Ipv4Addr>().and_then(|_| from.parse::<Ipv4Addr>()).map(IpAddr::from)
        }
        ["PROXY", "TCP6", from, to, theirs, ours] if are_ports([theirs, ours]) => {
            to.parse::<Ipv6Addr>().and_then(|_| from.parse::<Ipv6Addr>()).map(|from| from.to_canonical())
        }
        _ => return Err(wrong()),
    };
    source.map(Some).map_err(|_| wrong())
}

/// The header of a connection that is for nobody else: a look whether all is well.
pub const FOR_NOBODY: [u8; 16] = *b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

const FIRST: &[u8] = b"PROXY ";

/// The longest line of version 1, in bytes, with its end.
const LONGEST_LINE: usize = 107;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

/// The longest that follows the head, in bytes: addresses have 36, the rest tells of the proxy's own TLS.
const LONGEST: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8]) -> Result<(Option<IpAddr>, usize), io::ErrorKind> {
        let mut rest = bytes;
        let found = source(&mut rest, Duration::from_secs(1)).await.map_err(|error| error.kind())?;
        Ok((found, rest.len()))
    }

    fn header(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let length = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, addresses].concat()
    }

    #[tokio::test]
    async fn sources_are_read_and_nothing_more() {
        let four = header(PROXY, 0x11, &[203, 0, 113, 5, 192, 0, 2, 1, 0xd4, 0x31, 1, 0xbb]);
        assert_eq!(read(&[&four[..], b"GET"].concat()).await, Ok((Some([203, 0, 113, 5].into()), 3)));
        let six: Ipv6Addr = "2001:db8::7".parse().unwrap();
        let with_more = [&six.octets()[..], &[0; 20], &[3, 0, 1, 9]].concat();
        assert_eq!(read(&header(PROXY, 0x21, &with_more)).await, Ok((Some(six.into()), 0)));
        assert_eq!(FOR_NOBODY[..], header(LOCAL, 0, &[]));
        assert_eq!(read(&[&FOR_NOBODY[..], b"x"].concat()).await, Ok((None, 1)));
        assert_eq!(read(&header(PROXY, 0x31, &[0; 216])).await, Ok((None, 0)));
    }

    #[tokio::test]
    async fn sources_are_read_from_text_too() {
        let four = b"PROXY TCP4 203.0.113.5 192.0.2.1 56324 443\r\n";
        assert_eq!(read(&[&four[..], b"GET"].concat()).await, Ok((Some([203, 0, 113, 5].into()), 3)));
        let six: Ipv6Addr = "2001:db8::7".parse().unwrap();
        assert_eq!(read(b"PROXY TCP6 2001:db8::7 2001:db8::1 1 443\r\n").await, Ok((Some(six.into()), 0)));
        assert_eq!(read(b"PROXY UNKNOWN\r\nx").await, Ok((None, 1)));
        assert_eq!(read(b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n").await, Ok((None, 0)));
    }

    #[tokio::test]
    async fn anything_else_is_refused() {
        for bad in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            &header(PROXY, 0x11, &[1; 11]),
            &header(0x31, 0x11, &[1; 12]),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
            b"PROXY TCP4 203.0.113.5\r\n",
            b"PROXY TCP4 203.0.113.5 x 1 443\r\n",
            b"PROXY TCP4 203.0.113.5 192.0.2.1 1 99999\r\n",
            b"PROXY TCP4 203.0.113.5 192.0.2.1 1 443 \r\n",
            b"PROXY nothing\r\n",
            b"PROXY \xff\xff\xff\xff\xff\xff\r\n",
        ] {
            assert_eq!(read(bad).await, Err(io::ErrorKind::InvalidData));
        }
        let long = [&SIGNATURE[..], &[PROXY, 0x11, 0xff, 0xff]].concat();
        assert_eq!(read(&long).await, Err(io::ErrorKind::InvalidData));
        assert_eq!(read(&SIGNATURE[..7]).await, Err(io::ErrorKind::UnexpectedEof));
        let endless = [b"PROXY UNKNOWN ".to_vec(), vec![b'1'; 200]].concat();
        assert_eq!(read(&endless).await, Err(io::ErrorKind::InvalidData));
    }

    #[tokio::test(start_paused = true)]
    async fn who_says_nothing_is_not_waited_for() {
        let (mut here, _there) = tokio::io::duplex(64);
        let waited = source(&mut here, Duration::from_secs(10)).await;
        assert_eq!(waited.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
