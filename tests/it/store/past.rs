//! All that a store has ever been: what may be read of one that a disk has damaged.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::model::{Deed, Model};
use super::view::View;

/// Rows that changes alter in part, or that count or number others: when a change before was lost, they are
/// a mixture.
const MIXED: &[&str] = &[
    "audit",
    "connection",
    "identity",
    "invite",
    "label",
    "latest",
    "reading",
    "row of",
    "session",
    "sum of",
    "to re",
    "users",
    "vehicle",
];

/// What of a row no change alters without the rest of it: of token sets, all but when they were used and are due.
fn lasting<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if !name.starts_with("tokens") && !name.starts_with("previous") {
        return value.into();
    }
    let mut tokens: Map<String, Value> = serde_json::from_str(value).unwrap();
    tokens.retain(|field, _| field != "used_at" && field != "due_at");
    serde_json::to_string(&tokens).unwrap().into()
}

/// What was once so, by row.
type Truth = BTreeMap<String, BTreeSet<String>>;

/// Every state, by the number of changes that had been asked for.
pub(crate) struct Past {
    models: Vec<Model>,
    views: Vec<View>,
    deeds: Vec<Box<dyn Deed>>,
    truth: Truth,
    /// What was ever in the log, at any place.
    entries: BTreeSet<String>,
}

impl Past {
    /// A store that has just been made.
    pub(crate) fn new() -> Past {
        let (models, views) = (vec![Model::default()], vec![View::of_model(&Model::default())]);
        Past { models, views, deeds: Vec::new(), truth: Truth::new(), entries: BTreeSet::new() }
    }

    /// The state now.
    pub(crate) fn model(&self) -> &Model {
        &self.models[self.models.len() - 1]
    }

    /// A change is asked for.
    pub(crate) fn add(&mut self, deed: &dyn Deed) {
        let mut model = self.model().clone();
        let view = play(deed, &mut model, &mut self.truth);
        self.entries.extend(view.rows.iter().filter(|(name, _)| name.starts_with("entry")).map(|(_, value)| value.clone()));
        self.deeds.push(deed.again());
        self.models.push(model);
        self.views.push(view);
    }

    /// The states since so many changes.
    pub(crate) fn since(&self, changes: usize) -> &[Model] {
        &self.models[changes..]
    }

    /// What is read must be a state since so many changes, or there are findings, and even then every row
    /// must once have been so.
    #[track_caller]
    pub(crate) fn judge(&self, view: &View, findings: &[String], since: usize) {
        if self.views[since..].contains(view) {
            return;
        }
        let differences = || view.differences(&self.views[self.views.len() - 1]).join("\n");
        assert!(!findings.is_empty(), "lost in silence, since {since} of {}:\n{}", self.models.len() - 1, differences());
        for (name, value) in view.rows.iter().filter(|(name, _)| !MIXED.iter().any(|mixed| name.starts_with(mixed))) {
            // A delivery that came twice is there twice if what told it apart was lost.
            let came_twice = name.starts_with("entry") && !self.entries.contains(value);
            let is_true = |truth: &Truth| truth.get(name).is_some_and(|values| values.contains(&*lasting(name, value)));
            let is_explained = is_true(&self.truth) || came_twice || self.with_holes().any(|truth| is_true(&truth));
            assert!(is_explained, "{name}: {value} was never so; {findings:?}\n{}", differences());
        }
    }

    /// What would have been so, had a few changes one after the other not been made: a part of the journal that does
    /// not open holds one that had to be durable, and those before it that waited for it. The changes after them
    /// decide by what they meet.
    fn with_holes(&self) -> impl Iterator<Item = Truth> {
        let holes = (0..self.deeds.len()).flat_map(|first| (1..=HOLE).map(move |length| (first, first + length)));
        holes.filter(|(_, end)| *end < self.deeds.len()).map(|(first, end)| {
            let (mut model, mut truth) = (self.models[first].clone(), Truth::new());
            for deed in &self.deeds[end..] {
                play(&**deed, &mut model, &mut truth);
            }
            truth
        })
    }
}

/// How many changes are lost together at most.
const HOLE: usize = 6;

/// Does a deed, and adds what is so from now on.
fn play(deed: &dyn Deed, model: &mut Model, truth: &mut Truth) -> View {
    let told = deed.tells(model);
    deed.play(model);
    let view = View::of_model(model);
    for (name, value) in told.into_iter().chain(view.rows.clone()) {
        let value = lasting(&name, &value).into_owned();
        truth.entry(name).or_default().insert(value);
    }
    view
}
