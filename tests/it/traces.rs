//! Traces: a pass is one, with its calls in it, under one id everywhere; and who takes them is never waited for.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Generation, Op, Times};

use crate::collector::{Collector, Manner, Span};
use crate::exposition;
use crate::world::{Setup, World, log, webhook};

/// How long the operator takes for the calls that it has begun when it is told to stop, and for the last spans.
const PROMPT: Duration = Duration::from_secs(6);

fn setup(endpoint: &str) -> Setup {
    let mut setup = Setup::new(Generation::V2).flag("--otlp-endpoint", endpoint).flag("--log-format", "json");
    // Every tenth of a second instead of every fifth one.
    setup.env.push(("OTEL_BSP_SCHEDULE_DELAY".into(), "100".into()));
    setup
}

fn lines(operator: &str) -> Vec<Value> {
    log(operator).lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

/// The root of the first pass that did this.
async fn root(world: &World, collector: &Collector, op: &str) -> Span {
    let did = |span: &Span| span.name == "reconcile" && span.attributes.get("op").is_some_and(|told| told == op);
    let root = || async { collector.spans().into_iter().find(did) };
    world.until_some(&format!("a trace of a pass with the op {op} comes"), root).await
}

fn names(spans: &[Span], parent: &Span) -> Vec<String> {
    spans.iter().filter(|span| span.parent == parent.id).map(|span| span.name.clone()).collect()
}

#[tokio::test]
async fn a_pass_is_one_trace_in_spans_log_calls_and_metrics() {
    let collector = Collector::start(Manner::Takes).await;
    let mut setup = setup(&collector.endpoint());
    setup.env.push(("OTEL_EXPORTER_OTLP_HEADERS".into(), "authorization=Bearer%20of-the-collector".into()));
    setup.env.push(("OTEL_RESOURCE_ATTRIBUTES".into(), "deployment.environment.name=test".into()));
    setup.env.push(("POD_NAME".into(), "operator-0".into()));
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let created = root(&world, &collector, "create").await;
    assert_eq!((&*created.name, &*created.parent, created.failed), ("reconcile", "", false), "{created:?}");
    for (name, value) in [("op", "create"), ("resource", "hook"), ("namespace", &*world.namespace), ("generation", "1")]
    {
        assert_eq!(created.attributes.get(name).map(String::as_str), Some(value), "{created:?}");
    }

    // Its calls: the claim, the create, the status. Events are published beside it.
    let spans: Vec<Span> = collector.spans().into_iter().filter(|span| span.trace == created.trace).collect();
    let calls = names(&spans, &created);
    for call in ["kubernetes PATCH", "zitadel create"] {
        assert!(calls.iter().any(|name| name == call), "{call} in {calls:?}");
    }
    assert_eq!(calls.len() + 1, spans.len(), "what is no root is a call of the pass: {spans:?}");
    let size = collector.text().len() / collector.spans().len();
    println!("a pass that creates a target: {} spans, {size} bytes each on the wire", spans.len());
    let create = spans.iter().find(|span| span.name == "zitadel create").unwrap();
    assert_eq!(create.attributes["http.response.status_code"], "200", "{create:?}");

    // The log.
    let told = lines(&world.operator()).into_iter().find(|line| line["outcome"] == "Created").expect("a line tells it");
    assert_eq!((&told["span"]["trace_id"], &told["op"]), (&json!(created.trace), &json!("create")), "{told}");
    assert_eq!(told["span"]["name"], "reconcile", "{told}");

    // ZITADEL.
    let parents: Vec<_> = world.zitadel.calls().into_iter().filter(|call| call.op == Some(Op::Create)).collect();
    let expected = format!("00-{}-{}-01", created.trace, create.id);
    assert_eq!(parents[0].traceparent.as_deref(), Some(&*expected), "{parents:?}");
    world.resyncs(2).await;
    let calls = world.zitadel.calls();
    let list = calls.iter().rfind(|call| call.op == Some(Op::List));
    assert!(list.is_some_and(|list| list.traceparent.is_none()), "a resync is no pass");
    let roots: Vec<_> = collector.spans().into_iter().filter(|span| span.parent.is_empty()).collect();
    assert!(roots.iter().all(|root| root.name == "reconcile"), "{roots:?}");

    // Metrics.
    let seen = exposition::scrape(world.port()).await;
    for (histogram, labels) in [
        ("zitadel_api_request_duration_seconds_bucket", &[("op", "create")][..]),
        ("controller_runtime_reconcile_time_seconds_bucket", &[][..]),
        ("rest_client_request_duration_seconds_bucket", &[("verb", "PATCH")][..]),
    ] {
        let traces: Vec<_> =
            seen.find(histogram, labels).filter_map(|bucket| bucket.exemplar.get("trace_id")).collect();
        let known = |trace: &String| collector.spans().iter().any(|span| span.trace == *trace);
        world.until("the exemplar is of a trace that came", || async { traces.iter().any(|trace| known(trace)) }).await;
    }

    // Who it is of, and who may send.
    let resource = collector.resources().pop().unwrap();
    for (name, value) in [
        ("service.name", "zitadel-actions-operator"),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("k8s.pod.name", "operator-0"),
        ("deployment.environment.name", "test"),
    ] {
        assert_eq!(resource.get(name).map(String::as_str), Some(value), "{resource:?}");
    }
    assert!(collector.header("authorization").iter().all(|header| header == "Bearer of-the-collector"));
    assert!(collector.header("traceparent").is_empty());
    world.finish().await;
}

/// A call that fails, and a pass that is about it, are seen as such; a level of the log that shows less takes nothing away.
#[tokio::test]
async fn failures_are_marked_and_no_filter_of_the_log_matters() {
    let collector = Collector::start(Manner::Takes).await;
    let mut setup = setup(&collector.endpoint()).flag("--log-level", "error");
    setup.env.push(("OTEL_SERVICE_NAME".into(), "targets".into()));
    let world = World::with(setup).await;
    let _fault = world.zitadel.fault(Op::Create, Effect::Status(503, None), Times::ONCE);
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let tried = root(&world, &collector, "create").await;
    let failed = || async { collector.spans().into_iter().find(|span| span.parent == tried.id && span.failed) };
    let failed = world.until_some("the call that failed comes", failed).await;
    assert_eq!((&*failed.name, &*failed.attributes["error.type"]), ("zitadel create", "503"), "{failed:?}");
    assert_eq!(tried.attributes["outcome"], "CreateOutcomeUnknown", "{tried:?}");
    world.delete("hook").await;
    world.gone("hook").await;
    // What is left is sent at the end.
    world.terminate(&world.operator()).await;
    let deleted = root(&world, &collector, "delete").await;
    assert_eq!(deleted.attributes["outcome"], "Deleted", "{deleted:?}");
    assert!(names(&collector.spans(), &deleted).contains(&"zitadel delete".to_owned()), "{deleted:?}");
    assert_eq!(log(&world.operator()), "");
    assert_eq!(collector.resources()[0]["service.name"], "targets");
    world.finish().await;
}

/// Without a collector there are no traces: no header, no id.
#[tokio::test]
async fn without_an_endpoint_nothing_is_traced() {
    let mut setup = Setup::new(Generation::V2).flag("--log-format", "json");
    // Empty is as good as absent, and a sampler that nobody uses is not judged.
    setup.env.push(("OTEL_EXPORTER_OTLP_ENDPOINT".into(), String::new()));
    setup.env.push(("OTEL_TRACES_SAMPLER".into(), "xray".into()));
    let world = World::with(setup).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    assert!(world.zitadel.calls().iter().all(|call| call.traceparent.is_none()));
    assert!(!log(&world.operator()).contains("trace_id"));
    let seen = exposition::scrape(world.port()).await;
    assert!(seen.samples.iter().all(|sample| sample.exemplar.is_empty()));
    world.finish().await;
}

/// What is not sampled has an id, for the log and for ZITADEL, and goes nowhere.
#[tokio::test]
async fn what_is_not_sampled_is_not_sent() {
    let collector = Collector::start(Manner::Takes).await;
    let setup = setup(&collector.endpoint()).flag("--traces-sampler", "parentbased_traceidratio");
    let world = World::with(setup.flag("--traces-sampler-arg", "0")).await;
    world.create("hook", webhook()).await;
    world.ready("hook").await;
    let calls = world.zitadel.calls();
    let create = calls.iter().find(|call| call.op == Some(Op::Create)).unwrap();
    assert!(create.traceparent.as_deref().is_some_and(|parent| parent.ends_with("-00")), "{create:?}");
    let seen = exposition::scrape(world.port()).await;
    assert!(seen.samples.iter().all(|sample| sample.exemplar.is_empty()));
    assert_eq!(world.terminate(&world.operator()).await, 0);
    assert_eq!(collector.requests(), 0);
    world.finish().await;
}

/// A collector that is away, or takes connections and never answers, costs a warning, and the end of the process no more
/// than a moment.
#[rstest::rstest]
#[case::away(None)]
#[case::silent(Some(Manner::IsSilent))]
#[tokio::test]
async fn a_dead_collector_holds_nothing_up(#[case] manner: Option<Manner>) {
    let collector = match manner {
        Some(manner) => Some(Collector::start(manner).await),
        None => None,
    };
    let nobody = || format!("http://127.0.0.1:{}", devkit::host::free_port().unwrap());
    let world = World::with(setup(&collector.as_ref().map_or_else(nobody, Collector::endpoint))).await;
    for round in 1..=3 {
        let name = format!("hook-{round}");
        let begun = Instant::now();
        world.create(&name, webhook()).await;
        world.ready(&name).await;
        assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    }
    let operator = world.operator();
    match &collector {
        Some(collector) => world.until("a batch is on its way", || async { collector.requests() > 0 }).await,
        None => world.until("the loss is told", || async { log(&operator).contains("traces are lost") }).await,
    }
    let begun = Instant::now();
    assert_eq!(world.terminate(&operator).await, 0);
    assert!(begun.elapsed() < PROMPT, "{:?}", begun.elapsed());
    let warnings =
        lines(&operator).iter().filter(|line| line["message"].to_string().contains("traces are lost")).count();
    assert!(warnings <= 1, "{warnings} warnings");
    world.finish().await;
}
