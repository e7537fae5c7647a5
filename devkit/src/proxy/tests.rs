//! The proxies themselves, before a stand-in.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use zitadel_stand_in::{Op, Options, StandIn};

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

async fn world() -> (StandIn, HttpProxy<Op>, Client) {
    let zitadel = StandIn::start(Options::default()).await.unwrap();
    let proxy = HttpProxy::before_zitadel(&zitadel.url()).unwrap();
    let client = Client::builder().no_proxy().tls_certs_only([]).timeout(PATIENCE).build().unwrap();
    (zitadel, proxy, client)
}

/// Creates a target through the proxy.
async fn create(zitadel: &StandIn, url: &str, client: &Client, name: &str) -> reqwest::Result<StatusCode> {
    let endpoint = "https://hooks.example.com/x";
    let body = serde_json::json!({"name": name, "restAsync": {}, "timeout": "1s", "endpoint": endpoint});
    let call = client.post(format!("{url}/v2/actions/targets")).bearer_auth(zitadel.token()).json(&body);
    let answer = call.send().await?;
    let status = answer.status();
    answer.bytes().await.map(|_| status)
}

#[tokio::test]
async fn what_no_rule_fits_passes() {
    let (zitadel, proxy, client) = world().await;
    proxy.rule(Rule::every(Op::Delete, Act::Cut));
    assert_eq!(create(&zitadel, &proxy.url(), &client, "a").await.unwrap(), StatusCode::OK);
    let log = proxy.log();
    assert_eq!((log[0].call, log[0].fate), (Op::Create, Fate::Answered(200)));
    assert_eq!(zitadel.targets().len(), 1);
}

#[tokio::test]
async fn a_held_request_arrives_late_even_when_its_client_is_gone() {
    let (zitadel, proxy, client) = world().await;
    let held = proxy.rule(Rule::nth(Op::Create, 1, Act::HoldRequest));
    create(&zitadel, &proxy.url(), &client, "first").await.unwrap();
    let call = {
        let (zitadel, url, client) = (zitadel.clone(), proxy.url(), client.clone());
        tokio::spawn(async move { create(&zitadel, &url, &client, "second").await })
    };
    held.reached().await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    assert_eq!(zitadel.targets().len(), 1);
    held.release();
    assert!(zitadel.wait_for(PATIENCE, |zitadel| zitadel.targets().len() == 2).await);
}

#[tokio::test]
async fn answers_are_lost_replaced_and_repeated() {
    let (zitadel, proxy, client) = world().await;
    proxy.rule(Rule::next(Op::Create, Act::CutAfter));
    assert!(create(&zitadel, &proxy.url(), &client, "a").await.is_err());
    assert_eq!(zitadel.targets().len(), 1, "carried out all the same");
    proxy.rule(Rule::next(Op::Create, Act::Answer(Canned::new(503, "text/plain", ""))));
    assert_eq!(create(&zitadel, &proxy.url(), &client, "b").await.unwrap(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(zitadel.targets().len(), 1, "not carried out");
    proxy.rule(Rule::next(Op::Create, Act::Repeat));
    assert_eq!(create(&zitadel, &proxy.url(), &client, "c").await.unwrap(), StatusCode::CONFLICT);
    assert_eq!(zitadel.targets().len(), 2, "the first of the two was carried out");
}

#[tokio::test]
async fn a_frozen_proxy_moves_nothing_and_a_dropped_one_listens_no_more() {
    let (zitadel, proxy, client) = world().await;
    proxy.freeze();
    let (url, hasty) = (proxy.url(), Client::builder().no_proxy().tls_certs_only([]));
    let hasty = hasty.timeout(Duration::from_millis(200)).build().unwrap();
    assert!(create(&zitadel, &url, &hasty, "a").await.unwrap_err().is_timeout());
    proxy.thaw();
    assert_eq!(create(&zitadel, &url, &client, "b").await.unwrap(), StatusCode::OK);
    drop(proxy);
    assert!(std::net::TcpStream::connect(url.trim_start_matches("http://")).is_err());
}

#[tokio::test]
async fn bytes_are_reset_and_trickle() {
    let (zitadel, _proxy, client) = world().await;
    let wire = TcpProxy::start(zitadel.url().trim_start_matches("http://").parse().unwrap()).unwrap();
    assert_eq!(create(&zitadel, &wire.url(), &client, "a").await.unwrap(), StatusCode::OK);
    wire.set(TcpMode::ResetAfter(20));
    assert!(create(&zitadel, &wire.url(), &client, "b").await.is_err());
    wire.set(TcpMode::Trickle(Duration::from_millis(1)));
    assert_eq!(create(&zitadel, &wire.url(), &client, "c").await.unwrap(), StatusCode::OK);
}
