//! What the event store search leaves out or does not answer: open transactions, retention, an ill server.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests, which clippy.toml only exempts inside #[test]"
)]

mod support;

use std::time::{Duration, Instant};

use support::{APIS, ask, found_events, rows};
use zitadel_stand_in::{Effect, HiddenFrom, Op, TargetEdit, Times};

#[tokio::test]
async fn events_are_hidden_until_they_are_shown_and_names_stay_taken() {
    for api in APIS {
        let server = api.start().await;
        server.external_create("before", TargetEdit::default());
        server.hide_events_from_now(HiddenFrom::Search);
        assert!(api.create(&server, "after").await.status < 300);
        assert_eq!(found_events(&server).await, ["before"], "{}", api.generation);
        assert_eq!(rows(&api.list(&server, None).await), 2, "{}: reads show it", api.generation);
        assert_eq!(api.create(&server, "after").await.status, 409);
        server.show_events();
        assert_eq!(found_events(&server).await, ["before", "after"], "{}", api.generation);
    }
}

#[tokio::test]
async fn an_open_transaction_hides_writes_from_reads_too() {
    for api in APIS {
        let server = api.start().await;
        server.external_create("before", TargetEdit::default());
        server.hide_events_from_now(HiddenFrom::SearchAndReads);
        assert!(api.create(&server, "after").await.status < 300);
        assert_eq!(found_events(&server).await, ["before"]);
        assert_eq!(rows(&api.list(&server, None).await), 1, "{}", api.generation);
        assert_eq!(api.create(&server, "after").await.status, 409, "{}: commands see it", api.generation);
        server.show_events();
        assert_eq!((found_events(&server).await.len(), rows(&api.list(&server, None).await)), (2, 2));
    }
}

#[tokio::test]
async fn hiding_again_hides_from_reads_what_comes_after_it_and_a_restored_database_hides_nothing() {
    let server = APIS[0].start().await;
    let empty = server.back_up();
    let seen = async || (found_events(&server).await.len(), rows(&APIS[0].list(&server, None).await));
    server.external_create("a", TargetEdit::default());
    server.hide_events_from_now(HiddenFrom::Search);
    server.external_create("b", TargetEdit::default());
    assert_eq!(seen().await, (1, 2));
    server.hide_events_from_now(HiddenFrom::SearchAndReads);
    server.external_create("c", TargetEdit::default());
    assert_eq!(seen().await, (1, 2));
    assert!(server.dump().contains("events hidden from reads: after the first 2"), "{}", server.dump());
    server.restore(&empty);
    server.external_create("d", TargetEdit::default());
    assert_eq!(seen().await, (1, 1));
}

#[tokio::test]
async fn retention_hides_old_events_and_leaves_their_targets() {
    for api in APIS {
        let server = api.start().await;
        server.set_clock_offset(-7200);
        let target = server.external_create("old", TargetEdit::default());
        server.set_clock_offset(0);
        server.set_audit_log_retention(Some(Duration::from_hours(1)));
        server.external_create("new", TargetEdit::default());
        assert_eq!(found_events(&server).await, ["new"], "{}", api.generation);
        assert_eq!(rows(&api.list(&server, None).await), 2);
        let path = api.one(&target);
        assert_eq!(ask(&server, api.update, &path, r#"{"timeout":"33s"}"#).await.status, 200);
        let body = format!(r#"{{"asc":true,"aggregateId":"{target}","from":"2000-01-01T00:00:00Z"}}"#);
        let events = ask(&server, "POST", "/admin/v1/events/_search", &body).await.json();
        let events = events["events"].as_array().unwrap().clone();
        assert_eq!((events.len(), &events[0]["sequence"]), (1, &serde_json::json!("2")), "the creation is gone");
        server.set_audit_log_retention(None);
        assert_eq!(found_events(&server).await, ["old", "new", "-"]);
    }
}

#[tokio::test]
async fn what_is_forgotten_is_gone_from_the_search_alone() {
    for api in APIS {
        let server = api.start().await;
        server.external_create("old", TargetEdit::default());
        server.forget_events_until_now();
        assert!(found_events(&server).await.is_empty(), "{}", api.generation);
        assert_eq!((rows(&api.list(&server, None).await), server.events().len()), (1, 1));
        server.external_create("new", TargetEdit::default());
        assert_eq!(found_events(&server).await, ["new"]);
    }
}

#[tokio::test]
async fn search_user_and_instance_can_fail_or_be_slow_while_targets_work() {
    const SLOW: Duration = Duration::from_millis(80);
    for api in APIS {
        let server = api.start().await;
        for (op, method, path) in [
            (Op::Events, "POST", "/admin/v1/events/_search"),
            (Op::Me, "GET", "/auth/v1/users/me"),
            (Op::Instance, "GET", "/admin/v1/instances/me"),
        ] {
            let body = r#"{"code":13,"message":"Errors.Internal"}"#;
            let broken = server.fault(op, Effect::Status(500, Some(body.to_owned())), Times::Always);
            assert_eq!(ask(&server, method, path, "").await.status, 500);
            broken.clear();
            server.fault(op, Effect::Latency(SLOW), Times::ONCE);
            let started = Instant::now();
            assert_eq!(ask(&server, method, path, "").await.status, 200);
            assert!(started.elapsed() >= SLOW, "{path}");
        }
        assert!(api.create(&server, "a").await.status < 300, "{}", api.generation);
    }
}
