//! What a store may hold, as far as its answers tell.

use std::collections::BTreeSet;

use carport::store::{Store, StoreError};

use super::model::{Deed, Model, is_flushed};
use super::view::View;

/// Models, one of which the store is like.
#[derive(Clone, Debug)]
pub(crate) struct Belief {
    /// What can be read now.
    now: Vec<Model>,
    /// What there may be after a crash at this moment.
    after_crash: Vec<Model>,
    /// The disk may fail under it: it is opened anew in the middle of a change, which succeeds all the same.
    falters: bool,
}

impl Belief {
    /// A store that is one of these.
    pub(crate) fn of(models: Vec<Model>) -> Belief {
        Belief { now: models.clone(), after_crash: models, falters: false }
    }

    /// The same on a disk that may fail.
    pub(crate) fn on_a_bad_disk(self) -> Belief {
        Belief { falters: true, ..self }
    }

    /// What there may be after a crash now.
    pub(crate) fn after_crash(&self) -> Vec<Model> {
        self.after_crash.clone()
    }

    /// The likeliest.
    pub(crate) fn model(&self) -> &Model {
        &self.now[self.now.len() - 1]
    }

    /// What there may be after a crash while the store is at it.
    pub(crate) fn during(&self, deed: &dyn Deed) -> Vec<Model> {
        let mut models = self.after_crash.clone();
        for (_, model) in self.played(deed) {
            add(&mut models, model);
        }
        models
    }

    fn played(&self, deed: &dyn Deed) -> Vec<(String, Model)> {
        let before = if self.falters { &self.after_crash } else { &self.now };
        before.iter().cloned().map(|mut model| (deed.play(&mut model), model)).collect()
    }

    /// Has the store do it; its answer must be one that was expected, if it is no refusal.
    #[track_caller]
    pub(crate) fn commit(&mut self, store: &Store, deed: Box<dyn Deed>) -> Result<(), StoreError> {
        let (played, is_derived, name) = (self.played(&*deed), deed.is_derived(), deed.name());
        match deed.commit(store) {
            Ok(outcome) => {
                let expected = played.iter().map(|(expected, _)| expected).collect::<BTreeSet<_>>();
                assert!(expected.contains(&outcome), "{name}: {outcome}, not {expected:?}");
                self.now = played.into_iter().filter(|(expected, _)| *expected == outcome).map(|(_, model)| model).collect();
                if is_flushed(is_derived, &outcome) {
                    self.after_crash.clear();
                }
                for model in &self.now {
                    add(&mut self.after_crash, model.clone());
                }
                Ok(())
            }
            // Nobody was told that it is durable, but it may be. The files were opened anew.
            Err(error) => {
                for (_, model) in played {
                    add(&mut self.after_crash, model);
                }
                self.was_reopened();
                Err(error)
            }
        }
    }

    /// All that was acknowledged is durable.
    pub(crate) fn is_durable(&mut self) {
        self.after_crash.clone_from(&self.now);
    }

    /// The files were closed by a failure, or by a crash of the process, and opened anew.
    pub(crate) fn was_reopened(&mut self) {
        self.now.clone_from(&self.after_crash);
    }

    /// This was read of it: it must be one of what was believed.
    #[track_caller]
    pub(crate) fn seen(&mut self, view: &View) {
        let views: Vec<View> = self.now.iter().map(View::of_model).collect();
        if !views.contains(view) {
            let nearest = views.iter().map(|expected| view.differences(expected)).min_by_key(|found| found.len()).unwrap();
            panic!("the store is like none of {} models; compared with the nearest:\n{}", views.len(), nearest.join("\n"));
        }
        let mut views = views.iter();
        self.now.retain(|_| views.next() == Some(view));
    }
}

fn add(models: &mut Vec<Model>, model: Model) {
    if !models.contains(&model) {
        models.push(model);
    }
}
