//! A form that was not taken: it is shown again with what was typed, and what is wrong stands beside each box.

/// A form that was not taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mistake<'a> {
    /// Where on the page the form is; nowhere, if there is nothing to mend in it.
    pub(crate) place: &'static str,
    /// Why it was not taken, where that concerns no box alone.
    pub(crate) sentence: &'a str,
    /// What is wrong, by box.
    pub(crate) wrong: &'a [(&'static str, String)],
    /// What was typed, by box.
    pub(crate) typed: &'a [(&'static str, String)],
}

impl Mistake<'_> {
    /// What was typed into a box.
    pub(super) fn typed(&self, field: &str) -> Option<&str> {
        of(self.typed, field)
    }

    /// What is wrong with it.
    pub(super) fn wrong(&self, field: &str) -> Option<&str> {
        of(self.wrong, field)
    }
}

fn of<'a>(all: &'a [(&'static str, String)], field: &str) -> Option<&'a str> {
    all.iter().find(|(own, _)| *own == field).map(|(_, text)| text.as_str())
}
