//! Every row of the reason table that target calls can meet: what is shown, what is told, and that it mends itself.

use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Effect, EventKind, Generation, Op, Options, Role, StandIn, TargetEdit, Times};

use crate::world::{GENERATIONS, Setup, World, condition, log, webhook};

/// Ready=False with a reason, the right abnormal condition beside it, and advice in words.
async fn assert_shown(world: &World, name: &str, reason: &str, beside: &str, advice: &str) {
    let target = world.reason(name, reason).await;
    let (status, why, message) = condition(&target, beside).unwrap_or_else(|| panic!("no {beside}: {target:#?}"));
    assert_eq!((status.as_str(), why.as_str()), ("True", reason));
    assert!(message.contains(advice), "{message}");
}

#[tokio::test]
async fn invalid_spec_by_the_servers_word() {
    // The v2 API takes no more than 270 s: said before any call.
    let world = World::new(Generation::V2).await;
    let mut spec = webhook();
    spec["timeout"] = json!("270.000000001s");
    world.create("hook", spec).await;
    assert_shown(&world, "hook", "InvalidSpec", "Stalled", "at most 270s").await;
    assert_eq!(world.calls(Op::Create), 0);
    world.edit("hook", json!({"timeout": "270s"})).await;
    world.ready("hook").await;
    world.finish().await;

    // A refusal of the server itself, with its text in the condition and its id in the Event.
    let world = World::new(Generation::V3Alpha).await;
    let body = r#"{"code":3,"message":"invalid CreateTargetRequest.Name: odd (COMMAND-zzz)","details":[{"@type":"type.googleapis.com/zitadel.v1.ErrorDetail","id":"COMMAND-zzz","message":"odd"}]}"#;
    world.zitadel.fault(Op::Create, Effect::Status(400, Some(body.into())), Times::ONCE);
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "InvalidSpec", "Stalled", "invalid CreateTargetRequest.Name").await;
    let note = world.note("InvalidSpec").await;
    assert!(note.contains("code 3") && note.contains("COMMAND-zzz"), "{note}");
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

#[tokio::test]
async fn endpoint_denied_until_dns_knows_the_host() {
    let mut setup = Setup::new(Generation::V2);
    setup.stand_in = Options { resolvable_hosts: vec![], ..Options::new(Generation::V2) };
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "EndpointDenied", "Reconciling", "deny list").await;
    assert!(world.note("EndpointDenied").await.contains("COMMAND-NcJUKo"));
    world.zitadel.set_resolvable_hosts(&["example.com"]);
    world.ready("hook").await;

    world.edit("hook", json!({"endpoint": "https://unknown.example.org"})).await;
    assert_shown(&world, "hook", "EndpointDenied", "Reconciling", "deny list").await;
    world.zitadel.set_resolvable_hosts(&["example.org"]);
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

#[tokio::test]
async fn actions_disabled_until_the_flag_is_on() {
    let mut setup = Setup::new(Generation::V3Alpha);
    setup.stand_in = Options { actions_feature: false, ..Options::new(Generation::V3Alpha) };
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "ActionsDisabled", "Reconciling", "PUT /v2beta/features/instance").await;
    assert!(world.note("ActionsDisabled").await.contains("ACTION-8o6pvqfjhs"));
    world.zitadel.set_actions_feature(true);
    world.ready("hook").await;

    // Off again: nothing is lost.
    world.zitadel.set_actions_feature(false);
    world.edit("hook", json!({"timeout": "3s"})).await;
    world.reason("hook", "ActionsDisabled").await;
    world.zitadel.set_actions_feature(true);
    world.ready("hook").await;
    assert_eq!(world.count(EventKind::Added), 1);
    world.finish().await;
}

#[tokio::test]
async fn authentication_failed_until_the_token_is_replaced() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("before", webhook()).await;
        world.ready("before").await;
        world.zitadel.revoke_token(&world.zitadel.token());
        world.create("during", webhook()).await;
        assert_shown(&world, "during", "AuthenticationFailed", "Reconciling", "replace the token").await;
        assert_shown(&world, "before", "AuthenticationFailed", "Reconciling", "replace the token").await;
        assert!(world.note("AuthenticationFailed").await.contains("AUTH-7fs1e"));
        let fresh = world.zitadel.issue_token(Role::IamOwner);
        world.write_token(&fresh);
        world.ready("during").await;
        world.ready("before").await;
        assert_eq!(world.count(EventKind::Added), 2);
        assert!(!log(&world.operator()).contains(&fresh), "the token is in the log");
        world.finish().await;
    }
}

/// v2.53 to v2.59 answered 403 to an expired token.
#[tokio::test]
async fn an_expired_token_by_another_name() {
    let world = World::new(Generation::V3Alpha).await;
    let body =
        r#"{"code":7,"message":"Errors.OIDCSession.Token.Expired (QUERY-SAF3rf)","details":[{"id":"QUERY-SAF3rf"}]}"#;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(403, Some(body.into())), Times::Always);
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "AuthenticationFailed", "Reconciling", "replace the token").await;
    fault.clear();
    world.ready("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn permission_denied_names_the_role() {
    for generation in GENERATIONS {
        for role in [Role::None, Role::OrgOwner, Role::IamOwnerViewer] {
            let world = World::with(Setup::new(generation).without_operator()).await;
            world.write_token(&world.zitadel.issue_token(role));
            world.start_operator(&[]).await;
            world.create("hook", webhook()).await;
            assert_shown(&world, "hook", "PermissionDenied", "Reconciling", "IAM_OWNER").await;
            let id = if role == Role::None { "AUTHZ-cdgFk" } else { "AUTH-5mWD2" };
            assert!(world.note("PermissionDenied").await.contains(id), "{role:?}");
            world.write_token(&world.zitadel.token());
            world.ready("hook").await;
            assert_eq!(world.count(EventKind::Added), 1);
            world.finish().await;
        }
    }
}

#[tokio::test]
async fn credentials_unavailable_until_the_file_is_there() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    std::fs::remove_file(world.token_file()).unwrap();
    world.start_operator(&[]).await;
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "CredentialsUnavailable", "Reconciling", "cannot be read").await;
    world.write_token("");
    let empty = |message: &str| message.contains("is empty");
    world
        .until_target("hook", "told of an empty file", |t| condition(t, "Ready").is_some_and(|(_, _, m)| empty(&m)))
        .await;
    assert_eq!(world.zitadel.calls().len(), 0);
    world.write_token(&world.zitadel.token());
    world.ready("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn unavailable_in_every_way_a_network_knows() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        world.create("hook", webhook()).await;
        world.ready("hook").await;
        let effects = [
            Effect::Status(500, None),
            Effect::Status(503, Some(r#"{"code":14,"message":"x"}"#.into())),
            Effect::Html(502),
            Effect::Html(404),
            Effect::Html(200),
            Effect::Reset,
            Effect::Truncated,
        ];
        for (round, effect) in effects.into_iter().enumerate() {
            let fault = world.zitadel.fault(Op::Any, effect.clone(), Times::Always);
            world.edit("hook", json!({"timeout": format!("{}s", 20 + round)})).await;
            let target = world.reason("hook", "ZitadelUnavailable").await;
            assert!(condition(&target, "Reconciling").is_some(), "{effect:?} is not for a person to mend");
            fault.clear();
            world.ready("hook").await;
        }
        world.zitadel.pause().await;
        world.edit("hook", json!({"timeout": "30s"})).await;
        world.reason("hook", "ZitadelUnavailable").await;
        world.zitadel.resume().await.unwrap();
        world.ready("hook").await;
        assert_eq!(world.count(EventKind::Added), 1, "nothing was made anew");
        world.finish().await;
    }
}

#[tokio::test]
async fn rate_limited_and_back() {
    let world = World::new(Generation::V2).await;
    let body = r#"{"code":8,"message":"Quota.Access.Exhausted (QUOTA-vjAy8)","details":[{"id":"QUOTA-vjAy8"}]}"#;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(429, Some(body.into())), Times::Always);
    world.create("hook", webhook()).await;
    assert_shown(&world, "hook", "RateLimited", "Reconciling", "limits the rate").await;
    assert!(world.note("RateLimited").await.contains("QUOTA-vjAy8"));
    fault.clear();
    world.ready("hook").await;
    world.finish().await;
}

/// While ZITADEL is down, one probe runs for all objects: no storm.
#[tokio::test]
async fn an_outage_is_probed_once_not_per_object() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(503, None), Times::Always);
    world.start_operator(&[]).await;
    for index in 0..20 {
        world.create(&format!("hook-{index}"), webhook()).await;
    }
    for index in 0..20 {
        world.reason(&format!("hook-{index}"), "ZitadelUnavailable").await;
    }
    world.until("a few probes happen", || async { fault.hits() >= 3 }).await;
    let hits = fault.hits();
    assert!(hits <= 6, "{hits} calls for 20 objects:\n{}", world.zitadel.dump());
    fault.clear();
    for index in 0..20 {
        world.ready(&format!("hook-{index}")).await;
    }
    assert_eq!(world.count(EventKind::Added), 20);
    world.finish().await;
}

#[tokio::test]
async fn a_taken_name_is_not_adopted() {
    for generation in GENERATIONS {
        let world = World::new(generation).await;
        let foreign = world.zitadel.external_create("HOOK", TargetEdit::default());
        world.create("hook", webhook()).await;
        assert_shown(&world, "hook", "NameTaken", "Stalled", "choose another spec.name").await;
        assert!(world.note("NameTaken").await.contains("V3-DKcYh"));
        let target = world.get("hook").await;
        assert_eq!(target.status.unwrap().id, None);
        assert!(target.metadata.annotations.is_none_or(|all| all.is_empty()), "the claim is dropped");

        world.edit("hook", json!({"name": "own"})).await;
        world.ready("hook").await;
        // A rename onto a taken name is refused just so.
        world.edit("hook", json!({"name": "hook"})).await;
        assert_shown(&world, "hook", "NameTaken", "Stalled", "choose another spec.name").await;
        world.delete("hook").await;
        world.gone("hook").await;
        let left: Vec<_> = world.zitadel.targets().into_iter().map(|target| target.id).collect();
        assert_eq!(left, [foreign], "the foreign target is untouched");
        world.finish().await;
    }
}

#[tokio::test]
async fn two_targets_with_one_name_do_not_share_a_target() {
    let world = World::new(Generation::V2).await;
    let mut spec = webhook();
    spec["name"] = json!("shared");
    world.create("first", spec.clone()).await;
    world.ready("first").await;
    world.create("second", spec).await;
    world.reason("second", "NameTaken").await;
    world.delete("second").await;
    world.gone("second").await;
    assert_eq!(world.zitadel.targets().len(), 1);
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_api_is_named() {
    for (served, flag) in [(Generation::V2, "v3alpha"), (Generation::V3Alpha, "v2")] {
        let world = World::with(Setup::new(served).flag("--zitadel-api", flag)).await;
        world.create("hook", webhook()).await;
        assert_shown(&world, "hook", "ApiUnsupported", "Reconciling", "generation of the Actions API").await;
        assert_eq!(world.http("/readyz").await.unwrap().0, 200, "the process itself is fine");
        assert!(world.zitadel.events().is_empty());
        world.finish().await;
    }
}

/// The server is upgraded to the generation that the flag names: no restart is needed.
#[tokio::test]
async fn a_wrong_api_becomes_the_right_one() {
    let world = World::with(Setup::new(Generation::V3Alpha).flag("--zitadel-api", "v2")).await;
    world.create("hook", webhook()).await;
    world.reason("hook", "ApiUnsupported").await;
    let port = world.zitadel.url().rsplit(':').next().unwrap().parse().unwrap();
    world.zitadel.pause().await;
    let upgraded = StandIn::start(Options { port, ..Options::new(Generation::V2) }).await.unwrap();
    world.write_token(&upgraded.token());
    let target = world.ready("hook").await;
    assert_eq!(upgraded.targets()[0].id, crate::world::id(&target));
    world.finish().await;
}

#[tokio::test]
async fn an_unknown_host_is_no_missing_target() {
    let mut setup = Setup::new(Generation::V2).flag("--zitadel-host", "auth.example.com");
    setup.stand_in =
        Options { external_domain: Some("auth.example.com".into()), strict_host: true, ..Options::new(Generation::V2) };
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let old = world.operator();
    world.terminate(&old).await;
    // The same server, asked by its address: 404, and yet nothing is lost or made anew.
    world.start_operator(&["--zitadel-host=wrong.example.com"]).await;
    world.edit("hook", json!({"timeout": "3s"})).await;
    assert_shown(&world, "hook", "ZitadelUnavailable", "Reconciling", "external domain").await;
    assert_eq!(world.zitadel.events().len(), 1);
    world.finish().await;
}

/// Ten minutes without success are made by setting the clock of the status back.
#[tokio::test]
async fn ten_minutes_without_success_are_stalled_and_recover() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let fault = world.zitadel.fault(Op::Any, Effect::Status(503, None), Times::Always);
    let operator = world.start_operator(&[]).await;
    world.create("hook", webhook()).await;
    world.reason("hook", "ZitadelUnavailable").await;
    world.kill(&operator).await;
    world.age("hook").await;
    world.start_operator(&[]).await;
    let late = |target: &Target| condition(target, "Stalled").is_some();
    let target = world.until_target("hook", "stalled", late).await;
    assert_eq!(condition(&target, "Ready").unwrap().1, "ZitadelUnavailable", "the cause stays");
    let (_, reason, message) = condition(&target, "Stalled").unwrap();
    assert_eq!(reason, "ProgressDeadlineExceeded");
    assert!(message.contains("ZitadelUnavailable") && message.contains("ten minutes"), "{message}");
    fault.clear();
    world.ready("hook").await;
    // The oracle has seen the clock being set back, which is ours to forgive.
    world.pardon("lastTransitionTime");
    world.finish().await;
}
