//! Whether API v2.0 has really ended, for somebody who looks closely.

use super::Status;
use crate::tokens::Doubt;

impl Status {
    /// Looks whether what was told of the end of API v2.0 is so still. Whoever looks `afresh` has it asked in any case, by what
    /// is connected.
    pub async fn doubt_end(&self, afresh: bool) {
        self.shared.tokens.doubt_end(if afresh { Doubt::Checking } else { Doubt::Looking }).await;
    }
}
