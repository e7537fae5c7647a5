//! What the caches show at the moment of a scrape: every Target, and every connection.
//!
//! One walk over the Targets, whatever is told of them. The controller hands in the ways to its caches ([`Sources`]); until
//! then nobody is there. The rules are those of docs/metrics.md.

use std::fmt;
use std::sync::{Arc, OnceLock};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder};
use prometheus_client::metrics::MetricType;

use super::targets::{Targets, since};
use crate::api::FINALIZER;
use crate::api::condition::ConditionType;
use crate::api::target::Target;

/// What a condition's status may be; the last one also where there is no condition.
const STATUSES: [&str; 3] = ["True", "False", "Unknown"];
const UNKNOWN: usize = 2;

/// Takes in one object: its metadata, and itself where it can be read as a Target.
pub type Take<'a> = &'a mut dyn FnMut(&ObjectMeta, Option<&Target>);

/// The ways to what is known.
pub struct Sources {
    /// Shows each Target of the cache that is this process's business, once.
    pub targets: Box<dyn Fn(Take<'_>) + Send + Sync>,
    /// Every connection.
    pub connections: Box<dyn Fn() -> Vec<Connection> + Send + Sync>,
    /// Whether each Target has series of its own.
    pub per_target: PerTarget,
}

/// Whether each Target has series of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PerTarget {
    /// It has.
    Shown,
    /// There are totals only.
    LeftOut,
}

/// What is known of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// `default`, `Connection/namespace/name` or `ClusterConnection/name`.
    pub name: String,
    /// Whether the newest probe succeeded; none before the first one.
    pub up: Option<bool>,
    /// When the credential expires, where that is known.
    pub expires: Option<Timestamp>,
    /// When its targets were last listed, or there was nothing to list them for.
    pub observed: Option<Timestamp>,
    /// Whether others are known to use its service account.
    pub shared: bool,
}

/// Reads the caches when it is asked.
pub(super) struct Census {
    pub(super) sources: OnceLock<Sources>,
    pub(super) targets: Arc<Targets>,
}

impl fmt::Debug for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Census").finish_non_exhaustive()
    }
}

/// What is counted on the walk.
#[derive(Debug, Default, PartialEq)]
struct Tally {
    /// By the status of Ready.
    ready: [i64; 3],
    stalled: i64,
    deleting: i64,
    oldest_deletion: f64,
    oldest_pending: f64,
}

impl Tally {
    fn add(&mut self, meta: &ObjectMeta, target: Option<&Target>, wait: Option<Timestamp>, now: Timestamp) {
        self.ready[target.and_then(ready).map_or(UNKNOWN, |ready| place(&ready.status))] += 1;
        let stalled = target.is_some_and(is_stalled);
        self.stalled += i64::from(stalled);
        if let Some(deleted) = &meta.deletion_timestamp {
            self.deleting += 1;
            if meta.finalizers.iter().flatten().any(|name| name == FINALIZER) {
                self.oldest_deletion = self.oldest_deletion.max(since(deleted.0, now));
            }
        } else if !target.is_some_and(Target::suspended) && is_pending(meta, target, stalled) {
            // What cannot be read is in nobody's notes.
            let created = meta.creation_timestamp.as_ref().map_or(now, |time| time.0);
            self.oldest_pending = self.oldest_pending.max(since(wait.unwrap_or(created), now));
        }
    }
}

fn place(status: &str) -> usize {
    STATUSES.iter().position(|known| *known == status).unwrap_or(UNKNOWN)
}

fn ready(target: &Target) -> Option<&Condition> {
    target.condition(ConditionType::Ready)
}

fn is_stalled(target: &Target) -> bool {
    target.condition(ConditionType::Stalled).is_some_and(|stalled| stalled.status == "True")
}

/// Whether the newest generation has no verdict: none at all, one of an older generation, or one that says "not yet".
fn is_pending(meta: &ObjectMeta, target: Option<&Target>, stalled: bool) -> bool {
    target
        .and_then(ready)
        .is_none_or(|ready| ready.observed_generation < meta.generation || (ready.status != "True" && !stalled))
}

impl Census {
    /// Walks over the Targets, and writes those series that each one has while it is there.
    fn walk(&self, encoder: &mut DescriptorEncoder<'_>) -> Result<Tally, fmt::Error> {
        let mut tally = Tally::default();
        let Some(sources) = self.sources.get() else { return Ok(tally) };
        let mut metric = match sources.per_target {
            PerTarget::LeftOut => None,
            PerTarget::Shown => {
                let help = "The conditions of each Target";
                Some(encoder.encode_descriptor("zitadel_target_status_condition", help, None, MetricType::Gauge)?)
            }
        };
        let (mut written, now) = (Ok(()), Timestamp::now());
        let waits = self.targets.waits().lock();
        (sources.targets)(&mut |meta, target| {
            let wait = meta.uid.as_ref().and_then(|uid| waits.get(uid)).map(|wait| wait.since);
            tally.add(meta, target, wait, now);
            if let (Some(metric), Ok(())) = (&mut metric, &written) {
                written = write_conditions(metric, meta, target);
            }
        });
        written.map(|()| tally)
    }
}

/// Three series for each condition that a Target has. It always has Ready: where it has not, nothing is known.
fn write_conditions(metric: &mut MetricEncoder<'_>, meta: &ObjectMeta, target: Option<&Target>) -> fmt::Result {
    let name = meta.name.as_deref().unwrap_or_default();
    let namespace = meta.namespace.as_deref().unwrap_or_default();
    for kind in ConditionType::OF_TARGETS {
        let held = match target.and_then(|target| target.condition(kind)) {
            Some(condition) => place(&condition.status),
            None if kind == ConditionType::Ready => UNKNOWN,
            None => continue,
        };
        for (at, status) in STATUSES.into_iter().enumerate() {
            let labels = [("namespace", namespace), ("name", name), ("type", kind.as_str()), ("status", status)];
            metric.encode_family(&labels)?.encode_gauge(&i64::from(at == held))?;
        }
    }
    Ok(())
}

fn write_tally(encoder: &mut DescriptorEncoder<'_>, tally: &Tally) -> fmt::Result {
    let help = "Number of Targets by the status of their condition Ready";
    let mut metric = encoder.encode_descriptor("zitadel_targets", help, None, MetricType::Gauge)?;
    for (status, count) in STATUSES.into_iter().zip(tally.ready) {
        metric.encode_family(&[("ready", status)])?.encode_gauge(&count)?;
    }
    let counts = [
        ("zitadel_targets_stalled", "Number of Targets that are stalled", tally.stalled),
        ("zitadel_targets_deleting", "Number of Targets that are being deleted", tally.deleting),
    ];
    for (name, help, value) in counts {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    let deletion = "Age of the oldest request for a deletion that waits for the operator";
    let pending = "How long the Target has waited that has waited longest for a verdict on its newest generation";
    let ages = [
        ("zitadel_target_oldest_deletion_seconds", deletion, tally.oldest_deletion),
        ("zitadel_target_oldest_pending_seconds", pending, tally.oldest_pending),
    ];
    for (name, help, value) in ages {
        encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)?;
    }
    Ok(())
}

fn write_connections(encoder: &mut DescriptorEncoder<'_>, connections: &[Connection]) -> fmt::Result {
    let up = "Whether the newest probe of the connection succeeded";
    let mut metric = encoder.encode_descriptor("zitadel_connection_up", up, None, MetricType::Gauge)?;
    for (name, up) in connections.iter().filter_map(|one| Some((&one.name, one.up?))) {
        metric.encode_family(&[("connection", name)])?.encode_gauge(&i64::from(up))?;
    }
    let name = "zitadel_connection_credentials_expiry_timestamp_seconds";
    let mut metric = encoder.encode_descriptor(name, "When the credential expires", None, MetricType::Gauge)?;
    for (name, expires) in connections.iter().filter_map(|one| Some((&one.name, one.expires?))) {
        metric.encode_family(&[("connection", name)])?.encode_gauge(&expires.as_second())?;
    }
    let (name, help) = (
        "zitadel_connection_last_list_timestamp_seconds",
        "When all targets of the connection were last listed, or there was nothing to list them for",
    );
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (name, observed) in connections.iter().filter_map(|one| Some((&one.name, one.observed?))) {
        metric.encode_family(&[("connection", name)])?.encode_gauge(&observed.as_second())?;
    }
    let (name, help) =
        ("zitadel_connection_account_shared", "Whether the event store shows writes of the account by others");
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for one in connections.iter().filter(|one| one.up.is_some()) {
        metric.encode_family(&[("connection", &one.name)])?.encode_gauge(&i64::from(one.shared))?;
    }
    Ok(())
}

impl Collector for Census {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let tally = self.walk(&mut encoder)?;
        write_tally(&mut encoder, &tally)?;
        let connections = self.sources.get().map(|sources| (sources.connections)()).unwrap_or_default();
        write_connections(&mut encoder, &connections)
    }
}
