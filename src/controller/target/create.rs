//! A create and the commit of its answer: the one piece of work that is never abandoned half-way.
//!
//! It runs as a task of its own, beside the pass that began it, and the process waits for it before it ends.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::ResourceExt;
use tracing::warn;

use crate::api::target::Target;
use crate::controller::connections::health::ConnectionHealth;
use crate::controller::runtime::writer::WriteError;
use crate::controller::target::writes::Writer;
use crate::plan::{self, Connection, Verdict};
use crate::zitadel::client::Turn;
use crate::zitadel::{Created, Error, TargetConfig, TargetId};

/// A create and its commit, independent of the pass that began it.
pub(crate) struct Create {
    pub writer: Writer,
    pub health: Arc<ConnectionHealth>,
    pub object: Arc<Target>,
    pub connection: Connection,
}

/// How a create without a committed id ended.
pub(crate) enum End {
    /// The call failed.
    Refused(Error),
    /// The object was gone, or held another target, before this id could be recorded.
    Orphaned(TargetId),
}

/// Pause between two attempts to commit while the API server is in trouble.
const COMMIT_RETRY: Duration = Duration::from_millis(500);

impl Create {
    pub async fn run(self, turn: Turn, config: &TargetConfig) -> Result<(Created, Target), End> {
        let client = self.health.client();
        let created = client.create(turn, config).await.map_err(End::Refused)?;
        let remote = plan::facts::as_posted(config, created.clone());
        let verdict = plan::target::committed(&remote, &self.connection);
        if let Some(committed) = self.commit(&created.id, &verdict).await {
            return Ok((created, committed));
        }
        // Somebody took the finalizer away, or a forged status stands there: what was just made has no owner.
        warn!(id = %created.id, "the object vanished during its create; deleting the target again");
        Err(End::Orphaned(created.id))
    }

    /// Records the id, on whatever the object has become meanwhile, again and again until it lands. `None` if there is
    /// nothing to record it on.
    async fn commit(&self, id: &TargetId, verdict: &Verdict) -> Option<Target> {
        let generation = self.object.metadata.generation.unwrap_or_default();
        let before = held(&self.object);
        let mut object = Target::clone(&self.object);
        loop {
            match held(&object) {
                // Another replica has found it by our claim.
                Some(held) if held == id.as_str() => return Some(object),
                Some(held) if Some(&held) != before.as_ref() => return None,
                _ => {}
            }
            let previous = object.status.clone().unwrap_or_default();
            let status = plan::status::render(&previous, verdict, generation, Timestamp::now());
            match self.writer.write_status(&object, &status).await {
                Ok(written) => return Some(written),
                Err(WriteError::Gone) => return None,
                Err(WriteError::Conflict) => {}
                Err(error) => self.pause(&error).await,
            }
            match self.writer.current(&object).await {
                Ok(current) => object = current,
                Err(WriteError::Gone) => return None,
                Err(error) => self.pause(&error).await,
            }
        }
    }

    async fn pause(&self, error: &WriteError) {
        warn!(resource = self.object.name_any(), %error, "the answer of a create is not committed yet; trying again");
        tokio::time::sleep(COMMIT_RETRY).await;
    }
}

fn held(object: &Target) -> Option<String> {
    object.status.as_ref().and_then(|status| status.id.clone())
}
