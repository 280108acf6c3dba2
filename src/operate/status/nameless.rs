//! The status for those who may know how Carport is, and not which cars it has.

use super::{Facts, Status, StatusView};

impl Status {
    /// The status, in which no vehicle is named.
    pub async fn show_nameless(&self) -> StatusView {
        self.view(self.shared.facts_or_none().await.nameless()).await
    }
}

impl Facts {
    fn nameless(mut self) -> Facts {
        for (_, vehicle) in &mut self.notices {
            *vehicle = None;
        }
        (self.unsubscribed.first, self.unheard.first) = (None, None);
        self
    }
}
