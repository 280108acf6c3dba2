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
    /// The answer is an HTML error page with this status.
    GarbleAs(u16),
    /// The answer breaks off in the middle.
    Cut,
    /// No answer ever comes; nothing has happened.
    Hang,
    /// One of the documented errors.
    Complain(Complaint),
    /// A v3 command answers 202 at once, and what became of it after this time.
    SlowCommand(Duration),
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
    /// A delivery is sent without a signature.
    Unsigned,
    /// A delivery is signed with another key.
    WrongSignature,
    /// An event is delivered twice at once.
    Duplicate,
    /// A delivery is late by up to this much, so that later ones overtake it.
    Late(Duration),
    /// An event is blown up to nearly 50 kB.
    Pad,
    /// An event is a test from the dashboard, about a vehicle nobody knows.
    TestEvent,
    /// v3 signal lists stay empty until a webhook is verified and the vehicle subscribed.
    EmptyStore,
}

/// An error of the API, by its type and code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Complaint {
    kind: &'static str,
    code: Option<&'static str>,
}

impl Complaint {
    /// `TYPE` or `TYPE.CODE`, as `BILLING.VEHICLE_LIMIT`. None: no such error is documented.
    pub fn named(name: &str) -> Option<Complaint> {
        let trouble = Trouble::named(name)?;
        Some(Complaint { kind: trouble.kind, code: trouble.code })
    }

    fn trouble(self) -> Option<Trouble> {
        let name = self.code.map_or_else(|| self.kind.to_owned(), |code| format!("{}.{code}", self.kind));
        Trouble::named(&name)
    }
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

/// As it is written.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |time: Duration| time.as_secs_f64();
        match self.kind {
            FaultKind::Refuse => f.write_str("refuse"),
            FaultKind::Delay(time) => write!(f, "delay={}", of(time)),
            FaultKind::LoseAnswer => f.write_str("lose-answer"),
            FaultKind::RotateThenLose => f.write_str("rotate-then-lose"),
            FaultKind::Garble => f.write_str("garble"),
            FaultKind::GarbleAs(status) => write!(f, "garble={status}"),
            FaultKind::Cut => f.write_str("cut"),
            FaultKind::Hang => f.write_str("hang"),
            FaultKind::Complain(Complaint { kind, code: None }) => write!(f, "trouble={kind}"),
            FaultKind::Complain(Complaint { kind, code: Some(code) }) => write!(f, "trouble={kind}.{code}"),
            FaultKind::SlowCommand(time) => write!(f, "slow-command={}", of(time)),
            FaultKind::Throttle(None) => f.write_str("throttle"),
            FaultKind::Throttle(Some(seconds)) => write!(f, "throttle={seconds}"),
            FaultKind::Fail => f.write_str("fail"),
            FaultKind::InvalidClient => f.write_str("invalid-client"),
            FaultKind::InvalidGrant => f.write_str("invalid-grant"),
            FaultKind::UnsignedVerify => f.write_str("unsigned-verify"),
            FaultKind::Unsigned => f.write_str("unsigned"),
            FaultKind::WrongSignature => f.write_str("wrong-signature"),
            FaultKind::Duplicate => f.write_str("duplicate"),
            FaultKind::Late(time) => write!(f, "late={}", of(time)),
            FaultKind::Pad => f.write_str("pad"),
            FaultKind::TestEvent => f.write_str("test-event"),
            FaultKind::EmptyStore => f.write_str("empty-store"),
        }?;
        if self.probability < 1.0 {
            write!(f, "@{}", self.probability)?;
        }
        self.times.map_or(Ok(()), |times| write!(f, "*{times}"))
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
        ("garble[=STATUS]", "the answer is an HTML error page with status 200, or another"),
        ("cut", "the answer breaks off in the middle"),
        ("hang", "no answer ever comes; nothing has happened"),
        ("trouble=TYPE.CODE", "one of the documented errors below; a TYPE alone is one without a code"),
        ("slow-command[=SECONDS]", "a v3 command answers 202 at once and its outcome after 180 seconds"),
        ("any", "one of all of the above, by chance; best with a probability"),
        ("throttle[=SECONDS]", "429, with so many seconds in Retry-After, or without it"),
        ("fail", "500"),
        ("invalid-client", "401 from the token endpoints, as if the client secret were wrong"),
        ("invalid-grant", "400 for a good refresh token, as if its v2 owner had taken back the consent"),
        ("unsigned-verify", "VERIFY is sent without a signature"),
        ("unsigned", "a webhook delivery is sent without a signature"),
        ("wrong-signature", "a webhook delivery is signed with another key"),
        ("duplicate", "a webhook event is delivered twice at once"),
        ("late[=SECONDS]", "a webhook delivery is late by up to 30 seconds, so that others overtake it"),
        ("pad", "a webhook event is blown up to nearly 50 kB"),
        ("test-event", "a webhook event is a test, about a vehicle that nobody knows"),
        ("empty-store", "v3 has no signals of a car before a webhook is verified and subscribed to"),
    ];

    /// What `trouble=` can be of.
    pub fn troubles() -> Vec<String> {
        Trouble::names()
    }

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
            FaultKind::Complain(complaint) => complaint.trouble(),
            _ => None,
        };
        self.struck(complaint, chance)
    }

    /// How slow a command is now.
    pub(super) fn slowness(&mut self, chance: &mut Chance) -> Option<Duration> {
        self.struck(|kind| if let FaultKind::SlowCommand(time) = kind { Some(time) } else { None }, chance)
    }

    /// The most by which a delivery is late now.
    pub(super) fn lateness(&mut self, chance: &mut Chance) -> Option<Duration> {
        self.struck(|kind| if let FaultKind::Late(time) = kind { Some(time) } else { None }, chance)
    }

    /// The status of the page that comes instead of an answer now.
    pub(super) fn garbling(&mut self, chance: &mut Chance) -> Option<u16> {
        let status = |kind| match kind {
            FaultKind::Garble => Some(200),
            FaultKind::GarbleAs(status) => Some(status),
            _ => None,
        };
        self.struck(status, chance)
    }

    /// Reads a list as it is written on a command line. `any` becomes several.
    pub fn read<'a>(list: impl IntoIterator<Item = &'a str>) -> Result<Faults, FaultSyntax> {
        let mut faults = Vec::new();
        for text in list {
            let Some(rest) = text.strip_prefix("any").filter(|rest| rest.is_empty() || rest.starts_with(['@', '*'])) else {
                faults.push(text.parse()?);
                continue;
            };
            for (name, _) in Faults::ALL.iter().take_while(|(name, _)| *name != "any") {
                let name = name.replace("[=SECONDS]", "").replace("[=STATUS]", "=502").replace("SECONDS", "5");
                let mut fault: Fault = format!("{}{rest}", name.replace("TYPE.CODE", "UPSTREAM.NO_RESPONSE")).parse()?;
                fault.probability /= 10.0;
                faults.push(fault);
            }
        }
        Ok(Faults(faults))
    }

    /// Those that may still strike, as they are written.
    pub(super) fn in_force(&self) -> Vec<String> {
        self.0.iter().filter(|fault| fault.times != Some(0)).map(Fault::to_string).collect()
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
            ("garble", Some(status)) => {
                let status = status.parse().ok().filter(|status| (200..600).contains(status));
                FaultKind::GarbleAs(status.ok_or_else(|| wrong("not a status from 200 to 599"))?)
            }
            ("cut", None) => FaultKind::Cut,
            ("hang", None) => FaultKind::Hang,
            ("trouble", Some(name)) => {
                FaultKind::Complain(Complaint::named(name).ok_or_else(|| wrong("no such error is documented"))?)
            }
            ("slow-command", None) => FaultKind::SlowCommand(Duration::from_secs(180)),
            ("slow-command", Some(value)) => FaultKind::SlowCommand(seconds(value).ok_or_else(|| wrong("not seconds"))?),
            ("unsigned", None) => FaultKind::Unsigned,
            ("wrong-signature", None) => FaultKind::WrongSignature,
            ("duplicate", None) => FaultKind::Duplicate,
            ("late", None) => FaultKind::Late(Duration::from_secs(30)),
            ("late", Some(value)) => FaultKind::Late(seconds(value).ok_or_else(|| wrong("not seconds"))?),
            ("pad", None) => FaultKind::Pad,
            ("test-event", None) => FaultKind::TestEvent,
            ("fail", None) => FaultKind::Fail,
            ("invalid-client", None) => FaultKind::InvalidClient,
            ("invalid-grant", None) => FaultKind::InvalidGrant,
            ("unsigned-verify", None) => FaultKind::UnsignedVerify,
            ("empty-store", None) => FaultKind::EmptyStore,
            ("throttle", None | Some("none")) => FaultKind::Throttle(None),
            ("throttle", Some(value)) => FaultKind::Throttle(Some(value.parse().map_err(|_| wrong("not whole seconds"))?)),
            ("delay", Some(value)) => FaultKind::Delay(seconds(value).ok_or_else(|| wrong("not seconds"))?),
            ("delay", None) => return Err(wrong("delay needs seconds")),
            _ => return Err(wrong("no such fault")),
        };
        Ok(Fault { kind, probability, times })
    }
}

fn seconds(text: &str) -> Option<Duration> {
    text.trim_end_matches('s').parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
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
            let fault = name.replace("[=SECONDS]", "").replace("[=STATUS]", "=503").replace("SECONDS", "1");
            let fault = fault.replace("TYPE.CODE", "VEHICLE_STATE.ASLEEP");
            let faults = Faults::read([fault.as_str()]).unwrap_or_else(|_| panic!("{fault}"));
            let written = faults.in_force();
            assert_eq!(Faults::read(written.iter().map(String::as_str)), Ok(faults), "{written:?}");
        }
        for name in Faults::troubles() {
            assert_eq!(read(&format!("trouble={name}")).unwrap().to_string(), format!("trouble={name}"));
        }
        assert_eq!(read("throttle=30@0.1*3").unwrap().to_string(), "throttle=30@0.1*3");
        let any = Faults::read(["any@0.5*2"]).unwrap();
        assert!(any.0.len() > 8 && any.0.iter().all(|fault| fault.probability < 0.1 && fault.times == Some(2)), "{any:?}");
        for wrong in ["rain", "garble=7", "trouble=RAIN", "anything", "refuse=3", "delay", "delay=-1", "garble@2", "fail*x", ""] {
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
