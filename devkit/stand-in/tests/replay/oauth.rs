//! The exchanges of the token endpoint: assertions and secrets were not recorded, so they are made anew from what the
//! recorder wrote down about them; and what an administrator did between the exchanges.

use std::collections::HashMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use zitadel_stand_in::{Role, StandIn};

use crate::recording::Exchange;
use crate::support::oauth::{KeyFile, TOKEN, basic, encode};

/// What the recorder calls its own user.
const SELF: &str = "<userId>";
const TWELVE_HOURS: Duration = Duration::from_hours(12);

/// The service accounts of a recording, and the tokens that they earned.
pub struct Accounts {
    /// By recorded user id.
    keys: HashMap<String, KeyFile>,
    client_user: String,
    client: (String, String),
    /// By name of the exchange.
    tokens: HashMap<String, String>,
    last: String,
    /// The second in which the exchange takes place.
    second: i64,
}

impl Accounts {
    pub fn new(server: &StandIn) -> Self {
        let client_user = server.add_user(Role::IamOwner);
        let client = server.client_credentials_of(&client_user);
        server.remove_client_secret(&client_user);
        let own = KeyFile::parse(&server.machine_key());
        let keys = HashMap::from([(SELF.to_owned(), own)]);
        Self { keys, client_user, client, tokens: HashMap::new(), last: String::new(), second: 0 }
    }

    /// Whether an exchange is a request for a token that a form describes.
    pub fn is_token_request(exchange: &Exchange) -> bool {
        let form = "application/x-www-form-urlencoded";
        exchange.request.path == TOKEN
            && exchange.request.headers.get("content-type").is_some_and(|kind| kind == form)
            && exchange.request.json().is_object()
    }

    /// Arranges what the exchange presupposes, and sets the clock.
    pub fn before(&mut self, server: &StandIn, exchange: &Exchange) {
        let user = exchange.request.json()["assertionClaims"]["iss"].as_str().unwrap_or_default().to_owned();
        let key_of = |user: &str, expiry| KeyFile::parse(&server.machine_key_of(user, expiry));
        let now = Timestamp::now();
        self.second = now.as_second();
        match exchange.name.as_str() {
            "token-jwt-user-without-role" => {
                self.keys.insert(user, key_of(&server.add_user(Role::None), None));
            }
            "token-jwt-access-token-type-jwt" => {
                let own = server.add_user(Role::IamOwner);
                server.set_jwt_access_tokens(&own, true);
                self.keys.insert(user, key_of(&own, None));
            }
            "token-jwt-key-removed" => server.remove_key(&self.keys[&user].id),
            "token-jwt-key-expired" => {
                let expired = key_of(&self.keys[&user].user, Some(now - SignedDuration::from_hours(1)));
                self.keys.insert(user, expired);
            }
            "token-jwt-user-deactivated" => {
                let fresh = key_of(&self.keys[&user].user, None);
                server.deactivate_user(&fresh.user);
                self.keys.insert(user, fresh);
            }
            "token-of-removed-user-used" => server.remove_user(&server.user_of(&self.last).unwrap()),
            "token-cc-good-basic" => self.client = server.client_credentials_of(&self.client_user),
            // The recorder went on with the old one.
            "token-cc-old-secret-after-regenerate" => {
                let _ = server.client_credentials_of(&self.client_user);
            }
            "token-cc-secret-removed" => server.remove_client_secret(&self.client_user),
            "token-jwt-short-lifetime" => server.set_token_lifetime(Duration::from_secs(3)),
            "token-jwt-lifetime-restored" => server.set_token_lifetime(TWELVE_HOURS),
            _ => {}
        }
        server.freeze_clock(clock(exchange, now));
    }

    /// The form, with assertion and secret in their places.
    pub fn form(&self, exchange: &Exchange) -> String {
        let body = exchange.request.json();
        let fields = body.as_object().unwrap().iter();
        let text = |(name, value): (&String, &Value)| {
            let value = match (name.as_str(), value.as_str()?) {
                ("assertionAlg" | "assertionClaims", _) => return None,
                (_, "<assertion>") => self.assertion(&exchange.name, &body),
                (_, "<clientSecret>") => self.secret(&exchange.name),
                ("client_id", id) if id.starts_with("ccuser-") => self.client.0.clone(),
                (_, other) => other.to_owned(),
            };
            Some((name.clone(), value))
        };
        let fields: Vec<(String, String)> = fields.filter_map(text).collect();
        encode(&fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect::<Vec<_>>())
    }

    fn assertion(&self, name: &str, body: &Value) -> String {
        let mut claims = body["assertionClaims"].clone();
        let recorded = claims["iss"].as_str().unwrap().to_owned();
        // Whoever has no key, i.e. does not exist, signs with the recorder's.
        let own = &self.keys[SELF];
        let key = self.keys.get(&recorded).unwrap_or(own);
        for name in ["iss", "sub"] {
            let user = claims[name].as_str().and_then(|user| self.keys.get(user)).map(|key| key.user.clone());
            if let Some(user) = user {
                claims[name] = user.into();
            }
        }
        for name in ["iat", "exp"] {
            if let Some(offset) = claims[name].as_str().map(seconds) {
                claims[name] = (self.second + offset).into();
            }
        }
        let other = || self.keys.values().find(|key| key.user != own.user);
        let (pem, key_id) = match name {
            "token-jwt-unknown-kid" => (key, Some("123456789012345678")),
            "token-jwt-no-kid" => (key, None),
            "token-jwt-key-of-other-user" => {
                let other = other().unwrap();
                (other, Some(other.id.as_str()))
            }
            _ => (key, Some(key.id.as_str())),
        };
        // A key that nobody knows: the pair of another server, which starts with another one.
        let foreign = KeyFile { pem: include_str!("../../src/oidc/keys/1.pem").to_owned(), ..pem.clone() };
        let signer = if name == "token-jwt-wrong-key" { &foreign } else { pem };
        signer.sign(body["assertionAlg"].as_str().unwrap(), key_id, &claims)
    }

    fn secret(&self, name: &str) -> String {
        if name.contains("wrong-secret") { "wrong".to_owned() } else { self.client.1.clone() }
    }

    /// The header for a placeholder that only the token endpoint's exchanges know.
    pub fn header(&self, exchange: &Exchange) -> Option<String> {
        let name = exchange.name.as_str();
        let token = match exchange.request.authorization() {
            "basic <clientId>:<clientSecret>" => {
                let id = if name.contains("unknown-client") { "nobody" } else { &self.client.0 };
                let secret = if name.contains("empty-secret") { String::new() } else { self.secret(name) };
                return Some(basic(id, &secret));
            }
            "valid (issued token)" | "valid (user removed)" => &self.last,
            "expired" if name.starts_with("auth-expired-oidc-token") => &self.tokens["token-jwt-short-lifetime"],
            "expired" if name.starts_with("auth-expired-oidc-jwt") => {
                &self.tokens["token-jwt-short-lifetime-access-token-jwt"]
            }
            _ => return None,
        };
        Some(format!("Bearer {token}"))
    }

    /// Keeps the token of an answer.
    pub fn learn(&mut self, exchange: &Exchange, answer: &Value) {
        if let Some(token) = answer["access_token"].as_str() {
            self.tokens.insert(exchange.name.clone(), token.to_owned());
            token.clone_into(&mut self.last);
        }
    }
}

/// The clock stands still for an assertion: its limits are seconds, and a busy machine loses some. The server rounds:
/// two seconds ahead passed in one half of a second and failed in the other.
fn clock(exchange: &Exchange, now: Timestamp) -> Option<Timestamp> {
    let second = Timestamp::from_second(now.as_second()).unwrap();
    let late = if exchange.response.status == 200 { 600 } else { 200 };
    match exchange.name.as_str() {
        "token-jwt-iat-future-2s" => Some(second + SignedDuration::from_millis(late)),
        name if name.starts_with("token-jwt-") && !name.ends_with("-used") => {
            Some(second + SignedDuration::from_millis(200))
        }
        // The recorder waited until the short lifetime was over.
        name if name.starts_with("auth-expired-oidc-") => Some(now + SignedDuration::from_secs(10)),
        _ => None,
    }
}

/// `now-5s` is -5.
fn seconds(text: &str) -> i64 {
    text.trim_start_matches("now").trim_end_matches('s').parse().unwrap()
}
