//! What happens to connections, for those who use them: each kind of object decides whom to reconcile.

use std::sync::Arc;

use tokio::sync::broadcast;

use super::connection::{ConnectionKey, LiveConnection};

/// How many notices may wait for a subscriber. One that falls behind is told so, and looks at everything.
const WAITING: usize = 256;

/// One change.
#[derive(Debug, Clone)]
pub enum Notice {
    /// It exists from now on, or is built from another spec.
    Began(Arc<LiveConnection>),
    /// Another spec, other permissions, or none any more.
    Changed(ConnectionKey),
    /// It answers again.
    Recovered(Arc<LiveConnection>),
    /// The cause of its failure may be gone: its credential has changed.
    Retry(ConnectionKey),
    /// Only a person can help now.
    NeedsPerson(ConnectionKey),
    /// The labels of these namespaces have changed, and with them who may use what.
    Relabelled(Vec<String>),
}

/// Where notices are published.
#[derive(Debug)]
pub struct Notices(broadcast::Sender<Notice>);

impl Default for Notices {
    fn default() -> Self {
        Self(broadcast::Sender::new(WAITING))
    }
}

impl Notices {
    /// Tells every subscriber.
    pub fn publish(&self, notice: Notice) {
        // Without a subscriber the process is about to end.
        let _ = self.0.send(notice);
    }

    /// Everything that is published from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Notice> {
        self.0.subscribe()
    }
}
