//! Counters and histograms, written as Prometheus text 0.0.4.
//!
//! One struct, made once and handed around; nothing is global. Names are the contract's.
