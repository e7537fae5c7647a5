//! What a person may change while the process runs: how much it logs.
//!
//! On a listener of its own, which belongs on loopback: whoever may forward a port to the pod may use it, and nobody else
//! (`kubectl port-forward` needs the right to create `pods/portforward`). May import `telemetry`.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use tokio::net::TcpListener;

use super::telemetry::Level;

/// Serves `GET` and `PUT /log-level` for ever.
///
/// # Errors
/// When the listener fails.
pub async fn serve(address: SocketAddr, level: Level) -> std::io::Result<()> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(admin = %listener.local_addr()?, "the log level can be changed");
    axum::serve(listener, router(level)).await
}

fn router(level: Level) -> Router {
    Router::new().route("/log-level", get(show).put(change)).with_state(level)
}

async fn show(State(level): State<Level>) -> String {
    format!("{level}\n")
}

async fn change(State(level): State<Level>, text: String) -> Result<String, (StatusCode, String)> {
    match level.set(text.trim()) {
        Ok(()) => Ok(format!("{level}\n")),
        Err(why) => Err((StatusCode::BAD_REQUEST, format!("{why}\n"))),
    }
}
