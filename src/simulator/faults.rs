//! Bad days on purpose: what may go wrong between a client and Smartcar, how often, decided by the seed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::chance::Chance;
use super::trouble::Trouble;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection is refused; nothing happened.
    Refuse,
    /// The answer comes late by this much.
    Delay(Duration),
    /// The request is acted upon, the answer never arrives.
    LoseAnswer,
    /// As `LoseAnswer`, but only where it hurts: after `/oauth/token` rotated a pair.
    RotateThenLose,
    /// The answer is an HTML error page with status 200.
    Garble,
    /// 429, with this many seconds in `Retry-After`, or without the header.
    Throttle(Option<u32>),
    /// 500 in the shape of the API asked.
    Fail,
    /// 401 `invalid_client` from the token endpoints, as if the client secret were wrong.
    InvalidClient,
    /// 400 `invalid_grant` for a refresh token that is good, as if its owner had taken back the consent.
    InvalidGrant,
    /// VERIFY is sent without a signature.
    UnsignedVerify,
    /// v3 signal lists stay empty until a webhook is verified and the vehicle subscribed.
    EmptyStore,
}

/// One fault, with how likely and how often it strikes.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// From 0 to 1, for each request.
    pub probability: f64,
    /// How many times at most; no end when none.
    pub times: Option<u32>,
}

impl Fault {
    /// A fault that strikes every time.
    pub fn always(kind: FaultKind) -> Fault {
        Fault { kind, probability: 1.0, times: None }
    }

    /// A fault that strikes the next time, and never again.
    pub fn once(kind: FaultKind) -> Fault {
        Fault { times: Some(1), ..Fault::always(kind) }
    }
}

/// All faults that are on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// How to write a fault.
    pub const SYNTAX: &'static str = "NAME[=VALUE][@PROBABILITY][*TIMES], for example throttle=30@0.1 or rotate-then-lose*1";

    /// All faults, each with what it does.
    pub const ALL: &'static [(&'static str, &'static str)] = &[
        ("refuse", "the connection is refused; nothing has happened"),
        ("delay=SECONDS", "the answer comes late"),
        ("lose-answer", "the request is acted upon, and the answer never arrives"),
        ("rotate-then-lose", "the same, but only where a v2 refresh token was rotated"),
        ("garble", "the answer is an HTML error page with status 200"),
        ("throttle[=SECONDS]", "429, with so many seconds in Retry-After, or without it"),
        ("fail", "500"),
        ("invalid-client", "401 from the token endpoints, as if the client secret were wrong"),
        ("invalid-grant", "400 for a good refresh token, as if its v2 owner had taken back the consent"),
        ("unsigned-verify", "VERIFY is sent without a signature"),
        ("empty-store", "v3 has no signals of a car before a webhook is verified and subscribed to"),
    ];

    /// Puts faults together.
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Faults {
        Faults(faults.into_iter().collect())
    }

    /// Whether `kind` strikes now. Uses up one of its times.
    pub(super) fn strikes(&mut self, kind: FaultKind, chance: &mut Chance) -> bool {
        self.struck(|other| (other == kind).then_some(()), chance).is_some()
    }

    /// How long the answer is held back now.
    pub(super) fn delay(&mut self, chance: &mut Chance) -> Option<Duration> {
        self.struck(|kind| if let FaultKind::Delay(time) = kind { Some(time) } else { None }, chance)
    }

    /// What is complained about now instead of an answer.
    pub(super) fn complaint(&mut self, chance: &mut Chance) -> Option<Trouble> {
        let complaint = |kind| match kind {
            FaultKind::Throttle(seconds) => Some(Trouble::throttled(seconds)),
            FaultKind::Fail => Some(Trouble::internal()),
            _ => None,
        };
        self.struck(complaint, chance)
    }

    /// Whether `kind` is on, without using it up.
    pub(super) fn has(&self, kind: FaultKind) -> bool {
        self.0.iter().any(|fault| fault.kind == kind)
    }

    fn struck<T>(&mut self, pick: impl Fn(FaultKind) -> Option<T>, chance: &mut Chance) -> Option<T> {
        for fault in self.0.iter_mut().filter(|fault| fault.times != Some(0)) {
            let Some(found) = pick(fault.kind) else { continue };
            if chance.hit(fault.probability) {
                fault.times = fault.times.map(|times| times - 1);
                return Some(found);
            }
        }
        None
    }
}

impl FromIterator<Fault> for Faults {
    fn from_iter<I: IntoIterator<Item = Fault>>(faults: I) -> Faults {
        Faults::new(faults)
    }
}

/// Why a `--fault` cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultSyntax(String);

impl fmt::Display for FaultSyntax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = Faults::ALL.iter().map(|(name, _)| *name).collect();
        write!(f, "{}; write {}. Names: {}", self.0, Faults::SYNTAX, names.join(", "))
    }
}

impl std::error::Error for FaultSyntax {}

impl FromStr for Fault {
    type Err = FaultSyntax;

    fn from_str(text: &str) -> Result<Fault, FaultSyntax> {
        let wrong = |what: &str| FaultSyntax(format!("`{text}`: {what}"));
        let (rest, times) = match text.split_once('*') {
            Some((rest, times)) => (rest, Some(times.parse().map_err(|_| wrong("the number after `*` is not one"))?)),
            None => (text, None),
        };
        let (rest, probability) = match rest.split_once('@') {
            Some((rest, share)) => {
                let share = share.parse().ok().filter(|share| (0.0..=1.0).contains(share));
                (rest, share.ok_or_else(|| wrong("a probability is from 0 to 1"))?)
            }
            None => (rest, 1.0),
        };
        let (name, value) = rest.split_once('=').map_or((rest, None), |(name, value)| (name, Some(value)));
        let kind = match (name, value) {
            ("refuse", None) => FaultKind::Refuse,
            ("lose-answer", None) => FaultKind::LoseAnswer,
            ("rotate-then-lose", None) => FaultKind::RotateThenLose,
            ("garble", None) => FaultKind::Garble,
            ("fail", None) => FaultKind::Fail,
            ("invalid-client", None) => FaultKind::InvalidClient,
            ("invalid-grant", None) => FaultKind::InvalidGrant,
            ("unsigned-verify", None) => FaultKind::UnsignedVerify,
            ("empty-store", None) => FaultKind::EmptyStore,
            ("throttle", None | Some("none")) => FaultKind::Throttle(None),
            ("throttle", Some(value)) => FaultKind::Throttle(Some(value.parse().map_err(|_| wrong("not whole seconds"))?)),
            ("delay", Some(value)) => {
                let seconds = value.trim_end_matches('s').parse().ok().and_then(|value| Duration::try_from_secs_f64(value).ok());
                FaultKind::Delay(seconds.ok_or_else(|| wrong("not seconds"))?)
            }
            ("delay", None) => return Err(wrong("delay needs seconds")),
            _ => return Err(wrong("no such fault")),
        };
        Ok(Fault { kind, probability, times })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_help_shows() {
        let read = |text: &str| text.parse::<Fault>();
        let throttle = Fault { kind: FaultKind::Throttle(Some(30)), probability: 0.1, times: None };
        assert_eq!(read("throttle=30@0.1"), Ok(throttle));
        assert_eq!(read("rotate-then-lose*1"), Ok(Fault::once(FaultKind::RotateThenLose)));
        assert_eq!(read("delay=1.5s"), Ok(Fault::always(FaultKind::Delay(Duration::from_millis(1500)))));
        for (name, _) in Faults::ALL {
            let fault = name.replace("[=SECONDS]", "").replace("SECONDS", "1");
            assert!(read(&fault).is_ok(), "{fault}");
        }
        for wrong in ["rain", "refuse=3", "delay", "delay=-1", "garble@2", "fail*x", ""] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("rotate-then-lose"), "{error}");
        }
    }

    #[test]
    fn a_fault_is_used_up() {
        let (mut faults, mut chance) = (Faults::new([Fault::once(FaultKind::Refuse)]), Chance::of(1, "faults"));
        assert!(!faults.strikes(FaultKind::Garble, &mut chance));
        assert!(faults.strikes(FaultKind::Refuse, &mut chance));
        assert!(!faults.strikes(FaultKind::Refuse, &mut chance));
    }
}
