//! Value types that parse once and hold their limits.
//!
//! Standard library and `url` only, so that the resource types, the planner and the REST client share them.
//! The limits are those of ZITADEL's create call (`POST /v3alpha/targets`) and stand a second time, as schema and
//! CEL, in [`super::target`]; a test compares the two.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

/// Longest target name, in code points (v3alpha; later generations accept 1000).
pub const NAME_MAX: usize = 200;
/// Longest endpoint, in code points (1000 on every generation but v2 from v4.5.0).
pub const ENDPOINT_MAX: usize = 1000;

/// Why a value was refused. The text says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidValue {
    /// The name is empty, too long, or has control characters.
    #[error("name must have 1 to {NAME_MAX} characters and no control characters")]
    Name,
    /// The endpoint is no absolute http or https URL of at most 1000 characters.
    #[error(
        "endpoint must be an absolute http or https URL of at most {ENDPOINT_MAX} characters, such as https://hooks.example.com/zitadel"
    )]
    Endpoint,
    /// The timeout is not a positive duration.
    #[error("timeout must be a positive duration with units, such as 10s, 1m30s or 500ms")]
    Timeout,
    /// None or several of the three target kinds are set.
    #[error("exactly one of restWebhook, restCall and restAsync must be set")]
    Kind,
    /// The id is empty or has characters that ZITADEL never issues.
    #[error("a target id is a string of 1 to 200 characters without slashes or spaces")]
    Id,
}

/// Name of a target in ZITADEL: 1 to 200 code points, unique per instance without regard to case.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetName(String);

impl TargetName {
    /// Whether ZITADEL would take both names for the same one (it lower-cases before its uniqueness check).
    #[must_use]
    pub fn same_as(&self, other: &str) -> bool {
        self.0.to_lowercase() == other.to_lowercase()
    }

    /// Whether some servers will never free the name: they lower-case it in Go when they take it and in SQL when they
    /// free it, and a database with the locale C lower-cases ASCII only (seen on v2.58.7 and v4.13.1).
    #[must_use]
    pub fn may_stay_taken(&self) -> bool {
        self.0.chars().any(|c| !c.is_ascii() && c.is_uppercase())
    }

    /// The name as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetName {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let length = text.chars().count();
        if length == 0 || length > NAME_MAX || text.chars().any(char::is_control) {
            return Err(InvalidValue::Name);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TargetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Id of a target, assigned by ZITADEL (a decimal number in a string on every generation seen).
///
/// It becomes a path segment of requests, so anything that could change the path is refused here.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TargetId(String);

impl TargetId {
    /// The id as ZITADEL wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TargetId {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        // "search" and "_search" are routes of their own below /targets/ (docs/zitadel/observed.md: a POST there is another call).
        let route = matches!(text, "search" | "_search");
        if text.is_empty() || text.len() > 200 || route || !text.chars().all(allowed) {
            return Err(InvalidValue::Id);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Absolute http or https URL that ZITADEL calls. Kept byte for byte, as the server stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint(String);

impl Endpoint {
    /// The URL as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = url::Url::parse(text).map_err(|_| InvalidValue::Endpoint)?;
        let web = matches!(parsed.scheme(), "http" | "https") && parsed.host().is_some();
        // `url` repairs "https:/host" and "https:host"; ZITADEL's parser does not.
        let separated = text.split_once(':').is_some_and(|(_, rest)| rest.starts_with("//"));
        if !web || !separated || text.chars().count() > ENDPOINT_MAX || text.chars().any(char::is_control) {
            return Err(InvalidValue::Endpoint);
        }
        Ok(Self(text.to_owned()))
    }
}

/// How long ZITADEL waits for the endpoint. Compared by value: the server returns "0.500s" for "0.5s".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timeout(Duration);

impl Timeout {
    /// The value as a duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// A timeout of so many whole seconds, or `None` for zero.
    #[must_use]
    pub const fn from_secs(seconds: u64) -> Option<Self> {
        if seconds == 0 { None } else { Some(Self(Duration::from_secs(seconds))) }
    }
}

impl FromStr for Timeout {
    type Err = InvalidValue;

    /// Parses what Go's `time.ParseDuration` takes, and so what Kubernetes' durations are: decimal numbers, each with a
    /// unit. Protobuf's JSON notation, which ZITADEL answers with, is the part of it that has seconds alone. What is
    /// smaller than a nanosecond is cut off, as in Go.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text.strip_prefix('+').unwrap_or(text);
        let mut sum = Duration::ZERO;
        while !rest.is_empty() {
            let (part, after) = term(rest).ok_or(InvalidValue::Timeout)?;
            sum = sum.checked_add(part).ok_or(InvalidValue::Timeout)?;
            rest = after;
        }
        if sum.is_zero() { Err(InvalidValue::Timeout) } else { Ok(Self(sum)) }
    }
}

/// Units with their nanoseconds; where one begins like another, the longer one comes first. Micro has two signs.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", NANOS),
    ("m", 60 * NANOS),
    ("h", 3600 * NANOS),
];
const NANOS: u64 = 1_000_000_000;

/// One number with its unit, and what follows. At most 10 digits before the point (v3alpha answers with up to 9223372036 s)
/// and 9 after it.
fn term(text: &str) -> Option<(Duration, &str)> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let (whole, rest) = text.split_at(digits(text));
    let (fraction, rest) = rest.strip_prefix('.').map_or(("", rest), |rest| rest.split_at(digits(rest)));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 10 || fraction.len() > 9 {
        return None;
    }
    let (rest, nanos) = UNITS.iter().find_map(|(unit, nanos)| Some((rest.strip_prefix(unit)?, u128::from(*nanos))))?;
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let billionths: u128 = format!("{fraction:0<9}").parse().ok()?;
    let sum = whole * nanos + billionths * nanos / u128::from(NANOS);
    let seconds = u64::try_from(sum / u128::from(NANOS)).ok()?;
    let below = u32::try_from(sum % u128::from(NANOS)).ok()?;
    Some((Duration::new(seconds, below), rest))
}

impl fmt::Display for Timeout {
    /// Protobuf's JSON notation, without needless zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = (self.0.as_secs(), self.0.subsec_nanos());
        if nanos == 0 {
            return write!(f, "{seconds}s");
        }
        let fraction = format!("{nanos:09}");
        write!(f, "{seconds}.{}s", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    #[rstest]
    #[case("10s", Some(Duration::from_secs(10)))]
    #[case("0.5s", Some(Duration::from_millis(500)))]
    #[case("0.500s", Some(Duration::from_millis(500)))]
    #[case("0.000000001s", Some(Duration::from_nanos(1)))]
    #[case("9223372036.854775807s", Some(Duration::new(9_223_372_036, 854_775_807)))]
    #[case("0s", None)]
    #[case("0.0s", None)]
    #[case("+1s", Some(Duration::from_secs(1)))]
    #[case("1m", Some(Duration::from_mins(1)))]
    #[case("1m30s", Some(Duration::from_secs(90)))]
    #[case("30s1m", Some(Duration::from_secs(90)))]
    #[case("1h0.5m1.5s250ms", Some(Duration::from_millis(3_631_750)))]
    #[case("500ms", Some(Duration::from_millis(500)))]
    #[case("1500us", Some(Duration::from_micros(1500)))]
    #[case("2\u{b5}s3\u{3bc}s4ns", Some(Duration::from_nanos(5004)))]
    #[case(".5s", Some(Duration::from_millis(500)))]
    #[case("1.s", Some(Duration::from_secs(1)))]
    #[case("0s1ns", Some(Duration::from_nanos(1)))]
    #[case("0.5ns", None)]
    #[case("0", None)]
    #[case("-1s", None)]
    #[case("10", None)]
    #[case("1m30", None)]
    #[case("1 s", None)]
    #[case("1d", None)]
    #[case("1S", None)]
    #[case(".s", None)]
    #[case("+", None)]
    #[case("1s+1s", None)]
    #[case("1.0000000001s", None)]
    #[case("99999999999s", None)]
    #[case("1e3s", None)]
    #[case("", None)]
    #[case("s", None)]
    fn timeouts(#[case] text: &str, #[case] value: Option<Duration>) {
        assert_eq!(text.parse::<Timeout>().ok().map(Timeout::duration), value);
    }

    #[rstest]
    #[case("https://hooks.example.com/zitadel", true)]
    #[case("HTTP://h", true)]
    #[case("https://user:pw@h:8443/x?y=z#f", true)]
    #[case("ftp://h/x", false)]
    #[case("/hook", false)]
    #[case("hooks.example.com/zitadel", false)]
    #[case("https://", false)]
    #[case("https:/h", false)]
    #[case("mailto:a@b", false)]
    #[case("https://h/\n", false)]
    #[case("", false)]
    fn endpoints(#[case] text: &str, #[case] accepted: bool) {
        assert_eq!(text.parse::<Endpoint>().is_ok(), accepted);
    }

    #[test]
    fn limits_count_code_points() {
        assert!("ü".repeat(NAME_MAX).parse::<TargetName>().is_ok());
        assert!("ü".repeat(NAME_MAX + 1).parse::<TargetName>().is_err());
        assert!("".parse::<TargetName>().is_err());
        assert!("a\u{7f}".parse::<TargetName>().is_err());
        let longest = format!("https://h/{}", "x".repeat(ENDPOINT_MAX - 10));
        assert!(longest.parse::<Endpoint>().is_ok());
        assert!(format!("{longest}x").parse::<Endpoint>().is_err());
    }

    #[test]
    fn ids_cannot_leave_their_path_segment() {
        assert!("270112345678901234".parse::<TargetId>().is_ok());
        for bad in ["", "a/b", "..", "a b", "a?b", "search", "_search", "%2e"] {
            assert!(bad.parse::<TargetId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn names_are_compared_as_the_server_does() {
        let name: TargetName = "Über-Hook".parse().unwrap();
        assert!(name.same_as("üBER-hook"));
        assert!(!name.same_as("uber-hook"));
    }

    #[test]
    fn only_capitals_beyond_ascii_may_stay_taken() {
        assert!("Über".parse::<TargetName>().unwrap().may_stay_taken());
        for fine in ["über", "Hook", "日本"] {
            assert!(!fine.parse::<TargetName>().unwrap().may_stay_taken(), "{fine}");
        }
    }

    #[test]
    fn one_duration_in_several_forms_is_one_timeout() {
        let parsed = |text: &str| text.parse::<Timeout>().unwrap();
        for form in ["1m30s", "90s", "1.5m", "90000ms", "0.025h"] {
            assert_eq!(parsed(form), parsed("90s"), "{form}");
            assert_eq!(parsed(form).to_string(), "90s", "ZITADEL takes seconds only");
        }
    }

    proptest! {
        #[test]
        fn timeouts_survive_a_round_trip(seconds in 0_u64..1_000_000_000, nanos in 0_u32..1_000_000_000) {
            prop_assume!(seconds > 0 || nanos > 0);
            let timeout = Timeout(Duration::new(seconds, nanos));
            prop_assert_eq!(timeout.to_string().parse::<Timeout>().unwrap(), timeout);
        }
    }
}
