//! The one table between signals and endpoints of API v2.0.
