//! Patterns of paths, and what stands in their places.

/// What `path` names, if it fits `pattern`.
pub(super) fn fit(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut named = Vec::new();
    let mut parts = path.split('/');
    for expected in pattern.split('/') {
        let part = parts.next()?;
        if expected.starts_with('{') {
            named.push(decode(part).filter(|text| !text.is_empty())?);
        } else if expected != part {
            return None;
        }
    }
    parts.next().is_none().then_some(named)
}

/// Undoes percent encoding. A plus is a plus in a path.
fn decode(part: &str) -> Option<String> {
    if !part.contains('%') {
        return Some(part.to_owned());
    }
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first == b'%' {
            let [high, low, tail @ ..] = tail else { return None };
            let digit = |byte: u8| char::from(byte).to_digit(16);
            bytes.push(u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
