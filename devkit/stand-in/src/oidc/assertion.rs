//! The check of an assertion (RFC 7523), in the order and with the limits of ZITADEL's verifier: audience, expiry, time
//! of issue, user, signature. Read in source (op.NewJWTProfileVerifier with 1 h and 1 s) and recorded.

use jiff::{RoundMode, SignedDuration, Timestamp, TimestampRound, Unit};
use serde_json::Value;

use super::signature::Unverified;
use crate::core::users::Users;

/// How old an assertion may be.
const MAX_AGE: SignedDuration = SignedDuration::from_hours(1);
/// How far clocks may be apart.
const OFFSET: SignedDuration = SignedDuration::from_secs(1);

/// What is wrong with an assertion. Only one kind of server tells the two apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    UnknownUser,
    Other,
}

/// The user whom the assertion proves.
pub(super) fn check(assertion: &str, issuer: &str, users: &Users, now: Timestamp) -> Result<String, Fault> {
    let token = Unverified::parse(assertion).ok_or(Fault::Other)?;
    let text = |name: &str| token.claims[name].as_str().unwrap_or_default();
    let is_valid = is_meant_for(&token.claims["aud"], issuer) && is_timely(&token.claims, now);
    let (user, signer) = (text("sub"), text("iss"));
    if !is_valid {
        return Err(Fault::Other);
    }
    users.account(user).ok_or(Fault::UnknownUser)?;
    let key = users.key(&token.key_id, signer, now).filter(|_| signer == user);
    let is_signed = key.is_some_and(|key| token.is_signed_by(&key.public_key));
    if is_signed { Ok(user.to_owned()) } else { Err(Fault::Other) }
}

/// Exactly the issuer: no trailing slash, no other scheme.
pub(super) fn is_meant_for(audience: &Value, issuer: &str) -> bool {
    match audience {
        Value::Array(all) => all.iter().any(|one| one == issuer),
        one => one == issuer,
    }
}

pub(super) fn is_timely(claims: &Value, now: Timestamp) -> bool {
    let time = |name: &str| claims[name].as_i64().and_then(|seconds| Timestamp::from_second(seconds).ok());
    let (Some(expiry), Some(issued)) = (time("exp"), time("iat")) else { return false };
    let (latest, oldest) = (rounded(now, OFFSET), rounded(now, -MAX_AGE));
    expiry > now.saturating_add(OFFSET).unwrap_or(now) && issued <= latest && issued >= oldest
}

/// Half seconds away from zero, as Go rounds.
fn rounded(now: Timestamp, offset: SignedDuration) -> Timestamp {
    let moved = now.saturating_add(offset).unwrap_or(now);
    moved.round(TimestampRound::new().smallest(Unit::Second).mode(RoundMode::HalfExpand)).unwrap_or(moved)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_have_the_limits_of_the_real_verifier() {
        let now: Timestamp = "2026-11-23T20:00:00.4Z".parse().unwrap();
        let at = |issued: i64, expiry: i64| {
            is_timely(&json!({ "iat": now.as_second() + issued, "exp": now.as_second() + expiry }), now)
        };
        assert!(at(-5, 300) && at(1, 300) && at(-3600, 300) && at(-5, 2_592_000) && at(-5, 2));
        assert!(!at(2, 300) && !at(-3601, 300) && !at(-5, 1) && !at(-600, -300));
        assert!(!is_timely(&json!({ "exp": now.as_second() + 9 }), now));
        assert!(!is_timely(&json!({ "iat": now.as_second() }), now));
    }

    #[test]
    fn the_clock_is_rounded_so_two_seconds_ahead_pass_half_of_the_time() {
        let now: Timestamp = "2026-11-23T20:00:00.6Z".parse().unwrap();
        assert!(is_timely(&json!({ "iat": now.as_second() + 2, "exp": now.as_second() + 300 }), now));
    }

    #[test]
    fn the_audience_is_compared_letter_by_letter() {
        let issuer = "http://localhost:8080";
        for good in [json!(issuer), json!(["x", issuer])] {
            assert!(is_meant_for(&good, issuer), "{good}");
        }
        for bad in [json!("http://localhost:8080/"), json!("https://localhost:8080"), json!([]), Value::Null] {
            assert!(!is_meant_for(&bad, issuer), "{bad}");
        }
    }
}
