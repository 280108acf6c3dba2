//! Webhook events.
