//! As much of DER (ITU-T X.690) as it takes to find the RSA key in a public key (RFC 5280, SubjectPublicKeyInfo) and
//! key and dates in a certificate. Nothing is verified: a test put it there.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
/// `[0]`, the version of a certificate; absent in the oldest.
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

/// What a system user needs of a certificate.
pub(super) struct Certificate<'a> {
    /// PKCS#1.
    pub(super) rsa_key: &'a [u8],
    pub(super) validity: (Timestamp, Timestamp),
}

/// The PKCS#1 key in a SubjectPublicKeyInfo.
pub(super) fn rsa_key(info: &[u8]) -> Option<&[u8]> {
    let mut info = Reader(Reader(info).expect(SEQUENCE)?);
    info.expect(SEQUENCE)?;
    // The first octet counts unused bits: none.
    info.expect(BIT_STRING)?.strip_prefix(&[0])
}

pub(super) fn certificate(certificate: &[u8]) -> Option<Certificate<'_>> {
    let mut signed = Reader(Reader(certificate).expect(SEQUENCE)?);
    let mut body = Reader(signed.expect(SEQUENCE)?);
    if body.0.first() == Some(&VERSION) {
        body.expect(VERSION)?;
    }
    // Serial number, algorithm, issuer.
    (0..3).try_for_each(|_| body.next().map(|_| ()))?;
    let mut validity = Reader(body.expect(SEQUENCE)?);
    let validity = (time(validity.next()?)?, time(validity.next()?)?);
    // Subject.
    body.next()?;
    Some(Certificate { rsa_key: rsa_key(body.0)?, validity })
}

/// RFC 5280 4.1.2.5: two digits of a year below 50 are in this century.
fn time((tag, text): (u8, &[u8])) -> Option<Timestamp> {
    let text = std::str::from_utf8(text).ok()?;
    let text = match tag {
        UTC_TIME if *text.as_bytes().first()? < b'5' => format!("20{text}"),
        UTC_TIME => format!("19{text}"),
        GENERALIZED_TIME => text.to_owned(),
        _ => return None,
    };
    let date = DateTime::strptime("%Y%m%d%H%M%SZ", text).ok()?;
    TimeZone::UTC.to_timestamp(date).ok()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next element: its tag and its content.
    fn next(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = if first < 0x80 {
            (usize::from(first), rest)
        } else {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let fold = |length: usize, octet: &u8| length.checked_mul(256)?.checked_add(usize::from(*octet));
            (octets.iter().try_fold(0, fold)?, rest)
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some((tag, content))
    }

    /// The content of the next element, which has this tag.
    fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.next().filter(|(own, _)| *own == tag).map(|(_, content)| content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_short_or_something_else_has_no_key() {
        for bytes in [&[][..], &[0x30], &[0x30, 0x82, 0xff], &[0x30, 0x02, 0x05], &[0x02, 0x01, 0x00]] {
            assert!(rsa_key(bytes).is_none() && certificate(bytes).is_none(), "{bytes:?}");
        }
    }

    #[test]
    fn both_spellings_of_a_date_are_read() {
        let read = |tag, text: &str| time((tag, text.as_bytes())).map(|time| time.to_string());
        assert_eq!(read(UTC_TIME, "200101000000Z").as_deref(), Some("2020-01-01T00:00:00Z"));
        assert_eq!(read(UTC_TIME, "991231235959Z").as_deref(), Some("1999-12-31T23:59:59Z"));
        assert_eq!(read(GENERALIZED_TIME, "21191231235959Z").as_deref(), Some("2119-12-31T23:59:59Z"));
        assert_eq!(read(SEQUENCE, "200101000000Z"), None);
    }
}
