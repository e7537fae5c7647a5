//! Calls to the API server, under client-go's names, and how the watches fare.
//!
//! Told by the layer around the Kubernetes client and by the loops that read the watches. A watch that works again says
//! nothing of its own accord until something changes: the client's layer sees the head of its answer, so watches are known
//! here by the path of their requests.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::exemplar::HistogramWithExemplars;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::exemplar::{Trace, observe};
use crate::api::connection::ConnectionKind;

/// client-go's buckets for the latency of a request, in seconds.
const BUCKETS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];

/// What a watch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum WatchKind {
    /// Targets.
    Target,
    /// Connections.
    Connection,
    /// ClusterConnections.
    ClusterConnection,
}

impl WatchKind {
    const ALL: [Self; 3] = [Self::Target, Self::Connection, Self::ClusterConnection];
}

impl From<ConnectionKind> for WatchKind {
    fn from(kind: ConnectionKind) -> Self {
        match kind {
            ConnectionKind::Connection => Self::Connection,
            ConnectionKind::ClusterConnection => Self::ClusterConnection,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    code: String,
    method: String,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Latency {
    verb: String,
    host: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: WatchKind,
}

/// What is known of the API server.
#[derive(Debug)]
pub struct ApiServer {
    requests: Family<Request, Counter>,
    latency: Family<Latency, HistogramWithExemplars<Trace>>,
    failures: Family<Kind, Counter>,
    failing: Family<Kind, Gauge>,
    /// The watches whose newest try failed, by path.
    broken: Mutex<HashMap<String, WatchKind>>,
}

impl Default for ApiServer {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            latency: Family::new_with_constructor(|| HistogramWithExemplars::new(BUCKETS.into_iter())),
            failures: Family::default(),
            failing: Family::default(),
            broken: Mutex::default(),
        }
    }
}

impl ApiServer {
    pub(super) fn register(&self, registry: &mut Registry) {
        for kind in WatchKind::ALL {
            drop(self.failures.get_or_create(&Kind { kind }));
            self.failing.get_or_create(&Kind { kind }).set(0);
        }
        let client = registry.sub_registry_with_prefix("rest_client");
        client.register("requests", "Calls to the API server by status, method and host", self.requests.clone());
        let latency = "Time until the API server began to answer, by verb and host";
        client.register_with_unit("request_duration", latency, Unit::Seconds, self.latency.clone());
        let watch = registry.sub_registry_with_prefix("zitadel_watch");
        watch.register("failing", "Whether the newest try of a watch of this kind failed", self.failing.clone());
        watch.register("failures", "Tries of watches of this kind that failed", self.failures.clone());
    }

    /// Counts a call; `code` is the HTTP status, or `<error>` where there was no answer, and `trace` the id of the sampled
    /// trace that it is a part of.
    pub fn called(&self, method: &str, host: &str, code: &str, duration: Duration, trace: Option<String>) {
        let (method, host) = (method.to_owned(), host.to_owned());
        let latency = Latency { verb: method.clone(), host: host.clone() };
        observe(&self.latency.get_or_create(&latency), duration, trace);
        self.requests.get_or_create(&Request { code: code.to_owned(), method, host }).inc();
    }

    /// Notes that a watch at this path failed, to begin or to go on.
    pub fn watch_failed(&self, kind: WatchKind, path: &str) {
        self.failures.get_or_create(&Kind { kind }).inc();
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        broken.insert(path.to_owned(), kind);
        self.failing.get_or_create(&Kind { kind }).set(1);
    }

    /// Notes that a watch at this path failed because there is nothing to watch.
    pub fn watch_vain(&self, kind: WatchKind, path: &str) {
        self.failures.get_or_create(&Kind { kind }).inc();
        self.watch_works(path);
    }

    /// Notes that the watch at this path works, if there is one.
    pub fn watch_works(&self, path: &str) {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = broken.remove(path) {
            let others = broken.values().any(|other| *other == kind);
            self.failing.get_or_create(&Kind { kind }).set(i64::from(others));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_fails_while_any_of_its_watches_does() {
        let server = ApiServer::default();
        let failing = |kind| server.failing.get_or_create(&Kind { kind }).get();
        server.watch_failed(WatchKind::Target, "/a");
        server.watch_failed(WatchKind::Target, "/a");
        server.watch_failed(WatchKind::Target, "/b");
        server.watch_failed(WatchKind::Connection, "/c");
        server.watch_works("/a");
        assert_eq!((failing(WatchKind::Target), failing(WatchKind::Connection)), (1, 1));
        server.watch_works("/b");
        server.watch_works("/elsewhere");
        assert_eq!((failing(WatchKind::Target), failing(WatchKind::Connection)), (0, 1));
        assert_eq!(server.failures.get_or_create(&Kind { kind: WatchKind::Target }).get(), 3);
        server.watch_vain(WatchKind::Connection, "/c");
        assert_eq!(failing(WatchKind::Connection), 0);
        assert_eq!(server.failures.get_or_create(&Kind { kind: WatchKind::Connection }).get(), 2);
    }
}
