//! Reading what may have any shape: a field of an unexpected type is as good as missing.
//!
//! Smartcar's payloads vary by age and page of the documentation (ids that are null, objects where
//! arrays were, times as numbers or text). These helpers keep one odd field from spoiling the rest.
