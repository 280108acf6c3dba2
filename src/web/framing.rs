//! What hyper lets pass although another server in front may read it differently. Where two readings are
//! possible a second request can hide in the difference (request smuggling), so there must be only one.

use http::StatusCode;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::request::Parts;

use super::problem::Problem;

/// One length or one plain `chunked` (RFC 9112, section 6), and no target of another scheme.
pub(super) fn check(head: &Parts) -> Result<(), Problem> {
    let wrong = |status, sentence| Err(Problem::new(status, "bad_framing", sentence).closing());
    if head.headers.get_all(CONTENT_LENGTH).iter().count() > 1 {
        return wrong(StatusCode::BAD_REQUEST, "The request needs at most one Content-Length.");
    }
    let mut encodings = head.headers.get_all(TRANSFER_ENCODING).iter();
    let is_plain = encodings.next().is_none_or(|line| line.as_bytes().eq_ignore_ascii_case(b"chunked"));
    if !is_plain || encodings.next().is_some() {
        return wrong(StatusCode::NOT_IMPLEMENTED, "The only Transfer-Encoding that is known here is `chunked`, once.");
    }
    if head.uri.scheme_str().is_some_and(|scheme| !["http", "https"].contains(&scheme)) {
        return wrong(StatusCode::BAD_REQUEST, "The request asks for an address that is neither http nor https.");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn status(uri: &str, lines: &[(&str, &str)]) -> u16 {
        let mut request = Request::builder().uri(uri);
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        check(&head).map_or_else(|problem| problem.status().as_u16(), |()| 200)
    }

    #[test]
    fn there_is_one_reading() {
        assert_eq!(status("/", &[]), 200);
        assert_eq!(status("/", &[("content-length", "3")]), 200);
        assert_eq!(status("/", &[("transfer-encoding", "Chunked")]), 200);
        assert_eq!(status("/", &[("content-length", "3"), ("content-length", "3")]), 400);
        for encoding in ["gzip, chunked", "chunked, chunked", ",chunked", "chunked;q=1", ""] {
            assert_eq!(status("/", &[("transfer-encoding", encoding)]), 501, "{encoding}");
        }
        assert_eq!(status("/", &[("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")]), 501);
        assert_eq!(status("https://localhost/", &[]), 200);
        assert_eq!(status("ftp://localhost/", &[]), 400);
    }
}
