//! The private key of a service account, and the assertions that it signs (RFC 7523).
//!
//! Limits of ZITADEL (docs/zitadel/observed.md section 9): RS256 with the key's id; issuer and subject are the user;
//! the audience is exactly the issuer; issued at most one hour ago and not in the future; not expired. No I/O, no
//! clock of its own.

use std::sync::Arc;

use jiff::Timestamp;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, KeyUtils};
use jsonwebtoken::errors::{Error as JwtError, ErrorKind};
use jsonwebtoken::{Algorithm, EncodingKey, Header, signature};
use rustls::SignatureScheme;
use rustls::crypto::ring::sign::RsaSigningKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::sign::{Signer, SigningKey};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

/// How far back assertions are dated, in seconds. A server refuses one from its future, and the clock that we follow,
/// the `Date` of its answers, may be that of a proxy before it.
const BACK_DATED: i64 = 60;
/// How long they are valid, in seconds.
const VALID: i64 = 300;
/// How long the token of a system user is valid, in seconds. ZITADEL takes none that was issued more than an hour ago.
pub(super) const TOKEN_VALID: u32 = 3000;

/// The key of a service account.
pub(super) struct ServiceKey {
    id: String,
    user: String,
    key: EncodingKey,
    /// When it expires; `None` also for dates that lie beyond what can be held, such as ZITADEL's for "never".
    pub(super) expires: Option<Timestamp>,
}

/// The file as ZITADEL issues it (`POST /management/v1/users/{id}/keys`).
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyFile {
    r#type: String,
    #[serde(default)]
    key_id: String,
    #[serde(default)]
    user_id: String,
    key: SecretString,
    expiration_date: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

impl ServiceKey {
    /// Reads the JSON key file.
    ///
    /// # Errors
    /// What it is not, in words that follow "the file ..."; never its content, which JSON errors would quote.
    pub(super) fn parse(text: &SecretString) -> Result<Self, &'static str> {
        let file: KeyFile = serde_json::from_str(text.expose_secret())
            .map_err(|_| "does not hold the JSON key file of a service account")?;
        if file.r#type != "serviceaccount" {
            return Err("holds a key that is not of a service account (its type is another)");
        }
        if file.key_id.is_empty() || file.user_id.is_empty() {
            return Err("holds a key file without keyId or userId");
        }
        let key = rsa(&file.key).ok_or("holds a key file whose key is no RSA private key")?;
        Ok(Self {
            id: file.key_id,
            user: file.user_id,
            key,
            expires: file.expiration_date.and_then(|date| date.parse().ok()),
        })
    }

    /// A signed assertion for this audience. `now` in the server's clock.
    ///
    /// # Errors
    /// None that a key which could be parsed is known to cause.
    pub(super) fn assertion(&self, audience: &str, now: Timestamp) -> Result<SecretString, JwtError> {
        let header = Header { kid: Some(self.id.clone()), ..Header::new(Algorithm::RS256) };
        signed(&header, &self.user, audience, now, VALID, &self.key)
    }
}

/// The key of a system user.
pub(super) struct SystemKey {
    name: String,
    key: EncodingKey,
}

impl SystemKey {
    /// Reads the private key: RSA, as PKCS#1 or PKCS#8, for ZITADEL knows no other keys of system users
    /// (internal/api/authz/system_token.go). The `tls.key` of a Secret is one of the two.
    ///
    /// # Errors
    /// What it is not, in words that follow "the file ..."; never its content.
    pub(super) fn parse(name: String, pem: &SecretString) -> Result<Self, &'static str> {
        let key = rsa(pem).ok_or("holds no RSA private key in PEM form, which is what a system user of ZITADEL has")?;
        Ok(Self { name, key })
    }

    /// A token for this audience, sent as it is. `now` in the server's clock. Which key it is needs no id: ZITADEL looks
    /// it up by the name.
    ///
    /// # Errors
    /// None that a key which could be parsed is known to cause.
    pub(super) fn token(&self, audience: &str, now: Timestamp) -> Result<SecretString, JwtError> {
        let header = Header::new(Algorithm::RS256);
        signed(&header, &self.name, audience, now, TOKEN_VALID.into(), &self.key)
    }
}

fn rsa(pem: &SecretString) -> Option<EncodingKey> {
    let key = PrivateKeyDer::from_pem_slice(pem.expose_secret().as_bytes()).ok()?;
    RsaSigningKey::new(&key).ok()?;
    Some(EncodingKey::from_rsa_der(key.secret_der()))
}

fn signed(
    header: &Header,
    user: &str,
    audience: &str,
    now: Timestamp,
    valid: i64,
    key: &EncodingKey,
) -> Result<SecretString, JwtError> {
    // The second and later installations are refused, and of the same provider.
    let _ = RING.install_default();
    let now = now.as_second();
    let claims = Claims { iss: user, sub: user, aud: audience, iat: now - BACK_DATED, exp: now + valid };
    jsonwebtoken::encode(header, &claims, key).map(SecretString::from)
}

/// RS256 by what rustls uses anyway: the providers that come with jsonwebtoken would each be a second crypto library.
static RING: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::RS256 => Ok(Box::new(Rs256::new(key)?)),
        _ => Err(ErrorKind::InvalidAlgorithm.into()),
    },
    // Nothing is verified here: tokens are opaque to us.
    verifier_factory: |_, _| Err(ErrorKind::InvalidAlgorithm.into()),
    key_utils: KeyUtils::new_unimplemented(),
};

struct Rs256(Box<dyn Signer>);

impl Rs256 {
    fn new(key: &EncodingKey) -> Result<Self, JwtError> {
        let key = PrivateKeyDer::try_from(key.as_bytes()).map_err(|_| ErrorKind::InvalidRsaKey(String::new()))?;
        let key = RsaSigningKey::new(&key).map_err(|_| ErrorKind::InvalidRsaKey(String::new()))?;
        let signer = Arc::new(key).choose_scheme(&[SignatureScheme::RSA_PKCS1_SHA256]);
        signer.map(Self).ok_or_else(|| ErrorKind::InvalidAlgorithm.into())
    }
}

impl signature::Signer<Vec<u8>> for Rs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.0.sign(message).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Rs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;
    use zitadel_stand_in::{Generation, Options, StandIn};

    async fn key_file() -> serde_json::Value {
        let zitadel = StandIn::start(Options::new(Generation::V2)).await.unwrap();
        serde_json::from_str(&zitadel.machine_key()).unwrap()
    }

    fn parse(file: &serde_json::Value) -> Result<ServiceKey, &'static str> {
        ServiceKey::parse(&SecretString::from(file.to_string()))
    }

    #[tokio::test]
    async fn an_assertion_says_what_zitadel_checks() {
        let file = key_file().await;
        let key = parse(&file).unwrap();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let assertion = key.assertion("https://auth.example.com", now).unwrap();
        let text = assertion.expose_secret();
        let header = jsonwebtoken::decode_header(text).unwrap();
        assert_eq!((header.alg, header.kid.as_deref()), (Algorithm::RS256, file["keyId"].as_str()));
        let claims = jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(text).unwrap();
        let second = now.as_second();
        let expected = serde_json::json!({
            "iss": file["userId"], "sub": file["userId"], "aud": "https://auth.example.com",
            "iat": second - 60, "exp": second + 300,
        });
        assert_eq!(claims, expected);
        assert_eq!(key.expires, None, "the date for never");
    }

    #[tokio::test]
    async fn a_key_in_the_newer_envelope_signs_too() {
        let mut file = key_file().await;
        // PKCS#8, as `openssl pkcs8 -topk8` writes it: what people make of the file by hand.
        file["key"] = include_str!("testdata/pkcs8.pem").into();
        file["expirationDate"] = "2030-01-02T03:04:05Z".into();
        let key = parse(&file).unwrap();
        assert!(key.assertion("https://a", Timestamp::UNIX_EPOCH).is_ok());
        assert_eq!(key.expires.unwrap().to_string(), "2030-01-02T03:04:05Z");
    }

    #[rstest]
    #[case("type", "application".into(), "its type is another")]
    #[case("keyId", "".into(), "without keyId")]
    #[case("userId", serde_json::Value::Null, "JSON key file")]
    #[case("key", "canary".into(), "no RSA private key")]
    #[case("key", 7.into(), "JSON key file")]
    #[tokio::test]
    async fn what_is_no_key_file_is_told_without_its_content(
        #[case] field: &str,
        #[case] value: serde_json::Value,
        #[case] said: &str,
    ) {
        let mut file = key_file().await;
        file[field] = value;
        let why = parse(&file).err().unwrap();
        assert!(why.contains(said) && !why.contains("canary"), "{why}");
    }

    #[test]
    fn the_token_of_a_system_user_says_what_zitadel_checks() {
        let pem = SecretString::from(include_str!("testdata/pkcs8.pem"));
        let key = SystemKey::parse("admin-client".into(), &pem).unwrap();
        let now: Timestamp = "2026-11-24T12:00:00Z".parse().unwrap();
        let token = key.token("https://auth.example.com", now).unwrap();
        let text = token.expose_secret();
        assert_eq!(jsonwebtoken::decode_header(text).unwrap().alg, Algorithm::RS256);
        let claims = jsonwebtoken::dangerous::insecure_decode_claims::<serde_json::Value>(text).unwrap();
        let second = now.as_second();
        let expected = serde_json::json!({
            "iss": "admin-client", "sub": "admin-client", "aud": "https://auth.example.com",
            "iat": second - 60, "exp": second + 3000,
        });
        assert_eq!(claims, expected);
    }

    #[tokio::test]
    async fn a_system_user_may_have_its_key_in_the_older_envelope_and_no_other_kind() {
        let file = key_file().await;
        let pkcs1 = SecretString::from(file["key"].as_str().unwrap());
        assert!(pkcs1.expose_secret().contains("BEGIN RSA PRIVATE KEY"));
        assert!(SystemKey::parse("admin-client".into(), &pkcs1).is_ok());
        for text in ["canary", "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"] {
            let why = SystemKey::parse("a".into(), &SecretString::from(text)).err().unwrap();
            assert!(why.contains("no RSA private key") && !why.contains("canary"), "{why}");
        }
    }

    #[test]
    fn other_text_is_no_key_file() {
        for text in ["canary", "\"canary\"", "{\"type\":\"canary\"}", "[]"] {
            assert!(!ServiceKey::parse(&SecretString::from(text)).err().unwrap().contains("canary"));
        }
    }
}
