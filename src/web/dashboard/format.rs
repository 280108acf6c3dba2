//! Ages, dates, durations and texts for people. In English.

use std::fmt;
use std::time::Duration;

use askama::filters::HtmlSafe;
use serde_json::Value;

use crate::model::Timestamp;
use crate::model::normal::Normal;

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "\u{2013}";

/// Keeps a number and its unit on one line.
pub(super) const THIN: char = '\u{202f}';

/// A duration in its largest sensible unit or two: `1 h 40 min`, `3 days`.
pub(super) fn duration(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    let (hours, days) = (minutes / 60, minutes / 1_440);
    match () {
        () if minutes == 0 => "less than a minute".to_owned(),
        () if hours == 0 => format!("{minutes}{THIN}min"),
        () if hours < 10 && !minutes.is_multiple_of(60) => format!("{hours}{THIN}h\u{a0}{}{THIN}min", minutes % 60),
        () if hours < 48 => format!("{hours}{THIN}h"),
        () if days < 60 => format!("{days} days"),
        () if days < 730 => format!("{} months", days / 30),
        () => format!("{} years", days / 365),
    }
}

/// How long ago a moment was: `just now`, `12 min ago`. `app.js` counts on in the same words.
pub(super) fn age(now: Timestamp, then: Timestamp) -> String {
    let minutes = now.since(then).as_secs() / 60;
    let (hours, days) = (minutes / 60, minutes / 1_440);
    match () {
        () if minutes == 0 => "just now".to_owned(),
        () if hours == 0 => format!("{minutes}{THIN}min ago"),
        () if hours < 48 => format!("{hours}{THIN}h ago"),
        () if days < 60 => format!("{days} days ago"),
        () if days < 730 => format!("{} months ago", days / 30),
        () => format!("{} years ago", days / 365),
    }
}

/// A moment as people write it, to the minute.
pub(super) fn date(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('T').and_then(|(day, clock)| Some((day, clock.get(..5)?))) {
        Some((day, clock)) => format!("{day} {clock} UTC"),
        None => text,
    }
}

/// A moment as a `<time>` element. Its words are in UTC; the script puts the viewer's own zone in their place.
#[derive(Clone, Debug)]
pub(super) struct When {
    time: Timestamp,
    text: String,
    counts: bool,
    is_date: bool,
}

impl When {
    /// The date and the time of day.
    pub(super) fn date(time: Timestamp) -> When {
        When { time, text: date(time), counts: false, is_date: true }
    }

    /// In the past, as an age.
    pub(super) fn ago(now: Timestamp, time: Timestamp) -> When {
        When { time, text: age(now, time), counts: true, is_date: false }
    }

    /// In the future, as what is left; in the past, as an age.
    pub(super) fn ahead(now: Timestamp, time: Timestamp) -> When {
        if time > now {
            When { time, text: format!("in {}", duration(time.since(now))), counts: false, is_date: false }
        } else {
            When::ago(now, time)
        }
    }

    /// Something that should have happened by now.
    pub(super) fn due(time: Timestamp) -> When {
        When { time, text: "due now".to_owned(), counts: false, is_date: false }
    }

    /// Something that is due, and looked for once a minute.
    pub(super) fn soon(time: Timestamp) -> When {
        When { text: "within a minute".to_owned(), ..When::due(time) }
    }
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.counts {
            " data-ago"
        } else if self.is_date {
            " data-date"
        } else {
            ""
        };
        write!(f, "<time datetime=\"{}\" title=\"{}\"{mark}>{}</time>", self.time, date(self.time), self.text)
    }
}

/// Made of digits and our own words only.
impl HtmlSafe for When {}

/// A part of a sentence as it begins one.
pub(super) fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| format!("{}{}", first.to_uppercase(), letters.as_str()))
}

/// The same for a value in words of ours; what somebody else wrote stays as it is.
pub(super) fn capital_of(value: &Normal, text: String) -> String {
    if matches!(value, Normal::Word(_)) { capital(&text) } else { text }
}

/// A part of a sentence as a whole one.
pub(super) fn sentence(text: &str) -> String {
    let end = if text.ends_with(['.', '?', '!']) { "" } else { "." };
    format!("{}{end}", capital(text))
}

/// A sentence in which `` `words` `` between backticks are code.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rich<'a>(pub(super) &'a str);

impl fmt::Display for Rich<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let closed = self.0.matches('`').count() / 2 * 2;
        for (index, part) in self.0.splitn(closed + 1, '`').enumerate() {
            if index % 2 == 1 {
                write!(f, "<code>{}</code>", Escaped(part))?;
            } else {
                Escaped(part).fmt(f)?;
            }
        }
        Ok(())
    }
}

/// Escapes by itself.
impl HtmlSafe for Rich<'_> {}

struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '&' => f.write_str("&#38;"),
            '<' => f.write_str("&#60;"),
            '>' => f.write_str("&#62;"),
            '"' => f.write_str("&#34;"),
            '\'' => f.write_str("&#39;"),
            other => fmt::Write::write_char(f, other),
        })
    }
}

/// `FULLY_CHARGED` and `TraveledDistance` as `Fully charged` and `Traveled distance`.
pub(super) fn words(name: &str) -> String {
    let shouting = !name.contains(|letter: char| letter.is_lowercase());
    let letters: Vec<char> = name.chars().collect();
    let mut pieces: Vec<String> = vec![String::new()];
    for (place, &letter) in letters.iter().enumerate() {
        let before = place.checked_sub(1).and_then(|before| letters.get(before)).copied().unwrap_or('_');
        let before_small = letters.get(place + 1).is_some_and(|after| after.is_lowercase());
        let hump = !shouting && letter.is_uppercase() && (!before.is_uppercase() || before_small);
        if hump || letter == '_' || letter == ' ' {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut().filter(|_| letter != '_' && letter != ' ') {
            piece.push(letter);
        }
    }
    let abbreviation = |piece: &str| !shouting && piece.chars().count() > 1 && piece.chars().all(char::is_uppercase);
    let calm = |piece: &String| if abbreviation(piece) { piece.clone() } else { piece.to_lowercase() };
    let text = pieces.iter().filter(|piece| !piece.is_empty()).map(calm).collect::<Vec<_>>().join(" ");
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// A link's target, unless it could be something else than a page (`javascript:`).
pub(super) fn page_link(url: &str) -> Option<&str> {
    let rooted = url.starts_with('/') && !url.starts_with("//") && !url.starts_with("/\\");
    (rooted || url.starts_with("https://") || url.starts_with("http://")).then_some(url)
}

/// JSON over several lines, with every letter outside white space as it was received.
pub(super) fn indented(json: &str) -> String {
    match serde_json::from_str::<Value>(json) {
        Ok(Value::String(text)) => return text,
        Ok(_) => {}
        Err(_) => return json.to_owned(),
    }
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    let mut letters = json.chars().filter(|letter| !matches!(letter, '\n' | '\r')).peekable();
    while let Some(letter) = letters.next() {
        if in_text {
            out.push(letter);
            (in_text, escaped) = (escaped || letter != '"', !escaped && letter == '\\');
            continue;
        }
        match letter {
            ' ' | '\t' => {}
            '{' | '[' => {
                out.push(letter);
                while letters.next_if(|next| matches!(next, ' ' | '\t')).is_some() {}
                if let Some(end) = letters.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(letter);
            }
            ',' => {
                out.push(letter);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            other => {
                in_text = other == '"';
                out.push(other);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace([THIN, '\u{a0}'], " ")
    }

    #[test]
    fn ages_and_durations_use_the_largest_sensible_unit() {
        let now = Timestamp::from_millis(1_760_000_000_000);
        let cases = [
            (0, "just now", "less than a minute"),
            (59, "just now", "less than a minute"),
            (60, "1 min ago", "1 min"),
            (3_599, "59 min ago", "59 min"),
            (6_000, "1 h ago", "1 h 40 min"),
            (86_400, "24 h ago", "24 h"),
            (3 * 86_400, "3 days ago", "3 days"),
            (100 * 86_400, "3 months ago", "3 months"),
            (800 * 86_400, "2 years ago", "2 years"),
        ];
        for (seconds, ago, left) in cases {
            let length = Duration::from_secs(seconds);
            assert_eq!(plain(age(now, now.before(length))), ago);
            assert_eq!(plain(duration(length)), left);
        }
        assert_eq!(age(now, now.after(Duration::from_secs(5))), "just now", "a clock that is ahead");
        assert_eq!(date(now), "2025-10-09 08:53 UTC");
    }

    #[test]
    fn names_become_words() {
        let cases = [
            ("FULLY_CHARGED", "Fully charged"),
            ("TraveledDistance", "Traveled distance"),
            ("DTCCount", "DTC count"),
            ("HVAC", "Hvac"),
            ("IsCabinHVACActive", "Is cabin HVAC active"),
            ("ok", "Ok"),
            ("", ""),
        ];
        for (name, expected) in cases {
            assert_eq!(words(name), expected);
        }
    }

    #[test]
    fn code_between_backticks_and_nothing_else_is_markup() {
        assert_eq!(Rich("Run `carport <init>` & go").to_string(), "Run <code>carport &#60;init&#62;</code> &#38; go");
        assert_eq!(sentence("run `carport init`, or not"), "Run `carport init`, or not.");
        assert_eq!((sentence("Really?").as_str(), capital("").as_str()), ("Really?", ""));
        assert_eq!(Rich("a ` alone").to_string(), "a ` alone");
        assert_eq!(Rich("`a` and `").to_string(), "<code>a</code> and `");
    }

    #[test]
    fn json_is_indented_to_the_letter() {
        assert_eq!(
            indented(r#"{"b":1.50,"a":[ ],"t":"x,{\"} y","l":[1, 2]}"#),
            "{\n  \"b\": 1.50,\n  \"a\": [],\n  \"t\": \"x,{\\\"} y\",\n  \"l\": [\n    1,\n    2\n  ]\n}"
        );
        assert_eq!(indented("{broken"), "{broken");
        assert_eq!(indented(r#""{broken \u00e4""#), "{broken \u{e4}");
    }

    #[test]
    fn links_lead_to_pages_only() {
        assert_eq!(page_link("https://example.org/x"), Some("https://example.org/x"));
        assert_eq!(page_link("/connect/abc"), Some("/connect/abc"));
        for bad in ["javascript:alert(1)", "//evil.example", "/\\evil.example", "data:text/html,x", ""] {
            assert_eq!(page_link(bad), None);
        }
    }
}
