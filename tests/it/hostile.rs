//! Servers that are no ZITADEL and mean harm: answers that are too large, too many, or never end. The connection says what
//! is wrong, memory stays bounded, and Targets of other connections notice nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures::stream;
use rstest::rstest;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use zitadel_stand_in::Generation;

use crate::cluster::plane;
use crate::connections::{by, connect, connections, secret, setup, to};
use crate::world::{World, webhook};

/// What the operator may need at most, in bytes: the bound of a release build, whose resident memory at rest is 18 MiB. A
/// debug build has more at rest, so what is asserted is the growth.
const GROWTH: usize = (64 - 18) << 20;

/// What a server does in its searches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harm {
    /// 16 MiB of small elements.
    Huge,
    /// As many small elements as a page may hold.
    Tiny,
    /// One row with as many fields as a page may hold: none of them is kept, so nothing is wrong.
    Wide,
    /// Every page is full, and of the same targets.
    Same,
    /// Every page is full, and of new targets.
    Endless,
    /// Every page of events is full, and all of one date.
    OneDate,
    /// A byte now and then.
    Slow,
    /// An identity of a mebibyte.
    Name,
}

/// A target with an endpoint of this length.
fn row(id: usize, endpoint: usize) -> Value {
    json!({
        "id": id.to_string(), "creationDate": "2026-01-01T00:00:00Z", "changeDate": "2026-01-01T00:00:00Z",
        "name": format!("target-{id}"), "restAsync": {}, "timeout": "10s", "endpoint": "x".repeat(endpoint),
    })
}

fn event(id: usize) -> Value {
    json!({
        "editor": {"userId": "u"}, "aggregate": {"id": id.to_string(), "resourceOwner": "i"}, "sequence": "1",
        "creationDate": "2026-01-01T00:00:00Z", "type": {"type": "target.added"}, "payload": {"name": format!("target-{id}")},
    })
}

fn elements(of: &str, bytes: usize) -> Response {
    let count = bytes / (of.len() + 1);
    format!("{{\"targets\":[{}{of}]}}", format!("{of},").repeat(count - 1)).into_response()
}

fn drip() -> Response {
    let bytes = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Some((Ok::<_, std::io::Error>(Bytes::from_static(b" ")), ()))
    });
    Body::from_stream(bytes).into_response()
}

fn answer(harm: Harm, method: &Method, path: &str, asked: usize) -> Response {
    let page = |rows: std::ops::Range<usize>, endpoint: usize| {
        axum::Json(json!({"targets": rows.map(|id| row(id, endpoint)).collect::<Vec<_>>()}))
    };
    match (path, harm) {
        ("/v2/actions/targets/search", Harm::Huge) => elements("{\"a\":0}", 16 << 20),
        ("/v2/actions/targets/search", Harm::Tiny) => elements("{\"id\":\"1\"}", 7 << 20),
        ("/v2/actions/targets/search", Harm::Wide) => {
            let fields = "\"a\":0,".repeat((7 << 20) / 6);
            format!("{{\"targets\":[{{{fields}\"id\":\"1\"}}]}}").into_response()
        }
        ("/v2/actions/targets/search", Harm::Same) => page(0..1000, 100).into_response(),
        ("/v2/actions/targets/search", Harm::Endless) => page(1000 * asked..1000 * (asked + 1), 3000).into_response(),
        ("/v2/actions/targets/search", Harm::Slow) => drip(),
        ("/admin/v1/events/_search", Harm::OneDate) => {
            let events: Vec<_> = (1000 * asked..1000 * (asked + 1)).map(event).collect();
            axum::Json(json!({"events": events})).into_response()
        }
        ("/auth/v1/users/me", Harm::Name) => axum::Json(json!({"user": {"id": "x".repeat(1 << 19)}})).into_response(),
        ("/admin/v1/instances/me", Harm::Name) => {
            axum::Json(json!({"instance": {"id": "x".repeat(1 << 19), "version": "y".repeat(1 << 18)}})).into_response()
        }
        ("/v2/actions/targets/search" | "/admin/v1/events/_search", _) => axum::Json(json!({})).into_response(),
        ("/v2/actions/targets", _) if method == Method::POST => {
            axum::Json(json!({"id": "1", "creationDate": "2026-01-01T00:00:00Z"})).into_response()
        }
        ("/v2/actions/targets/1", _) => axum::Json(json!({"target": row(1, 100)})).into_response(),
        _ => (StatusCode::NOT_FOUND, axum::Json(json!({"code": 5, "message": "Not Found"}))).into_response(),
    }
}

async fn serve(harm: Harm) -> (String, JoinHandle<()>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let router = Router::new().fallback(move |request: Request| {
        let number = asked.fetch_add(1, Ordering::Relaxed);
        // As ZITADEL answers the probe of a route that it has.
        let probe = !request.headers().contains_key(AUTHORIZATION);
        let answer = if probe {
            (StatusCode::UNAUTHORIZED, axum::Json(json!({"code": 16, "message": "auth header missing"})))
                .into_response()
        } else {
            answer(harm, request.method(), request.uri().path(), number)
        };
        async move { answer }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (url, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }))
}

/// Resident memory of the operator now, and the most that it ever was, in bytes.
fn memory(world: &World) -> (usize, usize) {
    let pid = plane().supervisor().pid(&world.operator()).expect("the operator runs");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the operator runs");
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|number| number.parse::<usize>().ok()).expect("a number of kB") << 10
    };
    (field("VmRSS:"), field("VmHWM:"))
}

/// What the connection says, whatever its condition.
async fn said(world: &World) -> String {
    let status = connections(world, &world.namespace).get("mine").await.ok().and_then(|mine| mine.status);
    let conditions = status.map(|status| status.conditions).unwrap_or_default();
    conditions.iter().map(|condition| condition.message.as_str()).collect::<Vec<_>>().join("\n")
}

#[rstest]
#[case::huge(Harm::Huge, "longer than 8388608 bytes")]
#[case::tiny(Harm::Tiny, "more than 10000 elements in a list")]
#[case::wide(Harm::Wide, "ZITADEL answers and accepts the credential")]
#[case::same(Harm::Same, "nothing that the pages before it have not shown")]
#[case::endless(Harm::Endless, "it needs more than 24 MiB")]
#[case::one_date(Harm::OneDate, "not available: events")]
#[case::slow(Harm::Slow, "no answer within 2 s")]
#[case::name(Harm::Name, "not available")]
#[tokio::test]
async fn a_hostile_server_harms_its_own_connection_alone(#[case] harm: Harm, #[case] says: &str) {
    let (url, server) = serve(harm).await;
    let world = World::with(setup(Generation::V2)).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let (before, _) = memory(&world);
    secret(&world, &world.namespace, "mine", json!({"pat": "secret-of-the-hostile-one"})).await;
    let mut spec = to(&url, "mine");
    spec["requestsPerSecond"] = json!(1000);
    connect(&world, &world.namespace, "mine", spec).await;
    world.create("victim", by("mine")).await;
    let told = world.until_some("the connection says what is wrong", || async {
        let said = said(&world).await;
        Some(said).filter(|said| said.contains(says))
    });
    let told = told.await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.ready("hook").await;
    let (_, most) = memory(&world);
    println!("{harm:?}: {} MiB before, {} MiB at most; {told}", before >> 20, most >> 20);
    assert!(most - before < GROWTH, "from {before} to {most} bytes");
    world.kill(&world.operator()).await;
    server.abort();
}
