//! The client against the stand-in, in every generation and on every mount: one suite of calls, one set of domain
//! values. The stand-in's own fidelity is proved against recordings of real servers (devkit/stand-in/tests/replay.rs).

use std::time::Duration;

use rstest::rstest;
use secrecy::SecretString;
use zitadel_stand_in::{Effect, Generation, Op, Options, StandIn, TargetEdit, TargetKind, Times};

use super::auth::{Credential, Slot, Source};
use super::generation::Mount;
use super::transport::{Proxy, Settings};
use super::*;
use crate::api::reason::Reason;

/// A server and a client of it.
struct Pair {
    server: StandIn,
    client: Client,
    identity: Identity,
}

fn client(server: &StandIn, choice: ApiChoice) -> Client {
    client_with(server, choice, Duration::from_secs(10))
}

fn client_with(server: &StandIn, choice: ApiChoice, timeout: Duration) -> Client {
    // The process has one TLS provider; whoever comes second finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let slot = Slot::new("the token of the test");
    slot.set(Some(SecretString::from(server.token())));
    let settings = Settings {
        url: server.url().parse().unwrap(),
        host: None,
        ca: None,
        proxy: Proxy::None,
        credential: Credential::PersonalAccessToken(Source::Slot(slot)),
        rate: super::transport::RATE,
        timeout,
    };
    Client::new(choice, settings, Box::new(|_, _, _| {}))
}

async fn pair(options: Options, choice: ApiChoice) -> Pair {
    let server = StandIn::start(options).await.unwrap();
    let client = client(&server, choice);
    let identity = client.connect().await.unwrap();
    Pair { server, client, identity }
}

fn bare() -> Options {
    Options { bare_paths: true, ..Options::new(Generation::ResourcesV3Alpha) }
}

fn config(name: &str) -> TargetConfig {
    TargetConfig {
        name: name.parse().unwrap(),
        kind: Kind::Webhook(OnError::Interrupt),
        timeout: "10s".parse().unwrap(),
        endpoint: "https://hooks.example.com/x".parse().unwrap(),
        payload_type: PayloadType::Json,
    }
}

async fn create(pair: &Pair, name: &str) -> Created {
    let turn = pair.client.turn().await.unwrap();
    pair.client.create(turn, &config(name)).await.unwrap()
}

/// Every way in which a server may serve the API: as it is started, what is asked for, and what is found.
#[rstest]
#[case::v3alpha(Options::new(Generation::V3Alpha), ApiChoice::Auto, Api::V3Alpha)]
#[case::resources(Options::new(Generation::ResourcesV3Alpha), ApiChoice::Auto, Api::ResourcesV3Alpha)]
#[case::bare(bare(), ApiChoice::Auto, Api::ResourcesV3Alpha)]
#[case::bare_by_name(bare(), ApiChoice::Only(Api::ResourcesV3Alpha), Api::ResourcesV3Alpha)]
#[case::v2beta(Options::new(Generation::V2Beta), ApiChoice::Auto, Api::V2Beta)]
#[case::v2beta_on_v4(Options::new(Generation::V2), ApiChoice::Only(Api::V2Beta), Api::V2Beta)]
#[case::v2(Options::new(Generation::V2), ApiChoice::Auto, Api::V2)]
#[tokio::test]
async fn every_call(#[case] options: Options, #[case] choice: ApiChoice, #[case] api: Api) {
    let pair = pair(options, choice).await;
    let (server, client) = (&pair.server, &pair.client);
    assert_eq!(pair.identity.api, api);
    assert_eq!(pair.identity.instance, Some(server.instance_id()));
    assert_eq!(pair.identity.user, Some(server.user_id()));

    let created = create(&pair, "hook").await;
    let held = server.targets().pop().unwrap();
    assert_eq!(created.id.as_str(), held.id);
    assert_eq!((held.name.as_str(), held.kind, held.interrupt_on_error), ("hook", TargetKind::Webhook, true));
    assert_eq!((held.timeout, held.endpoint.as_str()), (Duration::from_secs(10), "https://hooks.example.com/x"));
    assert_eq!((created.created, created.version.changed), (Some(held.creation_date), Some(held.change_date)));
    // What an answer does not tell is not made up.
    let counts = api == Api::V3Alpha;
    assert_eq!(created.version.sequence, counts.then_some(1));
    let told = matches!(api, Api::V3Alpha | Api::ResourcesV3Alpha).then(|| server.instance_id());
    assert_eq!(created.owner, told);

    let read = client.get(&created.id).await.unwrap().unwrap();
    assert_eq!(read.kind, Some(Kind::Webhook(OnError::Interrupt)));
    assert_eq!((read.name.as_str(), read.timeout), ("hook", Duration::from_secs(10)));
    assert_eq!((read.version.clone(), read.owner.clone()), (created.version, told));
    assert_eq!(read.created, (api != Api::V3Alpha).then_some(held.creation_date));
    assert_eq!(read.payload_type, Some(PayloadType::Json));

    change_each_field(&pair, &created.id).await;

    let version = client.update(&created.id, &Change::default()).await.unwrap();
    let held = server.targets().pop().unwrap();
    assert_eq!(version.changed, Some(held.change_date), "an empty update writes nothing");
    let other = server.external_create("other", TargetEdit::default());
    let listed = client.list().await.unwrap();
    assert_eq!(listed.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), [created.id.as_str(), &other]);
    let found = client.find(&"OTHER".parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(found.id.as_str(), other);
    assert_eq!(client.find(&"oth".parse().unwrap()).await.unwrap(), None);

    let turn = client.turn().await.unwrap();
    let taken = client.create(turn, &config("Other")).await.unwrap_err();
    assert_eq!(taken.reason(), Reason::NameTaken);
    let missing: TargetId = "1".parse().unwrap();
    assert_eq!(client.update(&missing, &Change::default()).await.unwrap_err().class(), Class::TargetGone);
    assert_eq!(client.get(&missing).await, Ok(None));

    client.delete(&created.id).await.unwrap();
    client.delete(&created.id).await.unwrap();
    assert_eq!(server.targets().len(), 1);
    assert!(server.events().iter().all(|event| event.target_id != other || event.sequence == 1), "{}", server.dump());
}

async fn change_each_field(pair: &Pair, id: &TargetId) {
    let none = Change::default();
    let changes = [
        Change { name: Some("Renamed".parse().unwrap()), ..none.clone() },
        Change { timeout: Some("0.5s".parse().unwrap()), ..none.clone() },
        Change { endpoint: Some("https://other.example.com/y".parse().unwrap()), ..none.clone() },
        Change { kind: Some(Kind::Async), ..none.clone() },
        Change { kind: Some(Kind::Call(OnError::Interrupt)), ..none.clone() },
        Change { kind: Some(Kind::Call(OnError::Continue)), ..none.clone() },
    ];
    for (count, change) in changes.iter().enumerate() {
        let version = pair.client.update(id, change).await.unwrap();
        let held = pair.server.targets().pop().unwrap();
        assert_eq!(held.sequence, u64::try_from(count).unwrap() + 2, "{change:?}");
        assert_eq!(version.changed, Some(held.change_date));
        let read = pair.client.get(id).await.unwrap().unwrap();
        assert_eq!((&read.name, read.timeout, &read.endpoint), (&held.name, held.timeout, &held.endpoint));
    }
    let read = pair.client.get(id).await.unwrap().unwrap();
    assert_eq!((read.name.as_str(), read.timeout), ("Renamed", Duration::from_millis(500)));
    assert_eq!(read.kind, Some(Kind::Call(OnError::Continue)));
}

#[rstest]
#[case(Options::new(Generation::V3Alpha))]
#[case(Options::new(Generation::ResourcesV3Alpha))]
#[case(Options::new(Generation::V2Beta))]
#[case(Options::new(Generation::V2))]
#[tokio::test]
async fn a_list_is_read_to_its_end(#[case] options: Options) {
    let pair = pair(options, ApiChoice::Auto).await;
    for count in 0..1001 {
        pair.server.external_create(&format!("t{count}"), TargetEdit::default());
    }
    let listed = pair.client.list().await.unwrap();
    let mut ids: Vec<_> = listed.iter().map(|row| row.id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1001);
}

#[tokio::test]
async fn payload_types_are_sent_and_read() {
    let pair = pair(Options::new(Generation::V2), ApiChoice::Auto).await;
    assert_eq!(Api::V2.payload_types(pair.identity.server_version.as_deref()), Support::Yes);
    let turn = pair.client.turn().await.unwrap();
    let wanted = TargetConfig { payload_type: PayloadType::Jwe, ..config("hook") };
    let id = pair.client.create(turn, &wanted).await.unwrap().id;
    assert_eq!(pair.client.get(&id).await.unwrap().unwrap().payload_type, Some(PayloadType::Jwe));
    for payload in [PayloadType::Jwt, PayloadType::Json] {
        pair.client.update(&id, &Change { payload_type: Some(payload), ..Change::default() }).await.unwrap();
        assert_eq!(pair.client.get(&id).await.unwrap().unwrap().payload_type, Some(payload));
    }
}

/// With the flag off the route still says which generation is there.
#[rstest]
#[case(Generation::V3Alpha)]
#[case(Generation::ResourcesV3Alpha)]
#[tokio::test]
async fn the_feature_flag_does_not_hide_the_generation(#[case] generation: Generation) {
    let server = StandIn::start(Options { actions_feature: false, ..Options::new(generation) }).await.unwrap();
    let client = client(&server, ApiChoice::Auto);
    assert_eq!(client.connect().await.unwrap_err().reason(), Reason::ActionsDisabled);
    server.set_actions_feature(true);
    assert_eq!(client.connect().await.unwrap().api.as_str(), generation.to_string());
}

/// No probe carries the token, and none of them reaches a target.
#[tokio::test]
async fn probes_are_harmless() {
    let pair = pair(Options::new(Generation::V3Alpha), ApiChoice::Auto).await;
    let probes: Vec<_> = pair.server.calls().into_iter().skip(1).take(6).collect();
    assert_eq!(probes.len(), 6, "after one list of v2 without success; newest first, v3alpha last");
    for probe in &probes {
        assert_eq!((probe.user.as_ref(), probe.op), (None, None), "{probe}");
    }
    assert_eq!(probes[5].path, "/v3alpha/executions/functions");
}

#[rstest]
#[case(Generation::V2, Api::V3Alpha)]
#[case(Generation::V3Alpha, Api::V2)]
#[case(Generation::V3Alpha, Api::V2Beta)]
#[case(Generation::V2, Api::ResourcesV3Alpha)]
#[tokio::test]
async fn what_is_not_served_is_said(#[case] served: Generation, #[case] asked: Api) {
    let server = StandIn::start(Options::new(served)).await.unwrap();
    let error = client(&server, ApiChoice::Only(asked)).connect().await.unwrap_err();
    assert_eq!((error.reason(), error.concerns_connection()), (Reason::ApiUnsupported, true), "{error}");
}

#[tokio::test]
async fn a_wrong_host_is_not_a_missing_generation() {
    let options = Options { strict_host: true, ..Options::new(Generation::V2) };
    let server = StandIn::start(options).await.unwrap();
    let error = client(&server, ApiChoice::Auto).connect().await.unwrap_err();
    assert_eq!(error.reason(), Reason::ZitadelUnavailable, "{error}");
    assert!(error.advice().contains("external domain"), "{}", error.advice());
}

/// A search of v3.x sent to v4, and the other way round, is an update of a target with the name of the route: its "no
/// such target" says nothing of any target.
#[rstest]
#[case(Generation::V2, Mount::V2BetaOnV3)]
#[case(Generation::V2Beta, Mount::V2BetaOnV4)]
#[tokio::test]
async fn a_search_that_has_become_an_update_is_a_missing_route(#[case] served: Generation, #[case] believed: Mount) {
    let server = StandIn::start(Options::new(served)).await.unwrap();
    let client = client(&server, ApiChoice::Auto);
    let found = client.connect().await.unwrap().api;
    client.believe(believed);
    for error in [client.list().await.unwrap_err(), client.find(&"a".parse().unwrap()).await.unwrap_err()] {
        assert_eq!((error.reason(), error.class()), (Reason::ApiUnsupported, Class::Transient), "{error}");
    }
    assert_eq!(client.connect().await.unwrap().api, found);
    assert_eq!(client.list().await, Ok(vec![]));
}

/// Between the claim and the create the server may be replaced: the create goes where its turn was given out for.
#[tokio::test]
async fn a_create_goes_to_the_mount_of_its_turn() {
    let pair = pair(Options::new(Generation::V2), ApiChoice::Auto).await;
    pair.client.believe(Mount::V3Alpha);
    let turn = pair.client.turn().await.unwrap();
    pair.client.connect().await.unwrap();
    let error = pair.client.create(turn, &config("hook")).await.unwrap_err();
    assert_eq!((error.reason(), error.may_have_committed()), (Reason::ApiUnsupported, false));
    create(&pair, "hook").await;
}

/// What targets need is proved; the rest is asked for and may be missing.
#[rstest]
#[case::hidden(Effect::Html(403), Missing::NotServed)]
#[case::unknown_to_a_proxy(Effect::Html(404), Missing::NotServed)]
#[case::broken(Effect::Status(500, Some(r#"{"code":13,"message":"Errors.Internal","details":[]}"#.into())), Missing::NotAnswering)]
#[case::of_a_proxy_in_trouble(Effect::Html(502), Missing::NotAnswering)]
#[case::cut(Effect::Reset, Missing::NotAnswering)]
#[tokio::test]
async fn a_connection_needs_the_target_api_alone(#[case] effect: Effect, #[case] why: Missing) {
    let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    for op in [Op::Me, Op::Instance, Op::Events] {
        server.fault(op, effect.clone(), Times::Always);
    }
    let client = client(&server, ApiChoice::Auto);
    let identity = client.connect().await.unwrap();
    assert_eq!((identity.user, identity.instance, identity.server_version), (None, None, None));
    let missing = Capability::Missing(why);
    assert_eq!(identity.capabilities, Capabilities { events: missing, identity: missing, version: missing });
    let turn = client.turn().await.unwrap();
    client.create(turn, &config("hook")).await.unwrap();
    assert_eq!(client.list().await.unwrap().len(), 1);
}

/// What nothing depends on has a time-out of its own, shorter than that of the connection, and is not waited for twice.
#[tokio::test]
async fn what_is_slow_and_not_needed_costs_a_connection_three_seconds() {
    let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    for op in [Op::Me, Op::Instance, Op::Events] {
        server.fault(op, Effect::Latency(Duration::from_mins(10)), Times::Always);
    }
    let client = client(&server, ApiChoice::Auto);
    let began = std::time::Instant::now();
    let identity = client.connect().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(9), "all is asked at once: {:?}", began.elapsed());
    assert_eq!(identity.capabilities.events, Capability::Missing(Missing::NotAnswering));
    let asked = || server.calls().iter().filter(|call| call.op == Some(Op::Events)).count();
    let before = asked();
    for query in [EventQuery::Last, EventQuery::Story(Timestamp::UNIX_EPOCH), EventQuery::Newest("1".parse().unwrap())]
    {
        assert_eq!(client.events(&query).await, Err(Error::NotAvailable(Missing::NotAnswering)));
    }
    assert_eq!(asked(), before, "what is known not to answer is not asked for columns of status");
}

/// A question of which something depends is asked all the same, unless the answer is known to be no.
#[tokio::test]
async fn what_has_to_be_known_is_asked_of_a_slow_event_store_and_not_of_a_forbidden_one() {
    let pair = pair(Options::new(Generation::V2), ApiChoice::Auto).await;
    create(&pair, "hook").await;
    let fault = pair.server.fault(Op::Events, Effect::Status(500, None), Times::ONCE);
    pair.client.events(&EventQuery::Last).await.unwrap_err();
    fault.clear();
    let since = EventQuery::Since(Timestamp::UNIX_EPOCH);
    assert_eq!(pair.client.events(&since).await.unwrap().len(), 1);
    pair.server.set_events_readable(&pair.server.user_id(), false);
    let refused = pair.client.events(&since).await.unwrap_err();
    assert_eq!(refused, Error::NotAvailable(Missing::NotPermitted));
    assert_eq!((refused.reason(), refused.concerns_connection()), (Reason::PermissionDenied, false));
    let asked = pair.server.calls().len();
    assert_eq!(pair.client.events(&since).await, Err(refused));
    assert_eq!(pair.server.calls().len(), asked);
    pair.server.set_events_readable(&pair.server.user_id(), true);
    assert_eq!(pair.client.identify_again().await.unwrap().capabilities, Capabilities::ALL);
    assert_eq!(pair.client.events(&since).await.unwrap().len(), 1);
}

/// A server with a MaxQueryLimit below ours refuses the page: smaller ones are asked for, and that is remembered.
#[rstest]
#[case(1)]
#[case(2)]
#[tokio::test]
async fn a_list_that_is_refused_for_its_length_is_read_in_smaller_pages(#[case] refusals: usize) {
    let pair = pair(Options::new(Generation::V2), ApiChoice::Auto).await;
    for count in 0..250 {
        pair.server.external_create(&format!("t{count}"), TargetEdit::default());
    }
    let body = r#"{"code":3,"message":"Errors.Query.LimitExceeded (QUERY-4M0fs)","details":[{"id":"QUERY-4M0fs"}]}"#;
    let fault = pair.server.fault(Op::List, Effect::Status(400, Some(body.into())), Times::N(refusals));
    let mut ids: Vec<_> = pair.client.list().await.unwrap().into_iter().map(|row| row.id.to_string()).collect();
    ids.dedup();
    assert_eq!((ids.len(), fault.hits()), (250, refusals), "{}", pair.server.dump());
    let lists = || pair.server.calls().iter().filter(|call| call.op == Some(Op::List)).count();
    let before = lists();
    assert_eq!(pair.client.list().await.unwrap().len(), 250);
    // 100, 100, 50; and an empty one where the server's own limit is not known.
    assert_eq!(lists() - before, 2 + refusals, "{}", pair.server.dump());
    pair.server.fault(Op::List, Effect::Status(400, Some(body.into())), Times::Always);
    assert_eq!(pair.client.list().await.unwrap_err().reason(), Reason::InvalidSpec);
}

/// ZITADEL resolves the endpoint before it answers, and its resolver may be slower than we wait for a read.
#[tokio::test]
async fn a_create_and_an_update_may_take_longer_than_a_read() {
    let server = StandIn::start(Options::new(Generation::V2)).await.unwrap();
    let client = client_with(&server, ApiChoice::Auto, Duration::from_secs(1));
    client.connect().await.unwrap();
    assert_eq!(client.write_timeout(), Duration::from_secs(3));
    let slow = Effect::Latency(Duration::from_millis(1500));
    for op in [Op::Create, Op::Update, Op::List] {
        server.fault(op, slow.clone(), Times::Always);
    }
    let turn = client.turn().await.unwrap();
    let id = client.create(turn, &config("hook")).await.unwrap().id;
    client.update(&id, &Change { timeout: Some("1s".parse().unwrap()), ..Change::default() }).await.unwrap();
    assert_eq!(client.list().await.unwrap_err(), Error::NoAnswer(Silence::Within(Duration::from_secs(1))));
}
