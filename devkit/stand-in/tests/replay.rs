//! Contract test: every recorded exchange of a real server that is in the stand-in's scope is replayed, in recorded
//! order, against one fresh stand-in over HTTP, and must be answered alike.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

#[path = "replay/compare.rs"]
mod compare;
#[path = "replay/oauth.rs"]
mod oauth;
#[path = "replay/recording.rs"]
mod recording;
#[path = "replay/setup.rs"]
mod setup;
mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use zitadel_stand_in::{Generation, Options, StandIn};

use compare::{Pairs, compare};
use oauth::Accounts;
use recording::{Exchange, Received, Recording};
use setup::Tokens;
use support::{Request, Response, address, send};

/// The headers that the recorder kept.
const HEADERS: [&str; 3] = ["content-type", "location", "www-authenticate"];

/// How many exchanges must be replayed at least in each recording, so that none can slip away.
const FLOORS: [usize; 4] = [575, 581, 561, 588];

#[tokio::test]
async fn real_servers_are_replayed_without_a_difference() {
    // The recorder found the feature flag off.
    let flag_off = |generation| Options { actions_feature: false, ..Options::new(generation) };
    let outcomes = [
        replay(flag_off(Generation::V3Alpha), "localhost:18081", include_str!("../testdata/recordings/g1.json")).await,
        replay(
            flag_off(Generation::ResourcesV3Alpha),
            "localhost:18082",
            include_str!("../testdata/recordings/g2.json"),
        )
        .await,
        replay(Options::new(Generation::V2Beta), "localhost:18083", include_str!("../testdata/recordings/g3.json"))
            .await,
        replay(Options::new(Generation::V2), "localhost:18084", include_str!("../testdata/recordings/g4.json")).await,
    ];
    outcomes.iter().for_each(Outcome::print);
    let replayed: usize = outcomes.iter().map(|outcome| outcome.replayed).sum();
    let differing: Vec<&str> = outcomes.iter().flat_map(|outcome| &outcome.differing).map(String::as_str).collect();
    println!("in total: {replayed} replayed, {} differences", differing.len());
    assert!(differing.is_empty(), "{} differences:\n{}", differing.len(), differing.join("\n"));
    for (outcome, floor) in outcomes.iter().zip(FLOORS) {
        assert!(outcome.replayed >= floor, "{}: only {} exchanges were replayed", outcome.title, outcome.replayed);
        assert_eq!(outcome.replayed + outcome.left_out.values().sum::<usize>(), outcome.recorded);
    }
}

/// What became of one recording.
struct Outcome {
    title: String,
    recorded: usize,
    replayed: usize,
    differing: Vec<String>,
    /// How many, by reason.
    left_out: BTreeMap<&'static str, usize>,
}

impl Outcome {
    fn print(&self) {
        println!("{}: {} replayed, {} differences", self.title, self.replayed, self.differing.len());
        for (reason, count) in &self.left_out {
            println!("  left out {count:>3}: {reason}");
        }
    }
}

/// `host`: where the recorder sent what names no host.
async fn replay(options: Options, host: &str, recording: &str) -> Outcome {
    let recording: Recording = serde_json::from_str(recording).unwrap();
    // As recorded: only the external domain is known, and there was no DNS.
    let options = Options { strict_host: true, resolvable_hosts: Vec::new(), ..options };
    let server = StandIn::start(options).await.unwrap();
    let (mut pairs, mut tokens, mut accounts) = (Pairs::default(), Tokens::default(), Accounts::new(&server));
    let mut outcome = Outcome {
        title: format!("{} ({})", recording.zitadel_version, server.generation()),
        recorded: recording.exchanges.len(),
        replayed: 0,
        differing: Vec::new(),
        left_out: BTreeMap::new(),
    };
    for exchange in &recording.exchanges {
        if let Some(reason) = exchange.left_out() {
            *outcome.left_out.entry(reason).or_default() += 1;
            continue;
        }
        setup::before(&server, &mut pairs, exchange).await;
        accounts.before(&server, exchange);
        let request = request(&server, &mut tokens, &accounts, &pairs, exchange, host);
        let answer = send(address(&server), &request).await.unwrap();
        let differences = match answer {
            None => vec!["no answer".to_owned()],
            Some(answer) => differences(&mut pairs, &mut accounts, exchange, &answer),
        };
        outcome.replayed += 1;
        if !differences.is_empty() {
            let (method, path, found) = (&request.method, &request.path, differences.join("\n    "));
            outcome.differing.push(format!("{}: {} {method} {path}\n    {found}", outcome.title, exchange.name));
        }
    }
    outcome
}

fn request(
    server: &StandIn,
    tokens: &mut Tokens,
    accounts: &Accounts,
    pairs: &Pairs,
    exchange: &Exchange,
    host: &str,
) -> Request {
    let sent = &exchange.request;
    let is_form = Accounts::is_token_request(exchange);
    let body = if is_form { accounts.form(exchange) } else { pairs.translate(&sent.text()) };
    let mut request = Request::new(&sent.method, &pairs.translate(&sent.path)).body(&body);
    if !sent.headers.contains_key("host") {
        request = request.header("host", host);
    }
    for (name, value) in &sent.headers {
        let value =
            if name == "authorization" { tokens.header(server, accounts, exchange) } else { Some(value.clone()) };
        if let Some(value) = value {
            request = request.header(name, &value);
        }
    }
    request
}

fn differences(pairs: &mut Pairs, accounts: &mut Accounts, exchange: &Exchange, answer: &Response) -> Vec<String> {
    let recorded = &exchange.response;
    let mut differences = Vec::new();
    if answer.status != recorded.status {
        differences.push(format!("status {}, recorded {}: {}", answer.status, recorded.status, answer.body));
        return differences;
    }
    for name in HEADERS {
        let (own, wanted) = (answer.headers.get(name), recorded.headers.get(name));
        if own != wanted {
            differences.push(format!("header {name}: {own:?}, recorded {wanted:?}"));
        }
    }
    let body = match serde_json::from_str(&answer.body) {
        Ok(body) => body,
        Err(_) if answer.body.is_empty() => Value::Null,
        Err(_) => Value::String(answer.body.clone()),
    };
    differences.extend(token_differences(recorded, &body));
    accounts.learn(exchange, &body);
    differences.extend(compare(pairs, &recorded.body, &body, recorded.truncated_from));
    differences
}

/// Tokens were not kept, but what they looked like was.
fn token_differences(recorded: &Received, body: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, wanted) in [("access_token", &recorded.access_token), ("id_token", &recorded.id_token)] {
        let kind = body[name].as_str().map(|token| if token.split('.').count() == 3 { "jwt" } else { "opaque" });
        if kind != wanted.as_deref() {
            differences.push(format!("{name} is {kind:?}, recorded {wanted:?}"));
        }
    }
    differences
}
