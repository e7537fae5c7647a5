//! What a request is: for Kubernetes by resource, verb and the part of the object that it writes, for ZITADEL the
//! operation in whatever generation of the API.

use std::fmt::Debug;
use std::hash::Hash;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method};
use serde_json::Value;
use zitadel_stand_in::Op;

/// The annotation whose patch is a claim; the operator's own constant, which a test compares.
pub const CLAIM: &str = "zitadel-actions.dev/create-claim";
/// The operator's finalizer.
pub const FINALIZER: &str = "zitadel-actions.dev/target";

/// A request, read to its end.
#[derive(Clone, Debug)]
pub struct Message {
    /// Method.
    pub method: Method,
    /// Path with query.
    pub path: String,
    /// Headers as the client sent them.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

impl Message {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn split(&self) -> (&str, &str) {
        self.path.split_once('?').unwrap_or((&self.path, ""))
    }

    /// Whether the answer is a stream without an end: a watch of Kubernetes, of whatever kind.
    pub(super) fn watches(&self) -> bool {
        self.split().1.split('&').any(|pair| matches!(pair, "watch=true" | "watch=1"))
    }
}

/// A way to tell requests apart.
pub trait Call: Copy + Debug + Eq + Hash + Send + Sync + 'static {
    /// What this request is.
    fn of(message: &Message) -> Self;
}

/// What the operator asks of Kubernetes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KubeCall {
    /// Finalizer and claim in one patch.
    Claim,
    /// The claim is removed.
    DropClaim,
    /// The finalizer is put back.
    Hold,
    /// The finalizer is removed, but for the write (a dry run).
    TryRelease,
    /// The finalizer is removed.
    Release,
    /// A write of status.
    Status,
    /// An Event is made or counted up.
    Event,
    /// The Lease of the election is read, watched or written.
    Lease,
    /// One object is read.
    Get,
    /// The CRD of Targets is read.
    Crd,
    /// A list is read.
    List,
    /// A watch is opened.
    Watch,
    /// Everything else.
    Other,
}

impl KubeCall {
    /// Whether it changes a Target.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::Claim | Self::DropClaim | Self::Hold | Self::Release | Self::Status)
    }

    fn patch(metadata: &Value) -> Self {
        let claim = metadata.get("annotations").and_then(|all| all.get(CLAIM));
        let finalizers = metadata.get("finalizers").and_then(Value::as_array);
        match (claim, finalizers) {
            (Some(Value::Null), _) => Self::DropClaim,
            (Some(_), _) => Self::Claim,
            (None, Some(all)) if all.iter().any(|name| name == FINALIZER) => Self::Hold,
            (None, Some(_)) => Self::Release,
            (None, None) => Self::Other,
        }
    }
}

impl Call for KubeCall {
    fn of(message: &Message) -> Self {
        let (path, query) = message.split();
        if path.starts_with("/apis/events.k8s.io/") {
            return Self::Event;
        }
        if path.starts_with("/apis/coordination.k8s.io/") {
            return Self::Lease;
        }
        if path.starts_with("/apis/apiextensions.k8s.io/") {
            return if path.ends_with("/targets.zitadel-actions.dev") { Self::Crd } else { Self::Other };
        }
        let Some((_, rest)) = path.split_once("/targets") else { return Self::Other };
        let name = rest.trim_start_matches('/');
        match message.method {
            Method::GET if message.watches() => Self::Watch,
            Method::GET if name.is_empty() => Self::List,
            Method::GET => Self::Get,
            Method::PATCH if name.ends_with("/status") => Self::Status,
            Method::PATCH if query.split('&').any(|pair| pair == "dryRun=All") => Self::TryRelease,
            Method::PATCH => Self::patch(&message.json()["metadata"]),
            _ => Self::Other,
        }
    }
}

impl Call for Op {
    fn of(message: &Message) -> Self {
        let (path, _) = message.split();
        match path {
            "/admin/v1/events/_search" => return Self::Events,
            "/auth/v1/users/me" => return Self::Me,
            "/admin/v1/instances/me" => return Self::Instance,
            _ => {}
        }
        let Some((_, rest)) = path.split_once("/targets") else { return Self::Any };
        let id = rest.trim_start_matches('/');
        match message.method {
            Method::POST if id == "search" => Self::List,
            Method::POST if id.is_empty() => Self::Create,
            Method::POST | Method::PUT => Self::Update,
            Method::DELETE => Self::Delete,
            Method::GET => Self::Get,
            _ => Self::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn message(method: &str, path: &str, body: &Value) -> Message {
        Message {
            method: method.parse().unwrap(),
            path: path.to_owned(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
        }
    }

    #[test]
    fn kubernetes_calls_are_told_apart() {
        let base = "/apis/zitadel-actions.dev/v1alpha1/namespaces/n/targets";
        let patch =
            |metadata: Value| message("PATCH", &format!("{base}/a?fieldManager=x"), &json!({"metadata": metadata}));
        let cases = [
            (patch(json!({"annotations": {CLAIM: "{}"}, "finalizers": [FINALIZER]})), KubeCall::Claim),
            (patch(json!({"annotations": {CLAIM: null}})), KubeCall::DropClaim),
            (patch(json!({"finalizers": ["other", FINALIZER]})), KubeCall::Hold),
            (patch(json!({"finalizers": ["other"]})), KubeCall::Release),
            (message("PATCH", &format!("{base}/a/status?force=true"), &json!({})), KubeCall::Status),
            (message("GET", &format!("{base}?limit=500"), &json!({})), KubeCall::List),
            (message("GET", &format!("{base}?watch=true&x=y"), &json!({})), KubeCall::Watch),
            (message("GET", &format!("{base}/a"), &json!({})), KubeCall::Get),
            (
                message("PATCH", &format!("{base}/a?&dryRun=All"), &json!({"metadata": {"finalizers": []}})),
                KubeCall::TryRelease,
            ),
            (
                message(
                    "GET",
                    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/targets.zitadel-actions.dev",
                    &json!({}),
                ),
                KubeCall::Crd,
            ),
            (message("POST", "/apis/events.k8s.io/v1/namespaces/n/events", &json!({})), KubeCall::Event),
            (message("GET", "/version", &json!({})), KubeCall::Other),
        ];
        for (message, expected) in cases {
            assert_eq!(KubeCall::of(&message), expected, "{message:?}");
        }
    }

    #[test]
    fn zitadel_calls_are_told_apart_in_both_generations() {
        let cases = [
            ("POST", "/v3alpha/targets", Op::Create),
            ("PUT", "/v3alpha/targets/1", Op::Update),
            ("POST", "/v2/actions/targets/1", Op::Update),
            ("POST", "/v2/actions/targets/search", Op::List),
            ("DELETE", "/v2/actions/targets/1", Op::Delete),
            ("GET", "/v3alpha/targets/1", Op::Get),
            ("POST", "/admin/v1/events/_search", Op::Events),
            ("GET", "/admin/v1/instances/me", Op::Instance),
        ];
        for (method, path, expected) in cases {
            assert_eq!(Op::of(&message(method, path, &json!({}))), expected, "{method} {path}");
        }
    }
}
