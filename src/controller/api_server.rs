//! The client of the API server and how it watches: nothing that waits for the API server waits for ever.
//!
//! kube has no deadline of its own for the beginning of an answer, so a watch or a list whose request is lost is never
//! begun anew, and the operator is blind from then on without any sign of it (seen with kube 5.0.0: a connection that
//! was cut in the moment of its reuse). Writes have shorter deadlines where they are made.

use std::time::Duration;

use kube::client::ClientBuilder;
use kube::runtime::watcher;
use kube::{Client, Config};
use tower::timeout::TimeoutLayer;

/// The longest time until an answer begins. A list of 500 objects takes a fraction of it.
const ANSWER: Duration = Duration::from_secs(20);
/// How long one watch lasts, in seconds. A connection that is only half open tells nothing, and is noticed by kube 5 s
/// after a watch should have ended; the API server's bookmarks come too rarely to go by. A watch that ends is continued
/// where it ended, which costs one request and no list.
const WATCH: u32 = 25;

/// A client for the cluster that the kubeconfig or the pod's service account names.
///
/// # Errors
/// If neither can be read.
pub async fn client() -> anyhow::Result<Client> {
    let config = Config::infer().await?;
    Ok(ClientBuilder::try_from(config)?.with_layer(&TimeoutLayer::new(ANSWER)).build())
}

/// How every watch is made.
pub(super) fn watch() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}
