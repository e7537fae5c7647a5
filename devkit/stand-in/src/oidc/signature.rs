//! RSA signatures of JSON web tokens (RFC 7515, 7518): the algorithms that ZITADEL accepts of service accounts, and the
//! key pairs that a stand-in hands out. Pure computation.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// Key pairs made beforehand: to make one takes seconds in a debug build, and they protect nothing. Never use them
/// elsewhere. PKCS#1, 2048 bits, as ZITADEL makes them.
const PAIRS: [&str; 4] =
    [include_str!("keys/1.pem"), include_str!("keys/2.pem"), include_str!("keys/3.pem"), include_str!("keys/4.pem")];
/// Their public halves, in PEM.
const PUBLIC_KEYS: [&str; 4] =
    [include_str!("keys/1.pub"), include_str!("keys/2.pub"), include_str!("keys/3.pub"), include_str!("keys/4.pub")];
/// Self-signed certificates of them, valid from 2020 to 2119.
const CERTIFICATES: [&str; 4] =
    [include_str!("keys/1.crt"), include_str!("keys/2.crt"), include_str!("keys/3.crt"), include_str!("keys/4.crt")];

/// A key pair.
pub(crate) struct KeyPair {
    pub(crate) pem: &'static str,
    pub(crate) public_pem: &'static str,
    pub(crate) certificate: &'static str,
    pair: RsaKeyPair,
}

impl KeyPair {
    /// The n-th; they repeat after a while.
    pub(crate) fn number(n: usize) -> Self {
        let n = n % PAIRS.len();
        let pem = PAIRS[n];
        let der = PrivatePkcs1KeyDer::from_pem_slice(pem.as_bytes()).expect("the constants above are PEM");
        let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).expect("the constants above are RSA keys");
        Self { pem, public_pem: PUBLIC_KEYS[n], certificate: CERTIFICATES[n], pair }
    }

    /// PKCS#1, DER.
    pub(crate) fn public_key(&self) -> Vec<u8> {
        self.pair.public_key().as_ref().to_vec()
    }

    /// A token with these claims, signed with RS256.
    pub(crate) fn sign(&self, key_id: &str, claims: &Value) -> String {
        let header = json!({ "alg": "RS256", "kid": key_id, "typ": "JWT" });
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let mut signature = vec![0; self.pair.public().modulus_len()];
        let signed = self.pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature);
        signed.expect("the buffer has the length of the modulus");
        format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// A token taken apart; nothing is believed yet.
pub(super) struct Unverified {
    algorithm: String,
    pub(super) key_id: String,
    pub(super) claims: Value,
    input: String,
    signature: Vec<u8>,
}

impl Unverified {
    /// `None` when it is no signed token at all.
    pub(super) fn parse(token: &str) -> Option<Self> {
        let (input, signature) = token.rsplit_once('.')?;
        let (header, claims) = input.split_once('.')?;
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).ok();
        let header: Value = serde_json::from_slice(&decode(header)?).ok()?;
        Some(Self {
            algorithm: header["alg"].as_str()?.to_owned(),
            key_id: header["kid"].as_str().unwrap_or_default().to_owned(),
            claims: serde_json::from_slice(&decode(claims)?).ok()?,
            input: input.to_owned(),
            signature: decode(signature)?,
        })
    }

    /// Whether this key signed it, in a way that ZITADEL accepts: RS256 or PS256 (ES256 keys are not handed out).
    pub(super) fn is_signed_by(&self, public_key: &[u8]) -> bool {
        let parameters = match self.algorithm.as_str() {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            _ => return false,
        };
        UnparsedPublicKey::new(parameters, public_key).verify(self.input.as_bytes(), &self.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_and_one_text() {
        let (one, two) = (KeyPair::number(0), KeyPair::number(1));
        let token = one.sign("k", &json!({ "sub": "a" }));
        let parsed = Unverified::parse(&token).unwrap();
        assert_eq!((parsed.key_id.as_str(), &parsed.claims["sub"]), ("k", &json!("a")));
        assert!(parsed.is_signed_by(&one.public_key()));
        assert!(!parsed.is_signed_by(&two.public_key()));
        let (_, signature) = token.rsplit_once('.').unwrap();
        let other = one.sign("k", &json!({ "sub": "b" }));
        let (input, _) = other.rsplit_once('.').unwrap();
        assert!(!Unverified::parse(&format!("{input}.{signature}")).unwrap().is_signed_by(&one.public_key()));
    }

    #[test]
    fn what_is_no_token_is_refused() {
        for text in ["", "a", "a.b.c", "eyJhbGciOiJSUzI1NiJ9..", "eyJhbGciOiJSUzI1NiJ9.e30"] {
            assert!(Unverified::parse(text).is_none(), "{text}");
        }
    }
}
