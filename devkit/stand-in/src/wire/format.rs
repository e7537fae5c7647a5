//! Dates and durations as protojson prints them.

use jiff::Timestamp;

/// RFC 3339 in UTC with 0, 3 or 6 decimals: trailing groups of three zeros are dropped (docs/zitadel/observed.md section 4).
pub(crate) fn timestamp(at: Timestamp) -> String {
    let text = format!("{at:.6}");
    let Some(body) = text.strip_suffix('Z') else { return text };
    let body = body.strip_suffix("000").unwrap_or(body);
    let body = body.strip_suffix(".000").unwrap_or(body);
    format!("{body}Z")
}

/// Seconds with 0, 3, 6 or 9 decimals: half a second is `0.500s`.
pub(crate) fn duration(nanos: i64) -> String {
    let (sign, nanos) = (if nanos < 0 { "-" } else { "" }, nanos.unsigned_abs());
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let decimals = format!("{fraction:09}");
    let decimals = decimals.strip_suffix("000").unwrap_or(&decimals);
    let decimals = decimals.strip_suffix("000").unwrap_or(decimals);
    if decimals == "000" { format!("{sign}{seconds}s") } else { format!("{sign}{seconds}.{decimals}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_drop_zero_groups() {
        let show = |text: &str| timestamp(text.parse().unwrap());
        assert_eq!(show("2026-11-23T20:16:08.942Z"), "2026-11-23T20:16:08.942Z");
        assert_eq!(show("2026-11-23T20:16:08Z"), "2026-11-23T20:16:08Z");
        assert_eq!(show("2026-11-23T20:16:08.336260Z"), "2026-11-23T20:16:08.336260Z");
    }

    #[test]
    fn durations_are_normalised() {
        assert_eq!(duration(500_000_000), "0.500s");
        assert_eq!(duration(10_000_000_000), "10s");
        assert_eq!(duration(1), "0.000000001s");
        assert_eq!(duration(i64::MAX), "9223372036.854775807s");
    }
}
