//! All that a store has ever been: what may be read of one that a disk has damaged.

use std::collections::{BTreeMap, BTreeSet};

use super::model::Model;
use super::view::View;

/// Rows that changes alter in part: when a change before was lost, they are a mixture.
const MIXED: [&str; 7] = ["connection", "invite", "label", "latest", "session", "sum of", "vehicle"];

/// Every state, by the number of changes that had been asked for.
#[derive(Default)]
pub(crate) struct Past {
    models: Vec<Model>,
    views: Vec<View>,
    values: BTreeMap<String, BTreeSet<String>>,
    /// What was ever in the log. A redelivery that was not is there if what told it apart was lost.
    entries: BTreeSet<String>,
}

impl Past {
    /// The state after one change more.
    pub(crate) fn add(&mut self, model: &Model) {
        let view = View::of_model(model);
        for (name, value) in &view.rows {
            if name.starts_with("entry") {
                self.entries.insert(value.clone());
            }
            self.values.entry(name.clone()).or_default().insert(value.clone());
        }
        self.models.push(model.clone());
        self.views.push(view);
    }

    /// The states since so many changes.
    pub(crate) fn since(&self, changes: usize) -> &[Model] {
        &self.models[changes..]
    }

    /// What is read must be a state since so many changes, or there are findings. Even then every row must
    /// be one that there was. Returns whether it is such a state.
    #[track_caller]
    pub(crate) fn judge(&self, view: &View, findings: &[String], since: usize) -> bool {
        if self.views[since..].contains(view) {
            return true;
        }
        let differences = || view.differences(self.views.last().unwrap()).join("\n");
        assert!(!findings.is_empty(), "lost in silence, since {since} of {}:\n{}", self.views.len(), differences());
        for (name, value) in view.rows.iter().filter(|(name, _)| !MIXED.iter().any(|mixed| name.starts_with(mixed))) {
            let is_true = self.values.get(name).is_some_and(|values| values.contains(value))
                || (name.starts_with("entry") && !self.entries.contains(value));
            assert!(is_true, "{name}: {value} was never so; {findings:?}\n{}", differences());
        }
        false
    }
}
