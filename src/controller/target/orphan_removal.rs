//! A target that was made in ZITADEL for an object which was gone before its id could be recorded: it is deleted again,
//! with a back-off, until ZITADEL has answered or the process ends.

use std::sync::Arc;
use std::time::Duration;

use kube::ResourceExt;
use tracing::{info, warn};

use crate::api::target::Target;
use crate::controller::connections::health::ConnectionHealth;
use crate::controller::connections::monitor;
use crate::controller::runtime::backoff::{delay, jittered};
use crate::controller::target::context::Context;
use crate::controller::target::events;
use crate::controller::target::name_waiters;
use crate::zitadel::{Error, TargetId};

/// Back-off of the deletion.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);

/// A target without an owner.
pub(crate) struct Orphan {
    pub id: TargetId,
    /// What it was made for.
    pub object: Arc<Target>,
    pub health: Arc<ConnectionHealth>,
}

impl Orphan {
    /// Deletes it. Run beside the passes; the end of the process waits for it, for a time.
    pub(crate) async fn remove(self, context: Arc<Context>) {
        let (mut failures, mut reported) = (0, false);
        while let Err(error) = self.try_once(&context, failures).await {
            let pause = jittered(delay(failures, FIRST, LONGEST));
            warn!(id = %self.id, %error, retry = ?pause, "the orphaned target could not be deleted; trying again");
            failures += 1;
            // A person can help now; an outage is over some time, or not before the process ends.
            if !reported && monitor::needs_a_person(error.reason()) {
                self.report(&context, &error);
                reported = true;
            }
            if context.ending().run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                if !reported {
                    self.report(&context, &error);
                }
                return;
            }
        }
    }

    async fn try_once(&self, context: &Context, failures: u32) -> Result<(), Error> {
        // Meanwhile a person may have asked for it by spec.externalId.
        if failures > 0 && self.is_wanted(context).await? {
            info!(id = %self.id, "the orphaned target has an owner again; it stays");
            return Ok(());
        }
        self.health.client().delete(&self.id).await?;
        info!(id = %self.id, "the orphaned target is deleted");
        name_waiters::wake_waiting_for_name(context, &self.object, &name_waiters::wanted_name(&self.object));
        Ok(())
    }

    /// Whether a Target holds it by now, or asks for it; asked of the API server, since the cache may lag.
    async fn is_wanted(&self, context: &Context) -> Result<bool, Error> {
        let all = context.current_targets().await.map_err(|error| Error::NoAnswer(error.to_string().into()))?;
        let names = |id: Option<&String>| id.is_some_and(|id| id == self.id.as_str());
        Ok(all.iter().any(|target| {
            let held = target.status.as_ref().and_then(|status| status.id.as_ref());
            names(held) || names(target.spec.external_id.as_ref())
        }))
    }

    fn report(&self, context: &Context, error: &Error) {
        let text = format!(
            "the object was gone before target {} could be recorded, and the target could not be deleted ({error}); \
             unless a later try succeeds it is left in ZITADEL: delete it there",
            self.id
        );
        warn!(namespace = self.object.namespace(), name = self.object.name_any(), text, "left behind");
        context.metrics().vanished();
        events::publish_left_behind(context, &self.object, &text);
    }
}
