//! Output for people: aligned tables, ages, and questions.

use std::io::{self, BufRead, ErrorKind, Write};
use std::pin::pin;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{Exit, Failure, Place};
use crate::model::Timestamp;

/// Prints text on standard output. A reader that has gone (`| head`) ends the command quietly.
pub(super) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(Failure::silent(Exit::Failed)),
        Err(error) => Err(anyhow::Error::from(error).context("cannot write to standard output").into()),
    }
}

/// What a service says at its start. It goes on when nobody reads it: a script may have seen enough.
pub(super) fn announce(text: &str) {
    let mut out = io::stdout().lock();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "standard output takes nothing");
    }
}

/// Says on standard error what need not be read.
pub(super) fn mention(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

/// Prints JSON, indented.
pub(super) fn say_json(value: &Value) -> Result<(), Failure> {
    say(&format!("{value:#}"))
}

/// A table: a title and a way to print each column of an item.
pub(super) type Columns<'a> = &'a [(&'static str, &'a dyn Fn(&Value) -> String)];

/// The items of a list as an aligned table; `none` if there are none.
pub(super) fn table(list: &Value, columns: Columns<'_>, none: &str) -> String {
    let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if items.is_empty() {
        return none.to_owned();
    }
    let titles = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let rows = items.iter().map(|item| columns.iter().map(|(_, cell)| cell(item)).collect());
    align(std::iter::once(titles).chain(rows).collect())
}

/// Names and values, one a line.
pub(super) fn card(rows: &[(&str, String)]) -> String {
    align(
        rows.iter().filter(|(_, value)| !value.is_empty()).map(|(name, value)| vec![(*name).to_owned(), value.clone()]).collect(),
    )
}

/// Keeps a table's columns together; `--json` has it all.
pub(super) fn shorten(value: &str) -> String {
    const WIDEST: usize = 60;
    if value.chars().count() <= WIDEST {
        return value.to_owned();
    }
    value.chars().take(WIDEST - 3).chain("...".chars()).collect()
}

/// Rows with their columns below each other, safe for a terminal.
pub(super) fn align(rows: Vec<Vec<String>>) -> String {
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| printable(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column| rows.iter().filter_map(|row| row.get(column)).map(|cell: &String| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

/// SECURITY: what came from Smartcar or an owner must not move the cursor or paint the terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A field as text; empty if it is missing or null.
pub(super) fn field(value: &Value, name: &str) -> String {
    text(value.get(name).unwrap_or(&Value::Null))
}

/// A value as people write it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A field that holds a time, as its age or what remains of it.
pub(super) fn age(value: &Value, name: &str, now: Timestamp) -> String {
    let Some(at) = value.get(name).and_then(Value::as_str).and_then(Timestamp::parse) else { return String::new() };
    if at > now { format!("in {}", span(at.since(now).as_secs())) } else { ago(now.since(at).as_secs()) }
}

/// A field that holds a time, as a moment, and how long ago that was.
pub(super) fn moment(value: &Value, name: &str, now: Timestamp) -> String {
    match plain(value, name) {
        none if none.is_empty() => none,
        at => format!("{at} ({})", age(value, name, now)),
    }
}

/// A field that holds a time, as a moment.
pub(super) fn plain(value: &Value, name: &str) -> String {
    let at = value.get(name).and_then(Value::as_str).and_then(Timestamp::parse);
    at.map_or_else(String::new, Timestamp::plain)
}

fn ago(seconds: u64) -> String {
    if seconds < 5 { "just now".to_owned() } else { format!("{} ago", span(seconds)) }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..90 => format!("{seconds} s"),
        90..5400 => format!("{} min", (seconds + 30) / 60),
        5400..129_600 => format!("{} h", (seconds + 1800) / 3600),
        _ => format!("{} d", (seconds + 43_200) / 86_400),
    }
}

/// Asks before something that cannot be undone. In a pipe only `--yes` goes on.
pub(super) fn confirm(place: &Place, yes: bool, question: &str) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !place.can_ask {
        return Err(Failure::new(Exit::Usage, format!("{question} Nobody is here to answer: say --yes")));
    }
    match ask(&format!("{question} [y/N] "))?.to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Failed, "nothing was done")),
    }
}

/// Waits for what may take long, and shows on a terminal what is waited for and how long already.
pub(super) async fn patiently<T>(what: &str, terminal: &mut Option<impl Write>, work: impl Future<Output = T>) -> T {
    let (mut work, began, mut is_shown) = (pin!(work), Instant::now(), false);
    // Nobody waits for what is shown.
    let mut show =
        |text: &str| terminal.as_mut().map(|terminal| write!(terminal, "\r\x1b[K{text}").and_then(|()| terminal.flush()));
    loop {
        if let Ok(done) = timeout(LOOK, &mut work).await {
            if is_shown {
                show("");
            }
            return done;
        }
        show(&format!("{what}, {} s so far", began.elapsed().as_secs()));
        is_shown = true;
    }
}

/// How often it is shown how long somebody waits.
const LOOK: Duration = Duration::from_secs(1);

/// Asks on standard error and reads a line.
pub(super) fn ask(question: &str) -> Result<String, Failure> {
    eprint!("{question}");
    let mut line = String::new();
    let read = io::stdin().lock().read_line(&mut line).context("cannot read the answer")?;
    if read == 0 {
        return Err(Failure::new(Exit::Failed, "no answer: nothing was done"));
    }
    Ok(line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use serde_json::json;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_waits_sees_for_what_and_how_long() {
        for (lasts, shown) in [(900, ""), (2_500, "\r\x1b[Kthe train, 1 s so far\r\x1b[Kthe train, 2 s so far\r\x1b[K")] {
            let (mut terminal, work) = (Some(Vec::new()), tokio::time::sleep(Duration::from_millis(lasts)));
            patiently("the train", &mut terminal, work).await;
            assert_eq!(String::from_utf8(terminal.unwrap()).unwrap(), shown);
        }
    }

    #[test]
    fn columns_stand_below_each_other() {
        let list = json!({"items": [
            {"id": "a", "name": "Zoe", "seen": "2026-01-01T00:00:00.000Z"},
            {"id": "long-id", "name": null, "seen": "2026-01-01T02:57:00.000Z"},
            {"id": "b", "name": "\u{1b}[2Jevil", "seen": "2026-01-03T00:00:00.000Z"},
        ], "next": null});
        let now = Timestamp::parse("2026-01-01T03:00:00Z").unwrap();
        let columns: Columns<'_> =
            &[("ID", &|v| field(v, "id")), ("NAME", &|v| field(v, "name")), ("SEEN", &|v| age(v, "seen", now))];
        expect![[r"
            ID       NAME      SEEN
            a        Zoe       3 h ago
            long-id            3 min ago
            b         [2Jevil  in 2 d"]]
        .assert_eq(&table(&list, columns, "none"));
        assert_eq!(align(vec![vec!["\u{9b}2J".to_owned()]]), " 2J");
        assert_eq!(table(&json!({"items": []}), columns, "No cars yet."), "No cars yet.");
    }
}
