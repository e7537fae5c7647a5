//! Contract test: every recorded exchange of a real server that is in the stand-in's scope is replayed, in recorded
//! order, against one fresh stand-in over HTTP, and must be answered alike.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

#[path = "replay/compare.rs"]
mod compare;
#[path = "replay/recording.rs"]
mod recording;
#[path = "replay/setup.rs"]
mod setup;
mod support;

use std::collections::BTreeMap;

use serde_json::Value;
use zitadel_stand_in::{Generation, Options, StandIn};

use compare::{Pairs, compare};
use recording::{Exchange, Received, Recording};
use setup::Tokens;
use support::{Request, Response, address, send};

/// The headers that the recorder kept.
const HEADERS: [&str; 3] = ["content-type", "location", "www-authenticate"];

#[tokio::test]
async fn replay_v3alpha() {
    // The recorder found the feature flag off.
    let options = Options { actions_feature: false, ..Options::new(Generation::V3Alpha) };
    replay(options, "localhost:18081", include_str!("../testdata/recordings/g1.json"), 488).await;
}

#[tokio::test]
async fn replay_resources_v3alpha() {
    let options = Options { actions_feature: false, ..Options::new(Generation::ResourcesV3Alpha) };
    replay(options, "localhost:18082", include_str!("../testdata/recordings/g2.json"), 494).await;
}

#[tokio::test]
async fn replay_v2beta() {
    let options = Options::new(Generation::V2Beta);
    replay(options, "localhost:18083", include_str!("../testdata/recordings/g3.json"), 475).await;
}

#[tokio::test]
async fn replay_v2() {
    replay(Options::new(Generation::V2), "localhost:18084", include_str!("../testdata/recordings/g4.json"), 502).await;
}

/// `host`: where the recorder sent what names no host. `at_least`: a floor, so that exchanges cannot slip away.
async fn replay(options: Options, host: &str, recording: &str, at_least: usize) {
    let recording: Recording = serde_json::from_str(recording).unwrap();
    // As recorded: only the external domain is known, and there was no DNS.
    let options = Options { strict_host: true, resolvable_hosts: Vec::new(), ..options };
    let server = StandIn::start(options).await.unwrap();
    let (mut pairs, mut tokens) = (Pairs::default(), Tokens::default());
    let mut left_out = BTreeMap::<_, usize>::new();
    let (mut replayed, mut differing) = (0, Vec::new());
    for exchange in &recording.exchanges {
        if let Some(reason) = exchange.left_out() {
            *left_out.entry(reason).or_default() += 1;
            continue;
        }
        setup::before(&server, &mut pairs, exchange).await;
        let request = request(&server, &mut tokens, &pairs, exchange, host);
        let answer = send(address(&server), &request).await.unwrap();
        let differences = match answer {
            None => vec!["no answer".to_owned()],
            Some(answer) => differences(&mut pairs, &exchange.response, &answer),
        };
        replayed += 1;
        if !differences.is_empty() {
            differing.push(format!(
                "{}: {} {}\n    {}",
                exchange.name,
                request.method,
                request.path,
                differences.join("\n    ")
            ));
        }
    }
    println!(
        "{} ({}): {replayed} replayed, {} differences",
        recording.zitadel_version,
        server.generation(),
        differing.len()
    );
    for (reason, count) in &left_out {
        println!("  left out {count:>3}: {reason}");
    }
    assert!(differing.is_empty(), "{} differences:\n{}", differing.len(), differing.join("\n"));
    assert!(replayed >= at_least, "only {replayed} exchanges were replayed");
    assert_eq!(replayed + left_out.values().sum::<usize>(), recording.exchanges.len());
}

fn request(server: &StandIn, tokens: &mut Tokens, pairs: &Pairs, exchange: &Exchange, host: &str) -> Request {
    let sent = &exchange.request;
    let mut request = Request::new(&sent.method, &pairs.translate(&sent.path)).body(&pairs.translate(&sent.text()));
    if !sent.headers.contains_key("host") {
        request = request.header("host", host);
    }
    for (name, value) in &sent.headers {
        let value = if name == "authorization" { tokens.header(server, value) } else { Some(value.clone()) };
        if let Some(value) = value {
            request = request.header(name, &value);
        }
    }
    request
}

fn differences(pairs: &mut Pairs, recorded: &Received, answer: &Response) -> Vec<String> {
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
    differences.extend(compare(pairs, &recorded.body, &body, recorded.truncated_from));
    differences
}
