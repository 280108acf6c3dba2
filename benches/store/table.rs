//! The table that is printed, and what is judged.

use std::io::Write;

/// What a figure must be, or should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
    Exactly(f64),
}

impl Bound {
    fn holds(self, measured: f64) -> bool {
        match self {
            Bound::AtLeast(least) => measured >= least,
            Bound::AtMost(most) => measured <= most,
            Bound::Exactly(right) => (measured - right).abs() < 1e-9,
        }
    }
}

/// What a figure counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unit {
    /// So many times the reference.
    Times,
    Flushes,
    KiloBytes,
    MebiBytes,
    Millis,
}

impl Unit {
    pub(crate) fn write(self, figure: f64) -> String {
        match self {
            Unit::Times => format!("{figure:.2} times"),
            Unit::Flushes => format!("{figure}"),
            Unit::KiloBytes => format!("{:.1} kB", figure / 1000.0),
            Unit::MebiBytes => format!("{:.1} MiB", figure / 1024.0 / 1024.0),
            Unit::Millis => format!("{figure:.1} ms"),
        }
    }

    fn bound(self, bound: Option<Bound>) -> String {
        match bound {
            None => String::new(),
            Some(Bound::AtLeast(least)) => format!(">= {}", self.write(least)),
            Some(Bound::AtMost(most)) => format!("<= {}", self.write(most)),
            Some(Bound::Exactly(right)) => self.write(right),
        }
    }
}

/// One figure.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) figure: String,
    pub(crate) must: Bound,
    pub(crate) aim: Option<Bound>,
    pub(crate) unit: Unit,
    pub(crate) measured: f64,
    /// What stands behind it, such as the absolute rates of a ratio.
    pub(crate) note: String,
}

/// What became of all rows so far.
#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) failed: usize,
}

impl Table {
    pub(crate) fn begin() -> Table {
        line(&["figure", "must", "aim", "measured", "ok?"]);
        line(&["---", "---", "---", "---", "---"]);
        Table::default()
    }

    pub(crate) fn add(&mut self, row: &Row) {
        let must = row.must.holds(row.measured);
        self.failed += usize::from(!must);
        let ok = match (must, row.aim.is_none_or(|aim| aim.holds(row.measured))) {
            (false, _) => "NO",
            (true, false) => "yes, below aim",
            (true, true) => "yes",
        };
        let measured = format!("{} ({})", row.unit.write(row.measured), row.note);
        line(&[&row.figure, &row.unit.bound(Some(row.must)), &row.unit.bound(row.aim), &measured, ok]);
    }

    /// A figure that is only told.
    pub(crate) fn tell(figure: &str, measured: &str) {
        line(&[figure, "", "", measured, ""]);
    }
}

fn line([figure, must, aim, measured, ok]: &[&str; 5]) {
    // Nobody may be left to read it.
    let _ = writeln!(std::io::stdout(), "| {figure:<58} | {must:<13} | {aim:<13} | {measured:<72} | {ok:<14} |");
}
