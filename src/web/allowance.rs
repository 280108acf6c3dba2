//! What a limit tells its clients: `RateLimit-Policy` and `RateLimit`, as draft-ietf-httpapi-ratelimit-headers-11
//! has them, so that a program can slow down before it is refused.

use std::time::Duration;

use http::HeaderValue;
use http::header::{HeaderMap, HeaderName};

use super::router::Bucket;
use super::settings::Quota;

/// What a client has left in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Allowance {
    pub(super) bucket: Bucket,
    pub(super) quota: Quota,
    /// How many more may come at once.
    pub(super) left: u32,
    /// Until the bucket is full again; after a refusal: until it has one.
    pub(super) wait: Duration,
}

impl Allowance {
    /// Adds the two headers. Of two limits the one that was met first stays.
    pub(super) fn show(self, headers: &mut HeaderMap) {
        let Allowance { bucket, quota, left, .. } = self;
        let (name, window) = (bucket.name(), quota.period.as_secs());
        let policy = format!("\"{name}\";q={};w={window}", quota.count);
        let state = format!("\"{name}\";r={left};t={}", self.seconds());
        for (name, value) in [(POLICY, policy), (STATE, state)] {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.entry(name).or_insert(value);
            }
        }
    }

    /// The wait in whole seconds, rounded up: who waits that long is not refused again for a fraction.
    fn seconds(self) -> u64 {
        self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0)
    }
}

pub(super) const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
pub(super) const STATE: HeaderName = HeaderName::from_static("ratelimit");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_headers_name_the_bucket() {
        let quota = Quota::new(600, Duration::from_secs(60));
        let allowance = Allowance { bucket: Bucket::Api, quota, left: 599, wait: Duration::from_millis(100) };
        let mut headers = HeaderMap::new();
        allowance.show(&mut headers);
        Allowance { bucket: Bucket::Login, ..allowance }.show(&mut headers);
        assert_eq!(headers[POLICY], "\"api\";q=600;w=60");
        assert_eq!(headers[STATE], "\"api\";r=599;t=1");
    }
}
