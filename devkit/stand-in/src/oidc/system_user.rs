//! Tokens that system users sign themselves and send as they are, without an exchange (RFC 7523 claims): the same
//! verifier as for assertions, but the audience is the origin of the server's configuration, whatever the request says,
//! and the key is found by the issuer alone (internal/api/authz/system_token.go).

use jiff::Timestamp;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, SubjectPublicKeyInfoDer};

use super::assertion::{is_meant_for, is_timely};
use super::der;
use super::signature::Unverified;
use crate::core::system_users::{SystemKey, SystemUsers};
use crate::core::users::Caller;

/// The system user behind a token, if it is one's.
pub(crate) fn system_user(
    token: &str,
    audiences: &[String],
    users: &mut SystemUsers,
    now: Timestamp,
) -> Option<Caller> {
    let parsed = Unverified::parse(token)?;
    let text = |name: &str| parsed.claims[name].as_str().unwrap_or_default();
    let name = text("sub");
    let user = users.users.get(name).filter(|user| user.is_valid(now))?;
    let is_meant = audiences.iter().any(|audience| is_meant_for(&parsed.claims["aud"], audience));
    if text("iss") != name || !is_meant || !is_timely(&parsed.claims, now) {
        return None;
    }
    if !parsed.is_signed_by(&user.key.public_key) {
        return None;
    }
    let caller = Caller::system_user(name, user.role);
    users.tokens.insert(token.to_owned());
    Some(caller)
}

/// The key in a PEM text: an RSA public key, or the X.509 certificate of one (v4.14.0 and later).
pub(crate) fn system_key(pem: &str) -> Option<SystemKey> {
    if let Ok(key) = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()) {
        return Some(SystemKey { public_key: der::rsa_key(&key)?.to_vec(), validity: None });
    }
    let certificate = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
    let certificate = der::certificate(&certificate)?;
    Some(SystemKey { public_key: certificate.rsa_key.to_vec(), validity: Some(certificate.validity) })
}
