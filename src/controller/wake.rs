//! Wakes objects when the cause of their trouble is gone: the connection answers again, or the credential changed.
//!
//! Objects have back-offs of minutes; a person who has just replaced a token should not wait for them.

use std::path::PathBuf;
use std::sync::Arc;

use futures::channel::mpsc::UnboundedSender;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Guarded;
use super::connection::{Due, Standing};
use super::context::{Context, shown};
use super::link::{Inputs, Key, Link};
use super::observer;
use crate::api::names::TargetName;
use crate::api::reason::Reason;
use crate::api::target::Target;
use crate::plan::ownership::Place;

/// The objects of one watch, and the way to their queue.
#[derive(Debug)]
pub(super) struct Shard {
    pub store: Store<Guarded>,
    pub wake: UnboundedSender<ObjectRef<Guarded>>,
}

impl Shard {
    /// Asks for a pass now, whatever the object was waiting for.
    pub(super) fn wake(&self, object: &Guarded, target: &Target, context: &Context) {
        if !context.duty().calls_for(object) {
            return;
        }
        context.disturb(target);
        context.metrics().queue().asked(shown(object));
        // The receiver lives as long as the controller; without it there is nobody to wake.
        let _ = self.wake.unbounded_send(ObjectRef::from_obj(object));
    }
}

/// Probes a connection that is down or in doubt, looks at what it depends on, and wakes who is concerned, until `stop`: a
/// probe of a slow server takes a minute, and is given up.
pub(super) async fn tend(context: Arc<Context>, link: Arc<Link>, shards: Arc<Vec<Shard>>, stop: CancellationToken) {
    // None: it was told to end.
    let _ = stop.run_until_cancelled(monitor(&context, &link, &shards)).await;
}

async fn monitor(context: &Arc<Context>, link: &Arc<Link>, shards: &[Shard]) {
    let connector = Arc::clone(&link.connector);
    let mut seen = 0;
    let mut known = Standing::Unknown;
    if link.key != Key::Default {
        // Its status says how it stands, also while no Target uses it.
        drop(connector.ensure().await);
    }
    // What is there now is what the first probe has used.
    changed(&link.inputs, &mut seen).await;
    let mut look = tokio::time::interval_at(Instant::now() + link.pace(), link.pace());
    loop {
        let due = connector.due().await;
        tokio::select! {
            // Passes probe too: whoever did, the outcome is seen below.
            () = connector.changed() => {}
            () = come(due) => drop(connector.ensure().await),
            _ = look.tick() => match changed(&link.inputs, &mut seen).await {
                Inspection::Same => connector.look_for_the_rest().await,
                Inspection::Changed => {
                    tracing::info!(connection = ?link.key, "the credential or the CA bundle has changed");
                    connector.retry_now().await;
                    // Where all is well it is tried as well: its next call may be a day away.
                    connector.renew().await;
                    wake(shards, context, &link.key, waits_for_connection);
                }
                // The probe that follows says what is wrong.
                Inspection::Lost => connector.renew().await,
            }
        }
        link.tell();
        let standing = connector.standing().await;
        match (known, standing) {
            (_, Standing::Unknown) => continue,
            (Standing::Down(_), Standing::Up) => {
                // One list first, so that those who wait need no read of their own.
                observer::refresh(context, link).await;
                wake(shards, context, &link.key, waits_for_connection);
            }
            // What only a person can mend is told on all objects; an outage that passes, on those in work.
            (before, Standing::Down(reason)) if needs_a_person(reason) && before != standing => {
                wake(shards, context, &link.key, |reason| reason == Reason::Available);
            }
            _ => {}
        }
        known = standing;
    }
}

/// What a look at the inputs shows.
enum Inspection {
    Same,
    Changed,
    /// They cannot be read any more.
    Lost,
}

/// Compares the inputs with the last look; `seen` is what files looked like then.
async fn changed(inputs: &Inputs, seen: &mut u64) -> Inspection {
    let changed = match inputs {
        Inputs::Files(files) => {
            let now = fingerprint(files).await;
            Ok(std::mem::replace(seen, now) != now)
        }
        Inputs::Secrets(keys) => keys.refresh().await,
    };
    match changed {
        Ok(false) => Inspection::Same,
        Ok(true) => Inspection::Changed,
        Err(_) => Inspection::Lost,
    }
}

/// Waits until a probe is due; for ever, if none is.
async fn come(due: Option<Due>) {
    match due {
        Some(Due::At(until)) => tokio::time::sleep_until(until).await,
        Some(Due::Doubted) => {}
        None => std::future::pending().await,
    }
}

/// Wakes the Targets that use a connection and whose reason is a concern of it.
fn wake(shards: &[Shard], context: &Context, key: &Key, concerned: impl Fn(Reason) -> bool) {
    wake_each(shards, context, |target| Key::of(target) == *key && target.ready_reason().is_some_and(&concerned));
}

/// Wakes the Targets that want this name, which `by` has just freed in ZITADEL: their next try may be minutes away. Also
/// those that do not say so yet, whose create or rename may be on its way back with "taken".
pub(super) fn wake_waiting_for_name(context: &Context, by: &Target, name: &str) {
    let Ok(name) = name.parse::<TargetName>() else { return };
    let place = context.place(by);
    wake_each(context.shards(), context, |target| {
        target.metadata.uid != by.metadata.uid
            && waits_for_name(target, &name)
            && Place::is_one(place.as_ref(), context.place(target).as_ref())
    });
}

/// Whether a Target wants this name and does not have it.
fn waits_for_name(target: &Target, name: &TargetName) -> bool {
    let held = target.status.as_ref().and_then(|status| status.name.as_deref());
    name.same_as(&wanted_name(target)) && !held.is_some_and(|held| name.same_as(held))
}

/// The name that a Target is to have in ZITADEL.
pub(super) fn wanted_name(target: &Target) -> String {
    target.spec.name.clone().or_else(|| target.metadata.name.clone()).unwrap_or_default()
}

/// Wakes the Targets of which this is true.
pub(super) fn wake_each(shards: &[Shard], context: &Context, concerned: impl Fn(&Target) -> bool) {
    for shard in shards {
        for object in shard.store.state() {
            let Ok(target) = &object.0 else { continue };
            if concerned(target) {
                shard.wake(&object, target, context);
            }
        }
    }
}

/// Whether nothing but a person ends it.
pub(super) const fn needs_a_person(reason: Reason) -> bool {
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
    let passes = matches!(
        reason,
        // The last one is on objects that an earlier version wrote: it took the place of the cause.
        Reason::ZitadelUnavailable | Reason::RateLimited | Reason::ExecutionFailed | Reason::ProgressDeadlineExceeded
    );
    passes || needs_a_person(reason)
}

/// Changes when a file appears, vanishes or gets another content; holds nothing of the content itself.
async fn fingerprint(files: &[PathBuf]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for file in files {
        tokio::fs::read(file).await.ok().hash(&mut hasher);
    }
    hasher.finish()
}
