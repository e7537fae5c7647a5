//! Somebody's executions on the calls of the Actions API: what the caller gets, and what was carried out all the same.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use serde_json::json;
use support::{APIS, Api, ask, refusal};
use zitadel_stand_in::{Effect, Generation, Interruption, Op, Role, StandIn, Times};

/// Status, gRPC code and error id.
type Refusal = (u16, u64, Option<String>);

fn with_id(status: u16, code: u64, id: &str) -> Refusal {
    (status, code, Some(id.to_owned()))
}

fn failed(api: &Api) -> Refusal {
    match api.generation {
        Generation::V3Alpha => (500, 2, None),
        _ => with_id(400, 9, "EXEC-dra6yamk98"),
    }
}

fn names(server: &StandIn) -> Vec<String> {
    server.targets().into_iter().map(|target| target.name).collect()
}

#[tokio::test]
async fn a_failing_response_execution_refuses_a_create_that_is_committed() {
    for api in APIS {
        let server = api.start().await;
        let fault = server.fault(Op::Create, Effect::ResponseExecution(Interruption::Failed), Times::ONCE);
        let answer = api.create(&server, "a").await;
        assert_eq!(refusal(&answer), failed(&api), "{}", answer.body);
        assert_eq!((names(&server), fault.hits()), (vec!["a".to_owned()], 1));
        assert!(answer.json()["message"].as_str().unwrap().contains("EXEC-dra6yamk98"), "{}", answer.body);
        assert_eq!(api.create(&server, "a").await.status, 409, "{}: the name is taken now", api.generation);
    }
}

#[tokio::test]
async fn every_call_can_be_interrupted_after_it_took_effect_until_it_is_cleared() {
    for api in APIS {
        let server = api.start().await;
        let target = server.external_create("a", zitadel_stand_in::TargetEdit::default());
        let fail = |op| server.fault(op, Effect::ResponseExecution(Interruption::Failed), Times::Always);
        let faults = [Op::Update, Op::Get, Op::List, Op::Events, Op::Me, Op::Instance].map(fail);
        let update = async || ask(&server, api.update, &api.one(&target), r#"{"timeout":"33s"}"#).await;
        assert_eq!(refusal(&update().await), failed(&api));
        assert_eq!(server.targets()[0].timeout.as_secs(), 33, "{}", api.generation);
        assert_eq!(refusal(&ask(&server, "GET", &api.one(&target), "").await), failed(&api));
        assert_eq!(refusal(&api.list(&server, None).await), failed(&api));
        for (method, path) in
            [("POST", "/admin/v1/events/_search"), ("GET", "/auth/v1/users/me"), ("GET", "/admin/v1/instances/me")]
        {
            assert_eq!(refusal(&ask(&server, method, path, "").await), failed(&api), "{path}");
        }
        faults.iter().for_each(zitadel_stand_in::FaultHandle::clear);
        assert_eq!(update().await.status, 200);
        fail(Op::Delete);
        assert_eq!(refusal(&ask(&server, "DELETE", &api.one(&target), "").await), failed(&api));
        assert!(server.targets().is_empty(), "{}", api.generation);
    }
}

#[tokio::test]
async fn a_failing_request_execution_stops_a_call_before_it_is_carried_out() {
    for api in APIS {
        let server = api.start().await;
        server.fault(Op::Create, Effect::RequestExecution(Interruption::Failed), Times::N(2));
        assert_eq!(refusal(&api.create(&server, "a").await), failed(&api));
        // Before validation.
        assert_eq!(refusal(&ask(&server, "POST", api.targets, "{}").await), failed(&api));
        assert!(server.events().is_empty());
        assert!(api.create(&server, "a").await.status < 300, "{}: two calls only", api.generation);
    }
}

#[tokio::test]
async fn a_target_chooses_the_status_from_the_second_generation_on() {
    for api in APIS {
        let server = api.start().await;
        for (at, (status, expected)) in [
            (400, with_id(400, 3, "EXEC-reUaUZCzCp")),
            (401, with_id(401, 16, "EXEC-reUaUZCzCp")),
            (403, with_id(403, 7, "EXEC-reUaUZCzCp")),
            (404, with_id(404, 5, "EXEC-reUaUZCzCp")),
            (409, with_id(409, 6, "EXEC-reUaUZCzCp")),
            (429, with_id(429, 8, "EXEC-reUaUZCzCp")),
            (503, with_id(400, 9, "EXEC-bmhNhpcqpF")),
        ]
        .into_iter()
        .enumerate()
        {
            let interruption = Interruption::Forwarded(status, "no thanks".to_owned());
            server.fault(Op::Create, Effect::ResponseExecution(interruption), Times::ONCE);
            let answer = api.create(&server, &format!("a-{at}")).await;
            if api.generation == Generation::V3Alpha {
                assert_eq!(answer.status, 201, "the first generation does not know of it");
            } else {
                assert_eq!(refusal(&answer), expected, "{}", api.generation);
                assert_eq!(answer.json()["details"][0]["message"], "no thanks");
            }
            assert_eq!(names(&server).len(), at + 1);
        }
    }
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_is_an_error_without_an_id() {
    for api in APIS {
        let server = api.start().await;
        server.fault(Op::Create, Effect::ResponseExecution(Interruption::Unreachable), Times::ONCE);
        let answer = api.create(&server, "a").await;
        assert_eq!(refusal(&answer), (500, 2, None));
        assert!(answer.json()["message"].as_str().unwrap().contains("connection refused"), "{}", answer.body);
        assert_eq!(names(&server), ["a"]);
    }
}

#[tokio::test]
async fn a_token_is_looked_at_first_and_a_failed_call_is_answered_as_it_is() {
    for api in APIS {
        let server = api.start().await;
        server.fault(Op::Any, Effect::ResponseExecution(Interruption::Failed), Times::Always);
        let path = api.one("1");
        let bad = support::Request::new("GET", &path).bearer("garbage");
        assert_eq!(support::send(support::address(&server), &bad).await.unwrap().unwrap().status, 401);
        let stranger = support::Request::new("GET", &path).bearer(&server.issue_token(Role::OrgOwner));
        assert_eq!(support::send(support::address(&server), &stranger).await.unwrap().unwrap().status, 403);
        assert_eq!(ask(&server, "GET", &path, "").await.status, 404, "{}", api.generation);
    }
}

#[tokio::test]
async fn details_can_have_a_slug_in_place_of_an_id() {
    let server = APIS[3].start().await;
    server.set_error_slugs(true);
    server.fault(Op::Create, Effect::ResponseExecution(Interruption::Failed), Times::ONCE);
    let detail = APIS[3].create(&server, "a").await.json()["details"][0].clone();
    let expected = json!({
        "@type": "type.googleapis.com/zitadel.error.v2.ErrorDetail",
        "slug": "EXEC-dra6yamk98",
        "message": "Execution failed",
    });
    assert_eq!(detail, expected);
    server.set_error_slugs(false);
    assert_eq!(refusal(&APIS[3].create(&server, "a").await), with_id(409, 6, "V3-DKcYh"));
}
