//! A collector of traces for a test: takes what OTLP over HTTP brings, and shows it; or takes connections and never answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A span as it came.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty of a root.
    pub parent: String,
    pub name: String,
    /// Whether it ended in an error.
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
}

/// What came so far.
#[derive(Debug, Default)]
struct Taken {
    spans: Vec<Span>,
    resources: Vec<BTreeMap<String, String>>,
    headers: Vec<HeaderMap>,
    requests: usize,
    /// All bodies, as text as far as they are.
    text: String,
}

/// What a collector does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    Takes,
    /// Keeps whoever asks waiting for ever.
    IsSilent,
}

/// A collector on loopback.
pub struct Collector {
    port: u16,
    taken: Arc<Mutex<Taken>>,
    serving: JoinHandle<()>,
}

impl Collector {
    pub async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let taken = Arc::new(Mutex::new(Taken::default()));
        let router = Router::new().route("/otlp/v1/traces", post(take)).with_state((Arc::clone(&taken), manner));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { port, taken, serving }
    }

    /// With a path, as behind a gateway.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/otlp/", self.port)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.taken.lock().unwrap().spans.clone()
    }

    pub fn requests(&self) -> usize {
        self.taken.lock().unwrap().requests
    }

    /// What the spans are said to be of, once for each request.
    pub fn resources(&self) -> Vec<BTreeMap<String, String>> {
        self.taken.lock().unwrap().resources.clone()
    }

    /// The values of a header, of all requests.
    pub fn header(&self, name: &str) -> Vec<String> {
        let all = &self.taken.lock().unwrap().headers;
        all.iter().flat_map(|one| one.get_all(name)).map(|value| value.to_str().unwrap().to_owned()).collect()
    }

    pub fn text(&self) -> String {
        self.taken.lock().unwrap().text.clone()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn take(
    State((taken, manner)): State<(Arc<Mutex<Taken>>, Manner)>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<([(header::HeaderName, &'static str); 1], Vec<u8>), StatusCode> {
    taken.lock().unwrap().requests += 1;
    if manner == Manner::IsSilent {
        std::future::pending::<()>().await;
    }
    let protobuf = (header::CONTENT_TYPE, "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body.clone()).map_err(|_| StatusCode::BAD_REQUEST)?;
    if headers.get(&protobuf.0).is_none_or(|kind| kind != protobuf.1) {
        return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let mut taken = taken.lock().unwrap();
    taken.text.push_str(&String::from_utf8_lossy(&body));
    taken.headers.push(headers);
    for of in request.resource_spans {
        taken.resources.push(attributes(of.resource.unwrap_or_default().attributes));
        for span in of.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            assert!(span.events.is_empty() && span.links.is_empty(), "{span:?}");
            taken.spans.push(Span {
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                failed: span.status.is_some_and(|status| status.code == 2),
                attributes: attributes(span.attributes),
            });
        }
    }
    Ok(([protobuf], ExportTraceServiceResponse::default().encode_to_vec()))
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let shown = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    all.into_iter().map(|one| (one.key, shown(one.value.and_then(|value| value.value)))).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes what is written");
        text
    })
}
