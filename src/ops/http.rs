//! `/startupz`, `/livez`, `/readyz` and `/metrics`.
//!
//! Liveness never depends on ZITADEL or on the API server (an outage there must not restart the fleet): it fails
//! when the runtime no longer ticks or a pass hangs beyond its deadline. Readiness means that the cache is filled.
//! Startup means that the runtime has ticked once, and nothing more: whoever fails it is started anew, and a new process
//! fills its cache no sooner than one that is left to wait for a slow API server.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Metrics;

/// How long the runtime may go without a tick.
const TICK_LIMIT: Duration = Duration::from_secs(15);
const TICK: Duration = Duration::from_secs(1);

/// What the probes look at.
#[derive(Debug)]
pub struct Health {
    metrics: Arc<Metrics>,
    started: Instant,
    ticking: AtomicBool,
    ticked: AtomicU64,
    synced: AtomicBool,
    pass_limit: Duration,
}

impl Health {
    /// Nothing is synced yet; a pass may take `pass_limit` before it counts as stuck.
    #[must_use]
    pub fn new(metrics: Arc<Metrics>, pass_limit: Duration) -> Self {
        let started = Instant::now();
        let [ticking, synced] = [const { AtomicBool::new(false) }; 2];
        Self { metrics, started, ticking, ticked: AtomicU64::new(0), synced, pass_limit }
    }

    /// Notes that the caches are filled.
    pub fn synced(&self) {
        self.synced.store(true, Ordering::Release);
    }

    /// Beats until `stop`.
    pub async fn beat(self: Arc<Self>, stop: CancellationToken) {
        let mut interval = tokio::time::interval(TICK);
        while stop.run_until_cancelled(interval.tick()).await.is_some() {
            self.ticked.store(self.started.elapsed().as_secs(), Ordering::Release);
            self.ticking.store(true, Ordering::Release);
        }
    }

    fn live(&self) -> Result<(), String> {
        let silent = self.started.elapsed().as_secs().saturating_sub(self.ticked.load(Ordering::Acquire));
        if silent > TICK_LIMIT.as_secs() {
            return Err(format!("the runtime has not ticked for {silent} s"));
        }
        match self.metrics.oldest_pass() {
            Some(age) if age > self.pass_limit => Err(format!("a pass has been running for {} s", age.as_secs())),
            _ => Ok(()),
        }
    }
}

/// Serves until `stop`.
///
/// # Errors
/// When the listener fails.
pub async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    stop: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, router(health)).with_graceful_shutdown(stop).await
}

fn router(health: Arc<Health>) -> Router {
    Router::new()
        .route("/startupz", get(startupz))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
}

async fn startupz(State(health): State<Arc<Health>>) -> Response {
    told(&health.ticking, "the runtime has not ticked yet\n")
}

async fn livez(State(health): State<Arc<Health>>) -> Response {
    match health.live() {
        Ok(()) => (StatusCode::OK, "ok\n").into_response(),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")).into_response(),
    }
}

async fn readyz(State(health): State<Arc<Health>>) -> Response {
    told(&health.synced, "the cache of Targets is not filled yet\n")
}

/// The answer of a probe for what happens once.
fn told(reached: &AtomicBool, otherwise: &'static str) -> Response {
    if reached.load(Ordering::Acquire) {
        (StatusCode::OK, "ok\n").into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, otherwise).into_response()
    }
}

async fn metrics(State(health): State<Arc<Health>>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    // Beside the runtime: with very many Targets the text is long.
    match tokio::task::spawn_blocking(move || health.metrics.render()).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Ok(Err(_)) | Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health(limit: Duration) -> (Arc<Metrics>, Health) {
        let metrics = Arc::new(Metrics::new(1));
        (metrics.clone(), Health::new(metrics, limit))
    }

    #[test]
    fn a_stuck_pass_is_not_alive() {
        let (metrics, health) = health(Duration::ZERO);
        assert_eq!(health.live(), Ok(()));
        let _pass = metrics.queue().begin("namespace/name");
        std::thread::yield_now();
        assert!(health.live().unwrap_err().contains("a pass has been running"));
    }

    #[tokio::test]
    async fn readiness_waits_for_the_cache() {
        let (_, health) = health(Duration::from_mins(1));
        let health = Arc::new(health);
        assert_eq!(readyz(State(health.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        health.synced();
        assert_eq!(readyz(State(health)).await.status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn startup_waits_for_the_runtime_and_not_for_the_cache() {
        let (_, health) = health(Duration::from_mins(1));
        let (health, stop) = (Arc::new(health), CancellationToken::new());
        assert_eq!(startupz(State(health.clone())).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        let beating = tokio::spawn(Arc::clone(&health).beat(stop.clone()));
        while startupz(State(health.clone())).await.status() != StatusCode::OK {
            tokio::task::yield_now().await;
        }
        assert_eq!(readyz(State(health)).await.status(), StatusCode::SERVICE_UNAVAILABLE);
        stop.cancel();
        beating.await.unwrap();
    }
}
