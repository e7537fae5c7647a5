//! The client of the API server and how it watches: nothing that waits for the API server waits for ever.
//!
//! kube has no deadline of its own for the beginning of an answer, so a watch or a list whose request is lost is never
//! begun anew, and the operator is blind from then on without any sign of it (seen with kube 5.0.0: a connection that
//! was cut in the moment of its reuse). Writes have shorter deadlines where they are made.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode, Uri};
use kube::client::{Body, ClientBuilder};
use kube::runtime::watcher;
use kube::{Client, Config};
use tower::Service;
use tower::layer::layer_fn;
use tower::timeout::TimeoutLayer;
use tracing::{Instrument as _, Span, field, info_span};

use crate::ops::{Metrics, traces};

/// The longest time until an answer begins. A list of 500 objects takes a fraction of it.
const ANSWER: Duration = Duration::from_secs(20);
/// How long one watch lasts, in seconds. A connection that is only half open tells nothing, and is noticed by kube 5 s
/// after a watch should have ended; the API server's bookmarks come too rarely to go by. A watch that ends is continued
/// where it ended, which costs one request and no list.
const WATCH: u32 = 25;

/// A client for the cluster that the kubeconfig or the pod's service account names. Its calls are counted, and traced within a pass.
///
/// # Errors
/// If neither can be read.
pub async fn client(metrics: &Arc<Metrics>) -> anyhow::Result<Client> {
    let config = Config::infer().await?;
    let (host, metrics) = (host(&config.cluster_url), Arc::clone(metrics));
    let counted = layer_fn(move |inner| Counted { inner, host: host.clone(), metrics: Arc::clone(&metrics) });
    Ok(ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(ANSWER)).with_layer(&counted).build())
}

/// Host and port.
fn host(url: &Uri) -> Arc<str> {
    let port = url.port_u16().unwrap_or(if url.scheme_str() == Some("http") { 80 } else { 443 });
    format!("{}:{port}", url.host().unwrap_or_default()).into()
}

/// How every watch is made.
pub(crate) fn watch() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

/// Counts and traces what goes through. kube repeats calls below this: what is counted is the last answer.
struct Counted<S> {
    inner: S,
    host: Arc<str>,
    metrics: Arc<Metrics>,
}

impl<S, B> Service<Request<Body>> for Counted<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let watched = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let span = span(&request);
        let mut call = Call {
            method: request.method().clone(),
            path: watched.then(|| request.uri().path().to_owned()),
            host: Arc::clone(&self.host),
            metrics: Arc::clone(&self.metrics),
            began: Instant::now(),
            trace: traces::sampled(),
            span: span.clone(),
            status: None,
        };
        let answer = self.inner.call(request).instrument(span);
        Box::pin(async move {
            let answer = answer.await;
            call.answered(answer.as_ref().ok().map(Response::status));
            answer
        })
    }
}

/// A part of the trace of a pass, where there is one. The path names objects; a query, a header and a body are left out.
fn span<B>(request: &Request<B>) -> Span {
    info_span!(
        "kubernetes",
        otel.kind = "client",
        otel.name = format_args!("kubernetes {}", request.method()),
        http.request.method = request.method().as_str(),
        url.path = request.uri().path(),
        http.response.status_code = field::Empty,
        error.type = field::Empty,
        otel.status_code = field::Empty,
    )
}

/// A call under way; it is counted when it ends, also when whoever made it gives it up.
struct Call {
    method: http::Method,
    /// Of a watch.
    path: Option<String>,
    host: Arc<str>,
    metrics: Arc<Metrics>,
    began: Instant,
    /// Of which it is a part, and its own span there.
    trace: Option<String>,
    span: Span,
    status: Option<StatusCode>,
}

impl Call {
    const fn answered(&mut self, status: Option<StatusCode>) {
        self.status = status;
    }

    fn tell_trace(&self, code: &str) {
        if let Some(status) = self.status {
            self.span.record("http.response.status_code", status.as_u16());
        }
        if self.status.is_none_or(|status| status.is_client_error() || status.is_server_error()) {
            self.span.record("error.type", code);
            self.span.record("otel.status_code", "error");
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let code = self.status.as_ref().map_or("<error>", StatusCode::as_str);
        self.tell_trace(code);
        let seen = self.metrics.api_server();
        seen.called(self.method.as_str(), &self.host, code, self.began.elapsed(), self.trace.take());
        if let Some(path) = self.path.as_deref().filter(|_| self.status.is_some_and(|status| status.is_success())) {
            seen.watch_works(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[rstest]
    #[case("https://10.96.0.1:6443", "10.96.0.1:6443")]
    #[case("https://kubernetes.default.svc/", "kubernetes.default.svc:443")]
    #[case("http://[::1]", "[::1]:80")]
    fn hosts(#[case] url: &str, #[case] shown: &str) {
        assert_eq!(&*host(&url.parse().unwrap()), shown);
    }
}
