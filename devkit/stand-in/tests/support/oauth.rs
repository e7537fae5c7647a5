//! A client of the token endpoint that can also sign what no proper client would: other algorithms, other claims.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RsaEncoding, RsaKeyPair};
use rustls_pki_types::PrivatePkcs1KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use zitadel_stand_in::StandIn;

use super::{Request, Response, address, send};

pub const TOKEN: &str = "/oauth/v2/token";
pub const BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
pub const SCOPE: &str = "openid urn:zitadel:iam:org:project:id:zitadel:aud";

/// The JSON key file, as a client reads it.
#[derive(Clone)]
pub struct KeyFile {
    pub id: String,
    pub user: String,
    pub pem: String,
}

impl KeyFile {
    pub fn parse(file: &str) -> Self {
        let file: Value = serde_json::from_str(file).unwrap();
        let text = |name: &str| file[name].as_str().unwrap_or_else(|| panic!("{name} in {file}")).to_owned();
        assert_eq!(text("type"), "serviceaccount");
        Self { id: text("keyId"), user: text("userId"), pem: text("key") }
    }

    /// Claims that a server believes at the time `now`, in seconds.
    pub fn claims(&self, audience: &str, now: i64) -> Value {
        json!({ "iss": self.user, "sub": self.user, "aud": audience, "iat": now - 5, "exp": now + 300 })
    }

    /// A good assertion.
    pub fn assertion(&self, audience: &str) -> String {
        self.sign("RS256", Some(&self.id), &self.claims(audience, jiff::Timestamp::now().as_second()))
    }

    pub fn sign(&self, algorithm: &str, key_id: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": algorithm, "typ": "JWT" });
        if let Some(key_id) = key_id {
            header["kid"] = json!(key_id);
        }
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(&header), part(claims));
        let signature = match algorithm {
            "RS256" => self.rsa(&RSA_PKCS1_SHA256, &input),
            "RS512" => self.rsa(&RSA_PKCS1_SHA512, &input),
            "PS256" => self.rsa(&RSA_PSS_SHA256, &input),
            "HS256" => {
                let key = hmac::Key::new(hmac::HMAC_SHA256, self.pem.as_bytes());
                hmac::sign(&key, input.as_bytes()).as_ref().to_vec()
            }
            other => panic!("{other} is not built"),
        };
        format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    fn rsa(&self, encoding: &'static dyn RsaEncoding, input: &str) -> Vec<u8> {
        let der = PrivatePkcs1KeyDer::from_pem_slice(self.pem.as_bytes()).unwrap();
        let pair = RsaKeyPair::from_der(der.secret_pkcs1_der()).unwrap();
        let mut signature = vec![0; pair.public().modulus_len()];
        pair.sign(encoding, &SystemRandom::new(), input.as_bytes(), &mut signature).unwrap();
        signature
    }
}

/// The `Authorization` header of HTTP basic.
pub fn basic(id: &str, secret: &str) -> String {
    let escaped = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", BASE64_STANDARD.encode(format!("{}:{}", escaped(id), escaped(secret))))
}

pub fn encode(form: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

pub fn request(form: &[(&str, &str)]) -> Request {
    Request::new("POST", TOKEN).header("content-type", "application/x-www-form-urlencoded").body(&encode(form))
}

pub async fn post(server: &StandIn, request: &Request) -> Response {
    let answer = send(address(server), request).await.unwrap();
    answer.unwrap_or_else(|| panic!("no answer from the token endpoint\n{}", server.dump()))
}

/// A token by private key JWT, for the audience that the stand-in's own address names.
pub async fn by_key(server: &StandIn, key: &KeyFile) -> Response {
    let assertion = key.assertion(&server.url());
    post(server, &request(&[("grant_type", BEARER), ("scope", SCOPE), ("assertion", &assertion)])).await
}

/// A token by client credentials.
pub async fn by_secret(server: &StandIn, (id, secret): &(String, String)) -> Response {
    let form = [("grant_type", "client_credentials"), ("scope", SCOPE)];
    post(server, &request(&form).header("authorization", &basic(id, secret))).await
}

/// The access token in an answer.
pub fn access_token(answer: &Response) -> String {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["access_token"].as_str().unwrap().to_owned()
}
