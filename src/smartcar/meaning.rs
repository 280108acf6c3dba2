//! What a failed answer means.
