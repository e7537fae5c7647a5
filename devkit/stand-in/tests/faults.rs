//! Every fault, over real HTTP: what the client sees, and what was committed.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::{Duration, Instant};

use support::{Request, address, ask, send, try_ask};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use zitadel_stand_in::{Answer, Effect, Generation, Op, Options, StandIn, Times};

const TARGETS: &str = "/v2/actions/targets";
const SEARCH: &str = "/v2/actions/targets/search";
/// Far above what anything here takes; tests end early when the condition holds.
const PATIENCE: Duration = Duration::from_secs(20);

async fn v2() -> StandIn {
    StandIn::start(Options::new(Generation::V2)).await.unwrap()
}

fn body(name: &str) -> String {
    format!(r#"{{"name":"{name}","restWebhook":{{}},"timeout":"10s","endpoint":"https://hooks.example.com/x"}}"#)
}

fn names(server: &StandIn) -> Vec<String> {
    server.targets().into_iter().map(|target| target.name).collect()
}

fn last_answer(server: &StandIn) -> Answer {
    server.calls().last().unwrap().answer
}

#[tokio::test]
async fn latency_delays_the_handling() {
    let server = v2().await;
    let delay = Duration::from_millis(80);
    server.fault(Op::Create, Effect::Latency(delay), Times::ONCE);
    let started = Instant::now();
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 200);
    assert!(started.elapsed() >= delay);
}

#[tokio::test]
async fn a_delayed_request_is_handled_even_when_the_client_leaves() {
    let server = v2().await;
    let fault = server.fault(Op::Create, Effect::Latency(Duration::from_millis(80)), Times::ONCE);
    let create = Request::new("POST", TARGETS).bearer(&server.token()).body(&body("a"));
    let to = address(&server);
    let client = tokio::spawn(async move { send(to, &create).await });
    fault.reached(1).await;
    client.abort();
    assert!(server.wait_for(PATIENCE, |server| names(server) == ["a"]).await, "{}", server.dump());
}

#[tokio::test]
async fn a_status_is_answered_n_times_and_nothing_is_committed() {
    let server = v2().await;
    let fault = server.fault(
        Op::Create,
        Effect::Status(429, Some(r#"{"code":8,"message":"slow down"}"#.to_owned())),
        Times::N(2),
    );
    for _ in 0..2 {
        let answer = ask(&server, "POST", TARGETS, &body("a")).await;
        assert_eq!((answer.status, answer.json()["code"].as_u64()), (429, Some(8)));
    }
    assert!(server.events().is_empty());
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 200);
    assert_eq!(fault.hits(), 2);
}

#[tokio::test]
async fn a_lost_reply_is_committed() {
    let server = v2().await;
    server.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    assert!(try_ask(&server, "POST", TARGETS, &body("a")).await.is_none());
    assert_eq!(names(&server), ["a"]);
    assert_eq!(last_answer(&server), Answer::None);
    assert_eq!(ask(&server, "POST", TARGETS, &body("A")).await.status, 409);
}

#[tokio::test]
async fn a_held_reply_is_committed_and_comes_when_released() {
    let server = v2().await;
    let fault = server.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    let create = Request::new("POST", TARGETS).bearer(&server.token()).body(&body("a"));
    let to = address(&server);
    let client = tokio::spawn(async move { send(to, &create).await });
    fault.reached(1).await;
    assert_eq!(names(&server), ["a"]);
    assert_eq!(last_answer(&server), Answer::Pending);
    fault.release();
    assert_eq!(client.await.unwrap().unwrap().unwrap().status, 200);
    assert_eq!(last_answer(&server), Answer::Status(200));
}

#[tokio::test]
async fn a_held_reply_ends_when_the_client_leaves_and_stays_committed() {
    let server = v2().await;
    let fault = server.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    let create = Request::new("POST", TARGETS).bearer(&server.token()).body(&body("a"));
    let to = address(&server);
    let client = tokio::spawn(async move { send(to, &create).await });
    fault.reached(1).await;
    client.abort();
    let noticed = server.wait_for(PATIENCE, |server| last_answer(server) == Answer::None).await;
    assert!(noticed, "{}", server.dump());
    assert_eq!(names(&server), ["a"]);
}

#[tokio::test]
async fn a_late_commit_comes_after_the_connection_was_closed() {
    let server = v2().await;
    server.fault(Op::Create, Effect::CommitLate(Duration::from_millis(600)), Times::ONCE);
    assert!(try_ask(&server, "POST", TARGETS, &body("a")).await.is_none());
    assert!(server.events().is_empty());
    assert!(server.wait_for(PATIENCE, |server| names(server) == ["a"]).await, "{}", server.dump());
}

#[tokio::test]
async fn a_reset_is_never_handled() {
    let server = v2().await;
    server.fault(Op::Any, Effect::Reset, Times::ONCE);
    assert!(try_ask(&server, "POST", TARGETS, &body("a")).await.is_none());
    assert!(server.events().is_empty());
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 200);
}

#[tokio::test]
async fn html_comes_without_or_after_a_commit() {
    let server = v2().await;
    server.fault(Op::Create, Effect::Html(503), Times::ONCE);
    server.fault(Op::Create, Effect::HtmlAfterCommit, Times::ONCE);
    for (status, committed) in [(503, 0), (502, 1)] {
        let answer = ask(&server, "POST", TARGETS, &body("a")).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.headers["content-type"], "text/html; charset=utf-8");
        assert_eq!(server.events().len(), committed);
    }
}

#[tokio::test]
async fn a_truncated_answer_is_committed() {
    let server = v2().await;
    server.fault(Op::Create, Effect::Truncated, Times::ONCE);
    let answer = ask(&server, "POST", TARGETS, &body("a")).await;
    assert_eq!(answer.status, 200);
    assert!(!answer.is_whole() && !answer.body.is_empty(), "{answer:?}");
    assert_eq!(names(&server), ["a"]);
    assert_eq!(last_answer(&server), Answer::None);
}

#[tokio::test]
async fn a_ghost_is_acknowledged_and_never_shown() {
    let server = v2().await;
    server.fault(Op::Create, Effect::Ghost, Times::ONCE);
    let id = ask(&server, "POST", TARGETS, &body("a")).await.json()["id"].as_str().unwrap().to_owned();
    let path = format!("{TARGETS}/{id}");
    assert_eq!(ask(&server, "GET", &path, "").await.status, 404);
    assert_eq!(ask(&server, "POST", &path, r#"{"timeout":"33s"}"#).await.status, 200);
    assert_eq!(ask(&server, "GET", &path, "").await.status, 404);
    assert!(ask(&server, "POST", SEARCH, "{}").await.json().get("targets").is_none());
    let events = ask(&server, "POST", "/admin/v1/events/_search", "{}").await.json();
    assert_eq!(events["events"].as_array().unwrap().len(), 2);
    assert!(server.targets()[0].ghost);
    assert_eq!(ask(&server, "DELETE", &path, "").await.status, 200);
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 200);
}

#[tokio::test]
async fn faults_fit_their_operation_and_can_be_cleared() {
    let server = v2().await;
    let fault = server.fault(Op::List, Effect::Status(500, None), Times::Always);
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 200);
    assert_eq!(ask(&server, "POST", SEARCH, "{}").await.status, 500);
    fault.clear();
    assert_eq!(ask(&server, "POST", SEARCH, "{}").await.status, 200);
    server.fault(Op::Any, Effect::Status(503, None), Times::Always);
    assert_eq!(ask(&server, "GET", "/debug/healthz", "").await.status, 503);
    server.clear_faults();
    assert_eq!(ask(&server, "GET", "/debug/healthz", "").await.status, 200);
}

#[tokio::test]
async fn a_paused_server_refuses_and_cuts_connections_and_comes_back_with_its_state() {
    let server = v2().await;
    ask(&server, "POST", TARGETS, &body("a")).await;
    let mut idle = TcpStream::connect(address(&server)).await.unwrap();
    server.pause().await;
    assert!(TcpStream::connect(address(&server)).await.is_err());
    let mut rest = Vec::new();
    let _ = idle.write_all(b"GET / HTTP/1.1\r\n\r\n").await;
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut idle, &mut rest).await;
    assert!(rest.is_empty());
    server.resume().await.unwrap();
    assert_eq!(ask(&server, "POST", TARGETS, &body("a")).await.status, 409);
}

#[tokio::test]
async fn the_port_is_free_when_the_last_handle_is_dropped() {
    let server = v2().await;
    let to = address(&server);
    let clone = server.clone();
    drop(server);
    assert!(TcpStream::connect(to).await.is_ok());
    drop(clone);
    assert!(TcpStream::connect(to).await.is_err());
}
