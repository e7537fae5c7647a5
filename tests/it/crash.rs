//! The operator dies, or its messages do: exactly one remote target all the same, and its id in status.

use std::time::{Duration, Instant};

use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;
use zitadel_stand_in::{Effect, EventKind, FaultHandle, Generation, Op, Options, StandIn, Times};

use crate::connections::{by, connect, says, secret, setup, to};
use crate::exposition::scrape;
use crate::world::{GENERATIONS, Setup, World, current, id, is_ready, log, webhook};

/// kill -9 between the remote create and the status write.
#[tokio::test]
async fn killed_between_create_and_status() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.until("the create is committed remotely", || async { world.count(EventKind::Added) == 1 }).await;
        world.kill(&world.operator()).await;
        held.clear();
        let target = world.get("hook").await;
        assert_eq!(target.status.unwrap().id, None, "the answer never reached the status");

        world.start_operator(&[]).await;
        let target = world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        assert_eq!(world.zitadel.targets()[0].id, id(&target));
        assert!(world.note("Recovered").await.contains(&id(&target)));
        world.assert_rests("hook").await;
        world.finish().await;
    }
}

/// Deleted while dead: what the lost create made is found and deleted.
#[tokio::test]
async fn killed_between_create_and_status_then_deleted() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.until("the create is committed remotely", || async { world.count(EventKind::Added) == 1 }).await;
        world.kill(&world.operator()).await;
        held.clear();
        world.delete("hook").await;
        world.start_operator(&[]).await;
        world.gone("hook").await;
        assert!(world.zitadel.targets().is_empty(), "{}", world.zitadel.dump());
        world.finish().await;
    }
}

/// Renamed while dead: the old claim is settled first, then the target is renamed.
#[tokio::test]
async fn killed_between_create_and_status_then_renamed() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.until("the create is committed remotely", || async { world.count(EventKind::Added) == 1 }).await;
        world.kill(&world.operator()).await;
        held.clear();
        world.edit("hook", json!({"name": "other"})).await;
        world.start_operator(&[]).await;
        world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        assert_eq!(world.zitadel.targets()[0].name, "other");
        world.finish().await;
    }
}

/// The commit happens and the answer does not arrive, in every way a network knows.
#[tokio::test]
async fn a_lost_answer_makes_no_second_target() {
    for generation in GENERATIONS {
        for effect in [Effect::LoseReply, Effect::HtmlAfterCommit, Effect::Truncated, Effect::HoldReply] {
            let world = World::new(generation).await;
            world.zitadel.fault(Op::Create, effect.clone(), Times::ONCE);
            world.create("hook", webhook()).await;
            let target = world.ready("hook").await;
            assert_eq!(world.count(EventKind::Added), 1, "{effect:?}\n{}", world.zitadel.dump());
            assert_eq!(world.calls(Op::Create), 1, "{effect:?}");
            assert_eq!(world.zitadel.targets()[0].id, id(&target));
            world.finish().await;
        }
    }
}

/// Where events may not be read, the name and the date find the lost target.
#[tokio::test]
async fn a_lost_answer_is_recovered_by_name_without_the_event_store() {
    let denied = r#"{"code":7,"message":"No matching permissions found (AUTH-5mWD2)","details":[{"id":"AUTH-5mWD2"}]}"#;
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.zitadel.fault(Op::Events, Effect::Status(403, Some(denied.into())), Times::Always);
        world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
        world.create("hook", webhook()).await;
        let target = world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        assert_eq!(world.zitadel.targets()[0].id, id(&target));
        world.finish().await;
    }
}

/// The commit happens after the client has given up.
#[tokio::test]
async fn a_late_commit_makes_no_second_target() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.zitadel.fault(Op::Create, Effect::CommitLate(std::time::Duration::from_secs(6)), Times::ONCE);
        world.create("hook", webhook()).await;
        world.reason("hook", "CreateOutcomeUnknown").await;
        let target = world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1, "{}", world.zitadel.dump());
        assert_eq!(world.calls(Op::Create), 1);
        assert_eq!(world.zitadel.targets()[0].id, id(&target));
        world.finish().await;
    }
}

/// The request never arrives: after the time in which it still could, it is sent again.
#[tokio::test]
async fn a_lost_request_is_repeated_when_it_is_certainly_dead() {
    let world = World::new(zitadel_stand_in::Generation::V2).await;
    world.zitadel.fault(Op::Create, Effect::Reset, Times::ONCE);
    world.create("hook", webhook()).await;
    world.reason("hook", "CreateOutcomeUnknown").await;
    world.ready("hook").await;
    let creates: Vec<_> = world.zitadel.calls().into_iter().filter(|call| call.op == Some(Op::Create)).collect();
    assert_eq!(creates.len(), 2);
    // Twice the client's time-out of 2 s, and 15 s for the server, after the claim; the first create may have been sent
    // as late as one time-out after that.
    assert!((creates[1].at - creates[0].at).as_secs() >= 17, "{creates:?}");
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

/// SIGTERM while a create is in flight: it is answered and committed before the process ends.
#[tokio::test]
async fn a_graceful_stop_commits_the_create_in_flight() {
    for generation in GENERATIONS {
        let world = World::with(Setup::new(generation).flag("--zitadel-timeout", "10")).await;
        let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.create("hook", webhook()).await;
        world.until("the create is committed remotely", || async { world.count(EventKind::Added) == 1 }).await;
        let operator = world.operator();
        devkit_terminate(&operator);
        world.until("the operator is stopping", || async { log(&operator).contains("stopping") }).await;
        held.release();
        let name = operator.clone();
        let code = world
            .until_some("the operator ends", || async { crate::cluster::plane().supervisor().exit_code(&name) })
            .await;
        assert_eq!(code, 0, "{}", log(&operator));
        let target = world.get("hook").await;
        assert_eq!(id(&target), world.zitadel.targets()[0].id, "committed before the end");
        world.start_operator(&[]).await;
        world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1);
        world.finish().await;
    }
}

fn devkit_terminate(operator: &str) {
    crate::cluster::plane().supervisor().signal(operator, devkit::supervisor::Signal::Terminate).unwrap();
}

/// A restart finds everything as it was: reads only.
#[tokio::test]
async fn a_restart_writes_nothing() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        for index in 0..5 {
            world.create(&format!("hook-{index}"), webhook()).await;
        }
        for index in 0..5 {
            world.ready(&format!("hook-{index}")).await;
        }
        let before: Vec<_> = world.targets().list(&ListParams::default()).await.unwrap().items;
        assert_eq!(world.terminate(&world.operator()).await, 0);
        world.start_operator(&[]).await;
        world.resyncs(10).await;
        let after: Vec<_> = world.targets().list(&ListParams::default()).await.unwrap().items;
        assert_eq!(before, after);
        assert_eq!(world.zitadel.events().len(), 5);
        world.finish().await;
    }
}

/// One page of a list for each thousand, own user, instance, and the newest event: whatever the API, also if it has to be
/// found out.
#[tokio::test]
async fn a_restart_costs_one_list_and_three_calls() {
    let fixed = GENERATIONS.map(|generation| (generation, generation.to_string()));
    for (generation, api) in fixed.into_iter().chain([(Generation::V2, "auto".to_owned())]) {
        let setup = Setup::new(generation).flag("--resync-interval", "86400").flag("--zitadel-api", &api);
        let world = World::with(setup).await;
        for index in 0..3 {
            world.create(&format!("hook-{index}"), webhook()).await;
        }
        for index in 0..3 {
            world.ready(&format!("hook-{index}")).await;
        }
        assert_eq!(world.terminate(&world.operator()).await, 0);
        let before = world.zitadel.calls().len();
        world.start_operator(&[]).await;
        world.edit("hook-0", json!({"timeout": "3s"})).await;
        world.until_target("hook-0", "Ready with the edit", |hook| current(hook) && is_ready(hook)).await;
        let calls = world.zitadel.calls();
        // The edit reads its target first.
        let start = calls[before..].iter().take_while(|call| !matches!(call.op, Some(Op::Get | Op::Update)));
        assert_eq!(start.count(), 4, "{api}: {}", world.zitadel.dump());
        world.finish().await;
    }
}

/// Two operators at once, without any election: the claim alone keeps them from making two targets.
#[tokio::test]
async fn two_replicas_make_one_target() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.start_operator(&[]).await;
        for index in 0..10 {
            world.create(&format!("hook-{index}"), webhook()).await;
        }
        for index in 0..10 {
            world.ready(&format!("hook-{index}")).await;
        }
        assert_eq!(world.count(EventKind::Added), 10, "{}", world.zitadel.dump());
        for index in 0..10 {
            world.delete(&format!("hook-{index}")).await;
        }
        for index in 0..10 {
            world.gone(&format!("hook-{index}")).await;
        }
        assert!(world.zitadel.targets().is_empty());
        world.finish().await;
    }
}

/// A retained target is the user's: a lost create of the same manifest does not take it for its own.
#[tokio::test]
async fn a_retained_target_is_not_taken_for_a_lost_create() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let mut kept = webhook();
        kept["deletionPolicy"] = json!("Retain");
        world.create("hook", kept).await;
        let retained = id(&world.ready("hook").await);
        world.delete("hook").await;
        world.gone("hook").await;
        world.zitadel.fault(Op::Create, Effect::Reset, Times::ONCE);
        world.create("hook", webhook()).await;
        world.reason("hook", "NameTaken").await;
        world.delete("hook").await;
        world.gone("hook").await;
        let left: Vec<_> = world.zitadel.targets().into_iter().map(|target| target.id).collect();
        assert_eq!(left, [retained], "{}", world.zitadel.dump());
        world.finish().await;
    }
}

/// The object is deleted and its finalizer taken away while the create is under way, and ZITADEL fails just then.
async fn orphaned(world: &World, held: &FaultHandle, spec: serde_json::Value) {
    world.create("hook", spec).await;
    world.until("the create is committed remotely", || async { world.count(EventKind::Added) == 1 }).await;
    world.delete("hook").await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    world.targets().patch("hook", &PatchParams::default(), &free).await.unwrap();
    world.gone("hook").await;
    held.release();
}

#[tokio::test]
async fn the_target_of_an_object_that_vanished_is_deleted_however_often_zitadel_fails() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        world.zitadel.fault(Op::Delete, Effect::Status(503, None), Times::N(3));
        orphaned(&world, &held, webhook()).await;
        world.until("the orphan is deleted", || async { world.zitadel.targets().is_empty() }).await;
        assert_eq!((world.calls(Op::Delete), world.count(EventKind::Removed)), (4, 1), "{}", world.zitadel.dump());
        let found = scrape(world.port()).await.sum("zitadel_target_orphans_found_total", &[]);
        assert!((found - 1.0).abs() < f64::EPSILON, "{found}");
        // Its end was reported while nobody knew yet what the create had made.
        assert!(world.notes("LeftBehind").await.iter().all(|note| note.contains("may be left")));
        world.finish().await;
    }
}

#[tokio::test]
async fn an_orphan_that_may_not_be_deleted_is_reported() {
    let denied = r#"{"code":7,"message":"No matching permissions found (AUTH-5mWD2)","details":[{"id":"AUTH-5mWD2"}]}"#;
    let world = World::new(zitadel_stand_in::Generation::V2).await;
    let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    world.zitadel.fault(Op::Delete, Effect::Status(403, Some(denied.into())), Times::Always);
    orphaned(&world, &held, webhook()).await;
    let id = world.zitadel.targets()[0].id.clone();
    let named = || async { world.notes("LeftBehind").await.into_iter().find(|note| note.contains(&id)) };
    let note = world.until_some("an Event names the orphan", named).await;
    println!("{note}");
    assert!(note.contains("could not be deleted") && note.contains("AUTH-5mWD2"), "{note}");
    world.finish().await;
}

/// A person asks for the orphan by its id while its deletion is tried again: it is the new Target's from then on.
#[tokio::test]
async fn an_orphan_that_a_new_target_takes_over_is_not_deleted() {
    let world = World::with(setup(zitadel_stand_in::Generation::V2)).await;
    secret(&world, &world.namespace, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &world.namespace, "mine", to(&world.zitadel.url(), "admin")).await;
    let held = world.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
    let failing = world.zitadel.fault(Op::Delete, Effect::Status(503, None), Times::Always);
    orphaned(&world, &held, by("mine")).await;
    world.until("a deletion fails", || async { world.calls(Op::Delete) > 0 }).await;
    let orphan = world.zitadel.targets()[0].id.clone();
    let mut spec = by("mine");
    (spec["externalId"], spec["name"]) = (json!(orphan), json!("hook"));
    world.create("owner", spec).await;
    world.ready("owner").await;
    failing.clear();
    world
        .until("the orphan is left to its owner", || async { log(&world.operator()).contains("has an owner again") })
        .await;
    assert_eq!(world.count(EventKind::Removed), 0, "{}", world.zitadel.dump());
    assert!(crate::world::is_ready(&world.get("owner").await));
    world.finish().await;
}

/// A call of the probe that hangs takes a minute: the process ends before it when it is told to.
#[tokio::test]
async fn a_graceful_stop_does_not_wait_for_the_probe_of_a_slow_server() {
    let world = World::with(setup(zitadel_stand_in::Generation::V2).flag("--zitadel-timeout", "60")).await;
    let slow = StandIn::start(Options::new(zitadel_stand_in::Generation::V2)).await.unwrap();
    // Down first: what follows is the probe of a connection that is tried again.
    let down = slow.fault(Op::Any, Effect::Status(503, None), Times::Always);
    secret(&world, &world.namespace, "admin", json!({"pat": slow.token()})).await;
    connect(&world, &world.namespace, "slow", to(&slow.url(), "admin")).await;
    says(&world, &world.namespace, "slow", "False", "ZitadelUnavailable").await;
    let before = slow.calls().len();
    let held = slow.fault(Op::Any, Effect::HoldReply, Times::Always);
    down.clear();
    world.create("hook", by("slow")).await;
    world.until("a probe hangs", || async { slow.calls().len() > before && held.hits() > 0 }).await;
    let told = Instant::now();
    assert_eq!(world.terminate(&world.operator()).await, 0);
    let took = told.elapsed();
    println!("ended after {took:?}");
    assert!(took < Duration::from_secs(40), "it waited for the call that hangs: {took:?}");
    world.finish().await;
}
