//! A transport that plays answers from a script.
