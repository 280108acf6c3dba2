//! Where a body ends: lengths and encodings of which two servers may think differently (request smuggling,
//! RFC 9112 sections 6 and 7).

use super::{CANARY, Case, case, ends, waits};

/// A post to the webhook with these lines in its head, and whatever stands behind it.
fn post(name: &str, lines: &str, rest: &str, expected: &'static str) -> Case {
    case(name, format!("POST /api/webhooks/smartcar HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n\r\n{rest}"), expected)
}

const CHUNKED: &str = "Transfer-Encoding: chunked";
/// Would be answered 200 were it taken for a request.
const SMUGGLED: &str = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[expect(clippy::too_many_lines, reason = "a table")]
pub(super) fn cases() -> Vec<Case> {
    let smuggled_in_chunks = format!("0\r\n\r\n{SMUGGLED}");
    let long_extension = format!("3;{}\r\nabc\r\n0\r\n\r\n", "e".repeat(20_000));
    let many_extensions = "1;a=b\r\nx\r\n".repeat(5_000) + "0\r\n\r\n";
    let many_chunks = "1\r\nx\r\n".repeat(5_000) + "0\r\n\r\n";
    let too_many_chunks = "3\r\nabc\r\n".repeat(22_000) + "0\r\n\r\n";
    let many_trailers = format!("0\r\n{}\r\n", "T: x\r\n".repeat(2_000));
    let long_trailer = format!("0\r\nT: {}\r\n\r\n", "x".repeat(40_000));
    vec![
        // What is right, to compare.
        post("a body with its length", "Content-Length: 3", "abc", "401 keep"),
        post("a body in chunks", CHUNKED, "3\r\nabc\r\n0\r\n\r\n", "401 keep"),
        post("no body", "Content-Length: 0", "", "401 keep"),
        post("neither length nor encoding", "X: y", "", "401 keep"),
        // Lengths.
        post("two equal lengths", "Content-Length: 3\r\nContent-Length: 3", "abc", "401 keep"),
        post("two different lengths", "Content-Length: 3\r\nContent-Length: 50", "abc", "400 close"),
        post("two lengths in other order", "Content-Length: 50\r\nContent-Length: 3", "abc", "400 close"),
        post("two equal lengths in a list", "Content-Length: 3, 3", "abc", "400 close"),
        post("two different lengths in a list", "Content-Length: 3, 50", "abc", "400 close"),
        post("a negative length", "Content-Length: -3", "abc", "400 close"),
        post("a length with a plus", "Content-Length: +3", "abc", "400 close"),
        post("a length in hex", "Content-Length: 0x3", "abc", "400 close"),
        post("a length with leading zeros", "Content-Length: 0003", "abc", "401 keep"),
        post("a length with an exponent", "Content-Length: 3e0", "abc", "400 close"),
        post("a length with a fraction", "Content-Length: 3.0", "abc", "400 close"),
        post("an empty length", "Content-Length:", "abc", "400 close"),
        post("a length of letters", "Content-Length: abc", "abc", "400 close"),
        post("a length with a space in it", "Content-Length: 3 3", "abc", "400 close"),
        post("a length with a tab before it", "Content-Length:\t3", "abc", "401 keep"),
        post("a length with a vertical tab", "Content-Length: \x0b3", "abc", "400 close"),
        post("a length with an underscore", "Content_Length: 3", "", "401 keep"),
        post("a length of 2^64", "Content-Length: 18446744073709551616", "abc", "400 close"),
        post("a length of 2^64 - 1", "Content-Length: 18446744073709551615", "abc", "431 close"),
        post("a length of 2^63", "Content-Length: 9223372036854775808", "abc", "413 close"),
        post("a length that overflows to 3", "Content-Length: 18446744073709551619", "abc", "400 close"),
        post("a tebibyte", "Content-Length: 1099511627776", "abc", "413 close"),
        post("one byte more than webhooks.max_body", "Content-Length: 65537", "abc", "413 close"),
        post("a space before the colon of the length", "Content-Length : 3", "abc", "400 close"),
        post("a space before the length's name", " Content-Length: 3", "abc", "400 close"),
        // Length and encoding.
        post("length, then encoding", &format!("Content-Length: 5\r\n{CHUNKED}"), &smuggled_in_chunks, "401 close"),
        post("encoding, then length", &format!("{CHUNKED}\r\nContent-Length: 5"), &smuggled_in_chunks, "401 close"),
        post("encoding and a bad length", &format!("{CHUNKED}\r\nContent-Length: x"), &smuggled_in_chunks, "401 close"),
        post(
            "encoding and length in HTTP/1.0's words",
            &format!("Connection: close\r\n{CHUNKED}\r\nContent-Length: 3"),
            "0\r\n\r\n",
            "401 close",
        ),
        // Encodings.
        post("an encoding in capitals", "Transfer-Encoding: CHUNKED", "0\r\n\r\n", "401 keep"),
        post("an encoding with a space behind it", "Transfer-Encoding: chunked ", "0\r\n\r\n", "401 keep"),
        post("an encoding with a tab before it", "Transfer-Encoding:\tchunked", "0\r\n\r\n", "401 keep"),
        post("an encoding with a vertical tab", "Transfer-Encoding: \x0bchunked", &smuggled_in_chunks, "400 close"),
        post("a space before the colon of the encoding", "Transfer-Encoding : chunked", &smuggled_in_chunks, "400 close"),
        post("an encoding in quotes", "Transfer-Encoding: \"chunked\"", &smuggled_in_chunks, "400 close"),
        post("an encoding that is not chunked", "Transfer-Encoding: xchunked", &smuggled_in_chunks, "400 close"),
        post("identity", "Transfer-Encoding: identity", &smuggled_in_chunks, "400 close"),
        post("gzip without chunks", "Transfer-Encoding: gzip", &smuggled_in_chunks, "400 close"),
        post("gzip, then chunks", "Transfer-Encoding: gzip, chunked", "0\r\n\r\n", "501 close"),
        post("chunks, then gzip", "Transfer-Encoding: chunked, gzip", &smuggled_in_chunks, "400 close"),
        post("chunks twice", "Transfer-Encoding: chunked, chunked", "0\r\n\r\n", "501 close"),
        post("two lines of chunks", &format!("{CHUNKED}\r\n{CHUNKED}"), "0\r\n\r\n", "501 close"),
        post(
            "chunks, then identity in a second line",
            &format!("{CHUNKED}\r\nTransfer-Encoding: identity"),
            &smuggled_in_chunks,
            "400 close",
        ),
        post("an empty encoding", "Transfer-Encoding:", &smuggled_in_chunks, "400 close"),
        post("an encoding with a comma before it", "Transfer-Encoding: ,chunked", "0\r\n\r\n", "501 close"),
        post("an encoding with a parameter", "Transfer-Encoding: chunked;q=1", &smuggled_in_chunks, "400 close"),
        post("an encoding by another name", "Transfer_Encoding: chunked", "", "401 keep"),
        // Chunks.
        post("a chunk with an extension", CHUNKED, "3;a=b\r\nabc\r\n0\r\n\r\n", "401 keep"),
        post("a chunk with a quoted extension", CHUNKED, "3;a=\"b;c\"\r\nabc\r\n0\r\n\r\n", "401 keep"),
        post("an extension with a lone line feed", CHUNKED, "3;a\nabc\r\n0\r\n\r\n", "400 close"),
        post("an endless extension", CHUNKED, &long_extension, "400 close"),
        post("many small extensions", CHUNKED, &many_extensions, "401 keep"),
        post("many chunks of one byte", CHUNKED, &many_chunks, "401 keep"),
        post("more small chunks than may come", CHUNKED, &too_many_chunks, "413 close"),
        post("a chunk of 2^64", CHUNKED, "10000000000000000\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a chunk of 2^64 - 1", CHUNKED, "ffffffffffffffff\r\nabc\r\n0\r\n\r\n", "408 close"),
        post("a chunk of a gibibyte", CHUNKED, "40000000\r\nabc\r\n0\r\n\r\n", "408 close"),
        post("a size with leading zeros", CHUNKED, "0000000000000000000000003\r\nabc\r\n0\r\n\r\n", "401 keep"),
        post("a size with 0x", CHUNKED, "0x3\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a negative size", CHUNKED, "-3\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a size with a plus", CHUNKED, "+3\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a size with a space before it", CHUNKED, " 3\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a size with a space behind it", CHUNKED, "3 \r\nabc\r\n0\r\n\r\n", "401 keep"),
        post("a size with letters", CHUNKED, "xyz\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("an empty size", CHUNKED, "\r\nabc\r\n0\r\n\r\n", "400 close"),
        post("a size that ends in a line feed", CHUNKED, "3\nabc\r\n0\r\n\r\n", "400 close"),
        post("a chunk longer than its size", CHUNKED, "3\r\nabcd\r\n0\r\n\r\n", "400 close"),
        post("a chunk that ends in a line feed", CHUNKED, "3\r\nabc\n0\r\n\r\n", "400 close"),
        post("a chunk without its end", CHUNKED, "3\r\nabc0\r\n\r\n", "400 close"),
        // Trailers.
        post("a trailer", CHUNKED, "0\r\nX-Trailer: y\r\n\r\n", "401 keep"),
        post("a trailer that proves", CHUNKED, &format!("3\r\nabc\r\n0\r\nSC-Signature: {CANARY}\r\n\r\n"), "401 keep"),
        post("a trailer that frames", CHUNKED, "0\r\nContent-Length: 50\r\n\r\n", "401 keep"),
        post("many trailers", CHUNKED, &many_trailers, "400 close"),
        post("a long trailer", CHUNKED, &long_trailer, "400 close"),
        // What is cut off, or comes where nothing is expected.
        ends(post("a body that is cut off", "Content-Length: 30", "abc", "400 close")),
        ends(post("a chunk that is cut off", CHUNKED, "30\r\nabc", "400 close")),
        ends(post("a size that is cut off", CHUNKED, "3", "400 close")),
        ends(post("a body that never begins", "Content-Length: 3", "", "400 close")),
        waits(post("a body that never comes", "Content-Length: 500", "abc", "408 close")),
        waits(post("chunks that never end", CHUNKED, "3\r\nabc\r\n", "408 close")),
        post("a body that is too short", "Content-Length: 500", "", "408 close"),
        post("bytes behind the body", "Content-Length: 3", "abcEXTRA", "401 405 close"),
        case(
            "a body where none is read",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{SMUGGLED}", SMUGGLED.len()),
            "200 keep",
        ),
        case(
            "chunks where none are read",
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{CHUNKED}\r\n\r\n{smuggled_in_chunks}"),
            "200 200 keep",
        ),
        case(
            "an announced body where none is read",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n",
            "200 close",
        ),
        case(
            "chunks in HTTP/1.0",
            format!("POST /api/webhooks/smartcar HTTP/1.0\r\nHost: localhost\r\n{CHUNKED}\r\n\r\n{smuggled_in_chunks}"),
            "400 close",
        ),
        // Expectations.
        post("a body that is waited for", "Expect: 100-continue\r\nContent-Length: 3", "abc", "100 401 keep"),
        post("a giant that waits", "Expect: 100-continue\r\nContent-Length: 99999999", "", "413 close"),
        post("another expectation", "Expect: a-cake\r\nContent-Length: 3", "abc", "401 keep"),
        case(
            "an expectation where no body is read",
            "GET /healthz HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n\r\n",
            "200 keep",
        ),
    ]
}
