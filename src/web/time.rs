//! Spans of time, as people write them: `90s`, `30m`, `24h`, `7d`.

use std::time::Duration;

/// Reads a span; a bare number counts seconds. Zero is no span.
pub(super) fn span(text: &str) -> Option<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let seconds = digits.parse::<u64>().ok()?.checked_mul(unit)?;
    // Beyond a century a span is a mistake, and sums with it could overflow.
    (1..=3_153_600_000).contains(&seconds).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_spans() {
        assert_eq!(span("90s"), Some(Duration::from_secs(90)));
        assert_eq!(span("90"), Some(Duration::from_secs(90)));
        assert_eq!(span("24h"), Some(Duration::from_secs(86_400)));
        assert_eq!(span("7d"), Some(Duration::from_secs(604_800)));
        for text in ["", "0", "h", "1y", "-1h", "+1h", "1.5h", "1h30m", "99999999999999999999d", "1 h"] {
            assert_eq!(span(text), None, "{text}");
        }
    }
}
