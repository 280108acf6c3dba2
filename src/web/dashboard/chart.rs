//! Charts, drawn here as SVG: lines, steps and bars over a range of time. What they show is said in words too.

use std::fmt::Write;

use super::format;
use super::numbers::Numbers;
use super::span::{Clock, PastSpan};
use crate::model::Timestamp;

/// A chart, ready for its template.
#[derive(Debug)]
pub(super) struct Chart {
    /// What it shows.
    pub(super) title: &'static str,
    /// The newest value, if there is one alone.
    pub(super) latest: String,
    /// All of it in words.
    pub(super) words: String,
    /// Where the drawing begins, right of what its grid means.
    pub(super) left: i64,
    /// The lines of the grid: from the top, what they mean.
    pub(super) rows: Vec<(i64, String)>,
    /// Below the chart: from the left, which time it is.
    pub(super) columns: Vec<(i64, String)>,
    /// The lines, with the class of each and what it shows; none if there is too little to draw.
    pub(super) lines: Vec<Drawn>,
    /// From the left, what was told when.
    pub(super) points: Vec<(i64, String)>,
    /// Between the least and the most of each step.
    pub(super) band: String,
}

/// One line.
#[derive(Debug)]
pub(super) struct Drawn {
    /// Where in the car, if there are several.
    pub(super) name: String,
    /// Its newest value.
    pub(super) latest: String,
    /// How it runs.
    pub(super) path: String,
}

/// What is drawn.
#[derive(Debug)]
pub(super) struct Figure<'a> {
    /// What it shows.
    pub(super) title: &'static str,
    /// How.
    pub(super) style: Style,
    /// The unit of all values.
    pub(super) unit: &'a str,
    /// The lines.
    pub(super) lines: Vec<Line>,
    /// From when.
    pub(super) since: Timestamp,
    /// To when.
    pub(super) until: Timestamp,
}

/// How values become a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// From 0 to 100.
    Level,
    /// From 0 to what there is.
    FromZero,
    /// The same; a value holds until the next.
    Steps,
    /// From the least to the most.
    Between,
    /// Columns, each as wide as a part of the range.
    Bars,
}

/// The values of one line.
#[derive(Debug)]
pub(super) struct Line {
    /// Where in the car, if there are several.
    pub(super) name: Option<String>,
    /// When, and how much: the last, the least, the most.
    pub(super) values: Vec<(Timestamp, [f64; 3])>,
}

/// Where the drawing ends.
const WIDTH: i64 = 640;
/// What a figure of the grid takes at most.
const FIGURE: i64 = 13;
/// Where the most is.
const TOP: i64 = 34;
/// Where the least is.
const BOTTOM: i64 = 214;

/// A line is drawn if it takes so much of the width.
const NARROWEST: i64 = 40;
/// So many points of a chart can be pointed at.
const POINTS: usize = 32;

impl Chart {
    /// One that is said, and not drawn.
    fn of_words(title: &'static str, latest: String, words: String) -> Chart {
        let (rows, columns, lines, points) = Default::default();
        Chart { title, latest, words, left: 0, rows, columns, lines, points, band: String::new() }
    }
}

fn so_far(least: &str, most: &str) -> String {
    format!("So far from {least} to {most}. A chart follows with time.")
}

impl Figure<'_> {
    /// Draws it; `None` if there is nothing to draw.
    pub(super) fn draw(mut self, span: PastSpan, clock: Clock, numbers: &Numbers) -> Option<Chart> {
        self.lines.retain(|line| !line.values.is_empty());
        let all = || self.lines.iter().flat_map(|line| &line.values);
        let least = all().map(|(_, [_, min, _])| *min).fold(f64::INFINITY, f64::min);
        let most = all().map(|(_, [.., max])| *max).fold(f64::NEG_INFINITY, f64::max);
        if !(least.is_finite() && most.is_finite()) {
            return None;
        }
        let scale = match self.style {
            Style::Level => Scale { least: 0.0, most: 100.0, step: 50.0 },
            Style::Between => Scale::around(least, most),
            Style::FromZero | Style::Steps | Style::Bars => Scale::around(least.min(0.0), most.max(0.0)),
        };
        let decimals = usize::from(self.style == Style::Steps || matches!(self.unit, "bar" | "kWh"));
        let say = |value: f64| numbers.amount(value, decimals, self.unit);
        let newest = |line: &Line| line.values.last().map(|(_, [last, ..])| say(*last)).unwrap_or_default();
        let name = |line: &Line| line.name.as_deref().map(format::capital).unwrap_or_default();
        let latest = match &*self.lines {
            [line] if self.style != Style::Bars => newest(line),
            _ => String::new(),
        };
        if let Some(words) = self.too_little((least, most), say) {
            let of_several: String = match &*self.lines {
                [_] => String::new(),
                several => several.iter().map(|line| format!("{} {}. ", name(line), newest(line))).collect::<Vec<_>>().concat(),
            };
            return Some(Chart::of_words(self.title, latest, of_several + &words));
        }
        let words = match self.style {
            Style::Bars => format!("{}: up to {} {}", self.title, say(most), span.each()),
            _ if say(least) == say(most) => format!("{}: {} all the time", self.title, say(most)),
            _ => format!("{}: from {} to {}", self.title, say(least), say(most)),
        };
        let rows: Vec<_> = scale.rows().map(|value| (scale.y(value), numbers.number(value, scale.decimals()))).collect();
        let longest = rows.iter().map(|(_, text)| text.chars().count()).max().unwrap_or_default();
        let time = Time { left: 14 + FIGURE * i64::try_from(longest).unwrap_or_default(), since: self.since, until: self.until };
        let columns = clock.ticks(span, self.since, self.until);
        let columns = columns.into_iter().map(|(at, text)| (time.x(at), text)).filter(|(x, _)| *x <= WIDTH - 40).collect();
        let drawn = self.lines.iter().map(|line| Drawn {
            name: name(line),
            latest: newest(line),
            path: self.path(line, &scale, &time, |at| clock.end_of_part(span, at)),
        });
        let band = match &*self.lines {
            [line] if matches!(self.style, Style::Level | Style::FromZero) => band(line, &scale, &time),
            _ => String::new(),
        };
        let points = self.points(&time, span, clock, say);
        Some(Chart { title: self.title, latest, words, left: time.left, rows, columns, lines: drawn.collect(), points, band })
    }

    /// What is said in place of a grid in which nothing could be seen.
    fn too_little(&self, (least, most): (f64, f64), say: impl Fn(f64) -> String) -> Option<String> {
        if self.style == Style::Bars {
            return (most <= 0.0).then(|| "Nothing yet in this time.".to_owned());
        }
        let times = || self.lines.iter().flat_map(|line| &line.values).map(|(at, _)| *at);
        let (begin, end) = (times().min()?, times().max()?);
        let is_new = Time { left: 0, since: self.since, until: self.until }.x(begin) > WIDTH - NARROWEST;
        // What a part of the time held is kept as its least and its most, not when each was told.
        match (begin == end, begin == self.since) {
            (true, true) => Some("Nothing new in this time.".to_owned()),
            (true, false) if say(least) == say(most) => Some("Nothing else yet.".to_owned()),
            (true, false) => Some(so_far(&say(least), &say(most))),
            (false, _) if is_new => Some(so_far(&say(least), &say(most))),
            (false, _) => None,
        }
    }

    /// What was told when, for whoever points at it: as many as a page has room for, the newest among them.
    fn points(&self, time: &Time, span: PastSpan, clock: Clock, say: impl Fn(f64) -> String) -> Vec<(i64, String)> {
        let mut times: Vec<Timestamp> = self.lines.iter().flat_map(|line| &line.values).map(|(at, _)| *at).collect();
        times.sort_unstable();
        times.dedup();
        let each = times.len().div_ceil(POINTS).max(1);
        let mut chosen: Vec<Timestamp> = times.iter().rev().step_by(each).copied().collect();
        chosen.reverse();
        let held =
            |line: &Line, at: Timestamp| line.values.iter().rev().find(|(told, _)| *told <= at).map(|(_, [last, ..])| say(*last));
        let point = |at: Timestamp| {
            if self.style == Style::Bars {
                let middle = time.x(at).midpoint(time.x(clock.end_of_part(span, at)));
                let told = self.lines.iter().find_map(|line| held(line, at)).unwrap_or_default();
                return (middle, format!("{}: {told}", clock.name_of_part(span, at)));
            }
            let told = self.lines.iter().filter_map(|line| {
                let name = line.name.as_deref().map(|name| format!("{name} ")).unwrap_or_default();
                Some(format!("{name}{}", held(line, at)?))
            });
            (time.x(at), format!("{}: {}", clock.name_of_moment(span, at), told.collect::<Vec<_>>().join(", ")))
        };
        chosen.into_iter().map(point).collect()
    }

    /// `end` is where the part of the range ends that begins somewhere.
    fn path(&self, line: &Line, scale: &Scale, time: &Time, end: impl Fn(Timestamp) -> Timestamp) -> String {
        let mut path = Path::default();
        let mut height = None;
        for (at, [last, ..]) in &line.values {
            let (x, y) = (time.x(*at), scale.y(*last));
            match (self.style, height) {
                (Style::Bars, _) => {
                    let room = time.x(end(*at)) - x;
                    let (x, width) = (x + room / 8, (room - room / 4).max(2));
                    path.jump(x, BOTTOM);
                    path.line(x, y);
                    path.line(x + width, y);
                    path.line(x + width, BOTTOM);
                    path.close();
                    continue;
                }
                (_, None) => path.jump(x, y),
                (Style::Steps, Some(before)) => {
                    path.line(x, before);
                    path.line(x, y);
                }
                (_, Some(_)) => path.line(x, y),
            }
            height = Some(y);
        }
        // What was told last holds until something else is told.
        if let Some(height) = height {
            path.line(WIDTH, height);
        }
        path.text
    }
}

/// Around a line of which each point tells of many values.
fn band(line: &Line, scale: &Scale, time: &Time) -> String {
    let is_wide = |[_, min, max]: &[f64; 3]| scale.y(*min) - scale.y(*max) > 4;
    if !line.values.iter().any(|(_, values)| is_wide(values)) {
        return String::new();
    }
    let mut path = Path::default();
    for (number, (at, [.., max])) in line.values.iter().enumerate() {
        let (x, y) = (time.x(*at), scale.y(*max));
        if number == 0 { path.jump(x, y) } else { path.line(x, y) }
    }
    for (at, [_, min, _]) in line.values.iter().rev() {
        path.line(time.x(*at), scale.y(*min));
    }
    path.close();
    path.text
}

/// A path, by steps from where it is: that is shorter.
#[derive(Debug, Default)]
struct Path {
    text: String,
    here: (i64, i64),
}

impl Path {
    // Writing to a String does not fail.
    fn jump(&mut self, x: i64, y: i64) {
        let _ = write!(self.text, "M{x} {y}");
        self.here = (x, y);
    }

    fn line(&mut self, x: i64, y: i64) {
        let (dx, dy) = (x - self.here.0, y - self.here.1);
        let _ = match (dx, dy) {
            (0, 0) => Ok(()),
            (_, 0) => write!(self.text, "h{dx}"),
            (0, _) => write!(self.text, "v{dy}"),
            _ => write!(self.text, "l{dx} {dy}"),
        };
        self.here = (x, y);
    }

    fn close(&mut self) {
        self.text.push('z');
    }
}

/// What is where between left and right.
#[derive(Clone, Copy, Debug)]
struct Time {
    left: i64,
    since: Timestamp,
    until: Timestamp,
}

impl Time {
    fn x(&self, at: Timestamp) -> i64 {
        let whole = (self.until.as_millis() - self.since.as_millis()).max(1);
        let past = (at.as_millis() - self.since.as_millis()) * (WIDTH - self.left);
        (self.left + past.div_euclid(whole)).clamp(self.left, WIDTH)
    }
}

/// What is where between top and bottom.
#[derive(Clone, Copy, Debug)]
struct Scale {
    least: f64,
    most: f64,
    step: f64,
}

impl Scale {
    /// Round numbers around all values.
    fn around(least: f64, most: f64) -> Scale {
        let (least, most) = if most - least < 1e-9 {
            (least - 0.05 * least.abs().max(1.0), most + 0.05 * most.abs().max(1.0))
        } else {
            (least, most)
        };
        // Nothing is below zero that was not before.
        let least = if least < 0.0 && most > 0.0 && least > -0.06 { 0.0 } else { least };
        let rough = (most - least) / 3.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0, 10.0].into_iter().map(|part| part * power).find(|step| *step >= rough).unwrap_or(rough);
        let (least, most) = ((least / step).floor() * step, (most / step).ceil() * step);
        Scale { least, most, step }
    }

    fn rows(&self) -> impl Iterator<Item = f64> + '_ {
        (0..=5)
            .map(|number| self.least + f64::from(number) * self.step)
            .take_while(|value| *value <= self.most + self.step * 0.01)
    }

    fn decimals(&self) -> usize {
        [1.0, 0.1, 0.01].iter().position(|unit| (self.step / unit - (self.step / unit).round()).abs() < 1e-6).unwrap_or(2)
    }

    #[expect(clippy::cast_possible_truncation, reason = "rounded, and within the drawing")]
    fn y(&self, value: f64) -> i64 {
        let part = ((value - self.least) / (self.most - self.least)).clamp(0.0, 1.0);
        let height = f64::from(u16::try_from(BOTTOM - TOP).unwrap_or_default());
        BOTTOM - (part * height).round() as i64
    }
}

#[cfg(test)]
mod tests {
    use super::super::numbers::Language;
    use super::*;

    const DAY: i64 = 86_400_000;

    fn figure(style: Style, values: &[(i64, f64)]) -> Figure<'static> {
        let at = |hours: i64| Timestamp::from_millis(20_000 * DAY + hours * 3_600_000);
        let values = values.iter().map(|(hours, value)| (at(*hours), [*value; 3])).collect();
        Figure { title: "Level", style, unit: "%", lines: vec![Line { name: None, values }], since: at(0), until: at(24) }
    }

    fn draw(style: Style, values: &[(i64, f64)]) -> Option<Chart> {
        figure(style, values).draw(PastSpan::Day, Clock::UTC, &Numbers::of(Language::default()))
    }

    #[test]
    fn a_line_runs_to_the_end_and_keeps_inside() {
        let chart = draw(Style::Level, &[(0, 80.0), (12, 50.0)]).unwrap();
        assert_eq!(chart.lines[0].path, "M53 70l293 54h294");
        assert_eq!(chart.words.replace('\u{202f}', " "), "Level: from 50 % to 80 %");
        assert_eq!(chart.rows, [(214, "0".to_owned()), (124, "50".to_owned()), (34, "100".to_owned())]);
        assert_eq!(chart.columns.iter().map(|(_, text)| &**text).collect::<Vec<_>>(), ["00:00", "06:00", "12:00", "18:00"]);
        let chart = draw(Style::Steps, &[(0, 0.0), (6, 11.0), (12, 0.0)]).unwrap();
        assert_eq!(chart.lines[0].path, "M40 214h150v-132h150v132h300");
        assert!(draw(Style::Level, &[(3, 250.0), (9, 80.0)]).unwrap().lines[0].path.starts_with("M126 34"));
    }

    #[test]
    fn what_could_not_be_seen_is_said() {
        let words = |style, values: &[(i64, f64)]| {
            let chart = draw(style, values).unwrap();
            assert!(chart.lines.is_empty() && chart.rows.is_empty() && chart.points.is_empty(), "{chart:?}");
            chart.words.replace('\u{202f}', " ")
        };
        assert_eq!(words(Style::Level, &[(0, 80.0)]), "Nothing new in this time.");
        assert_eq!(words(Style::Steps, &[(9, 0.0)]), "Nothing else yet.");
        let hour = "So far from 79 % to 80 %. A chart follows with time.";
        assert_eq!(words(Style::Level, &[(23, 80.0), (24, 79.0)]), hour);
        assert_eq!(words(Style::Bars, &[(0, 0.0)]), "Nothing yet in this time.");
        assert!(!draw(Style::Level, &[(20, 80.0), (24, 79.0)]).unwrap().lines.is_empty());
    }

    #[test]
    fn each_point_says_what_was_told_when() {
        let told =
            |chart: Chart| chart.points.into_iter().map(|(x, text)| (x, text.replace('\u{202f}', " "))).collect::<Vec<_>>();
        let chart = draw(Style::Level, &[(0, 80.0), (12, 50.0)]).unwrap();
        assert_eq!(told(chart), [(53, "00:00: 80 %".to_owned()), (346, "12:00: 50 %".to_owned())]);
        let at = |hours: i64| Timestamp::from_millis(20_000 * DAY + hours * 3_600_000);
        let line = |name: &str, hours: &[i64]| Line {
            name: Some(name.to_owned()),
            values: hours.iter().map(|hour| (at(*hour), [2.4; 3])).collect(),
        };
        let lines = vec![line("front left", &[0, 12]), line("front right", &[6])];
        let tires = Figure { lines, unit: "bar", ..figure(Style::Between, &[]) };
        let told = told(tires.draw(PastSpan::Day, Clock::UTC, &Numbers::of(Language::default())).unwrap());
        let texts: Vec<&str> = told.iter().map(|(_, text)| text.as_str()).collect();
        let both = "front left 2.4 bar, front right 2.4 bar";
        assert_eq!(texts, ["00:00: front left 2.4 bar", &format!("06:00: {both}"), &format!("12:00: {both}")]);
        // A page has room for so many; the newest is one of them.
        let minute = |minute: u16| Timestamp::from_millis(at(0).as_millis() + i64::from(minute) * 60_000);
        let values = (0..1_440).map(|number| (minute(number), [f64::from(number) / 20.0; 3])).collect();
        let figure = Figure { lines: vec![Line { name: None, values }], ..figure(Style::Level, &[]) };
        let many = figure.draw(PastSpan::Day, Clock::UTC, &Numbers::of(Language::default())).unwrap().points;
        assert!((POINTS / 2..=POINTS).contains(&many.len()) && many.last().unwrap().1.starts_with("23:59"), "{many:?}");
    }

    #[test]
    fn bars_keep_to_their_days() {
        // The first day had begun before, the last has not ended.
        let since = Timestamp::from_millis(20_000 * DAY + DAY / 2);
        let until = Timestamp::from_millis(since.as_millis() + 7 * DAY);
        let figure = Figure { since, until, ..figure(Style::Bars, &[(0, 10.0), (24, 20.0), (168, 20.0)]) };
        let chart = figure.draw(PastSpan::Week, Clock::UTC, &Numbers::of(Language::default())).unwrap();
        let (left, path) = (chart.left, &chart.lines[0].path);
        let starts: Vec<i64> = path.split('M').skip(1).map(|bar| bar.split(' ').next().unwrap().parse().unwrap()).collect();
        let widths: Vec<i64> = path.split('h').skip(1).map(|bar| bar.split('v').next().unwrap().parse().unwrap()).collect();
        assert!(starts[0] >= left && starts[0] + widths[0] < starts[1], "{path}");
        assert!(starts[2] + widths[2] <= WIDTH && widths[0] < widths[1] && widths[2] < widths[1], "{path}");
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        assert!(draw(Style::Level, &[]).is_none());
        let none = Figure { lines: Vec::new(), ..figure(Style::Bars, &[]) };
        assert!(none.draw(PastSpan::Year, Clock::UTC, &Numbers::of(Language::default())).is_none());
    }

    #[test]
    fn scales_are_round() {
        let rows = |least, most| Scale::around(least, most).rows().collect::<Vec<_>>();
        assert_eq!(rows(0.0, 11.0), [0.0, 5.0, 10.0, 15.0]);
        assert_eq!(rows(18_342.0, 18_790.0), [18_200.0, 18_400.0, 18_600.0, 18_800.0]);
        assert_eq!(rows(0.0, 0.0), [0.0, 0.02, 0.04, 0.06]);
        for (least, most) in [(2.38, 2.41), (5.0, 5.0), (-20.0, 3.0), (0.0, 1e9), (1e-7, 2e-7)] {
            let scale = Scale::around(least, most);
            assert!(scale.least <= least + 1e-9 && scale.most >= most - 1e-9, "{least} {most}: {scale:?}");
            assert!((2..=6).contains(&scale.rows().count()), "{scale:?}");
        }
    }
}
