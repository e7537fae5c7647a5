//! Wakes objects when the cause of their trouble is gone: the connection answers again, or the credential changed.
//!
//! Objects have back-offs of minutes; a person who has just replaced a token should not wait for them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio_util::sync::CancellationToken;

use super::Guarded;
use super::connection::{Due, Standing};
use super::context::Context;
use super::observer;
use crate::api::reason::Reason;
use crate::api::target::Target;

/// How often credential and CA files are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// The objects of one watch, and the way to their queue.
#[derive(Debug)]
pub(super) struct Shard {
    pub store: Store<Guarded>,
    pub wake: UnboundedSender<ObjectRef<Guarded>>,
}

impl Shard {
    /// Asks for a pass now, whatever the object was waiting for.
    pub(super) fn wake(&self, object: &Guarded, target: &Target, context: &Context) {
        context.disturb(target);
        // The receiver lives as long as the controller; without it there is nobody to wake.
        let _ = self.wake.unbounded_send(ObjectRef::from_obj(object));
    }
}

/// Probes a connection that is down or in doubt, watches the files it depends on, and wakes who is concerned.
pub(super) async fn tend(context: Arc<Context>, shards: Arc<Vec<Shard>>, stop: CancellationToken) {
    let connector = Arc::clone(context.connector());
    let files = context.watched_files();
    let mut seen = fingerprint(&files).await;
    let mut known = Standing::Unknown;
    let mut look = tokio::time::interval(LOOK);
    loop {
        let due = connector.due().await;
        tokio::select! {
            () = stop.cancelled() => return,
            // Passes probe too: whoever did, the outcome is seen below.
            () = connector.changed() => {}
            () = come(due) => drop(connector.ensure().await),
            _ = look.tick() => {
                let now = fingerprint(&files).await;
                if now != seen {
                    seen = now;
                    tracing::info!("a credential or CA file changed");
                    connector.retry_now().await;
                    wake(&shards, &context, waits_for_connection);
                }
            }
        }
        let standing = connector.standing().await;
        match (known, standing) {
            (_, Standing::Unknown) => continue,
            (Standing::Down(_), Standing::Up) => {
                // One list first, so that those who wait need no read of their own.
                observer::refresh(&context).await;
                wake(&shards, &context, waits_for_connection);
            }
            // What only a person can mend is told on all objects; an outage that passes, on those in work.
            (before, Standing::Down(reason)) if needs_a_person(reason) && before != standing => {
                wake(&shards, &context, |reason| reason == Reason::Available);
            }
            _ => {}
        }
        known = standing;
    }
}

/// Waits until a probe is due; for ever, if none is.
async fn come(due: Option<Due>) {
    match due {
        Some(Due::Down(until)) => tokio::time::sleep_until(until).await,
        Some(Due::Doubted) => {}
        None => std::future::pending().await,
    }
}

fn wake(shards: &[Shard], context: &Context, concerned: impl Fn(Reason) -> bool) {
    for shard in shards {
        for object in shard.store.state() {
            let Ok(target) = &object.0 else { continue };
            if target.ready_reason().is_some_and(&concerned) {
                shard.wake(&object, target, context);
            }
        }
    }
}

const fn needs_a_person(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ActionsDisabled
            | Reason::AuthenticationFailed
            | Reason::PermissionDenied
            | Reason::CredentialsUnavailable
            | Reason::ApiUnsupported
    )
}

const fn waits_for_connection(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::ActionsDisabled
            | Reason::AuthenticationFailed
            | Reason::PermissionDenied
            | Reason::CredentialsUnavailable
            | Reason::ZitadelUnavailable
            | Reason::ApiUnsupported
            | Reason::RateLimited
            | Reason::ProgressDeadlineExceeded
    )
}

/// Changes when a file appears, vanishes or gets another content; holds nothing of the content itself.
async fn fingerprint(files: &[PathBuf]) -> Vec<Option<u64>> {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut prints = Vec::with_capacity(files.len());
    for file in files {
        prints.push(tokio::fs::read(file).await.ok().map(|content| {
            let mut hasher = DefaultHasher::new();
            content.hash(&mut hasher);
            hasher.finish()
        }));
    }
    prints
}
