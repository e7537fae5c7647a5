//! What happens to a request that a rule fits.

use std::time::Duration;

use serde_json::json;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Held before it is forwarded, until the handle releases or discards it, also when the client is gone by then.
    HoldRequest,
    /// Forwarded; the answer is held until the handle releases or discards it.
    HoldAnswer,
    /// Answered so, and not forwarded.
    Answer(Canned),
    /// Forwarded, and answered so instead of with what came back.
    AnswerAfter(Canned),
    /// Forwarded twice, and answered with the second answer: a gateway on the way that repeats what it should not.
    Repeat,
    /// Forwarded after this time.
    Delay(Duration),
    /// The connection is closed; nothing is forwarded.
    Cut,
    /// Forwarded, then the connection is closed without an answer.
    CutAfter,
    /// The answer arrives piece by piece as it comes, each piece not before the handle releases it (a watch that has
    /// fallen asleep), or never, if it discards them: then the stream ends.
    Stall,
    /// Each piece of the answer arrives this much later: a watch that trails behind.
    Trail(Duration),
    /// Each line of the answer arrives twice: a watch with duplicate events.
    Double,
    /// Lines of the answer that follow each other closely arrive in the opposite order.
    Swap,
    /// A watch answers 410 Gone inside its stream, and ends.
    Expire,
}

/// An answer that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canned {
    /// Status.
    pub status: u16,
    /// Headers, Content-Type included.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: String,
}

impl Canned {
    /// An answer with this Content-Type.
    #[must_use]
    pub fn new(status: u16, content_type: &str, body: &str) -> Self {
        Self { status, headers: vec![("content-type".to_owned(), content_type.to_owned())], body: body.to_owned() }
    }

    /// A `Status` object of Kubernetes.
    #[must_use]
    pub fn kubernetes(status: u16, reason: &str) -> Self {
        Self::new(status, "application/json", &kubernetes_status(status, reason))
    }

    /// The same with a further header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The event that ends a watch whose resourceVersion is too old.
pub(super) fn expired() -> String {
    format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", kubernetes_status(410, "Expired"))
}

fn kubernetes_status(code: u16, reason: &str) -> String {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": format!("made up by a proxy: {reason}"), "reason": reason, "code": code,
    });
    status.to_string()
}
