//! Wakes objects when the cause of their trouble is gone: the connection answers again, or the credential changed.
//!
//! Objects have back-offs of minutes; a person who has just replaced a token should not wait for them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::reason::Reason;
use crate::controller::connections::connection::{ConnectionKey, Inputs, LiveConnection};
use crate::controller::connections::health::{Due, Standing};
use crate::controller::runtime::requeue::{Shard, wake_each};
use crate::controller::target::context::Context;
use crate::controller::target::observer;

/// Probes a connection that is down or in doubt, looks at what it depends on, and wakes who is concerned, until `stop`: a
/// probe of a slow server takes a minute, and is given up.
pub(crate) async fn tend(
    context: Arc<Context>,
    live: Arc<LiveConnection>,
    shards: Arc<Vec<Shard>>,
    stop: CancellationToken,
) {
    // None: it was told to end.
    let _ = stop.run_until_cancelled(monitor(&context, &live, &shards)).await;
}

async fn monitor(context: &Arc<Context>, live: &Arc<LiveConnection>, shards: &[Shard]) {
    let health = Arc::clone(&live.health);
    let mut seen = 0;
    let mut known = Standing::Unknown;
    if live.key != ConnectionKey::Default {
        // Its status says how it stands, also while no Target uses it.
        drop(health.ensure().await);
    }
    // What is there now is what the first probe has used.
    changed(&live.inputs, &mut seen).await;
    let mut look = tokio::time::interval_at(Instant::now() + live.pace(), live.pace());
    loop {
        let due = health.due().await;
        tokio::select! {
            // Passes probe too: whoever did, the outcome is seen below.
            () = health.changed() => {}
            () = come(due) => drop(health.ensure().await),
            _ = look.tick() => match changed(&live.inputs, &mut seen).await {
                Inspection::Same => health.look_for_the_rest().await,
                Inspection::Changed => {
                    tracing::info!(connection = ?live.key, "the credential or the CA bundle has changed");
                    health.retry_now().await;
                    // Where all is well it is tried as well: its next call may be a day away.
                    health.renew().await;
                    wake(shards, context, &live.key, waits_for_connection);
                }
                // The probe that follows says what is wrong.
                Inspection::Lost => health.renew().await,
            }
        }
        live.tell();
        let standing = health.standing().await;
        match (known, standing) {
            (_, Standing::Unknown) => continue,
            (Standing::Down(_), Standing::Up) => {
                // One list first, so that those who wait need no read of their own.
                observer::refresh(context, live).await;
                wake(shards, context, &live.key, waits_for_connection);
            }
            // What only a person can mend is told on all objects; an outage that passes, on those in work.
            (before, Standing::Down(reason)) if needs_a_person(reason) && before != standing => {
                wake(shards, context, &live.key, |reason| reason == Reason::Available);
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
fn wake(shards: &[Shard], context: &Context, key: &ConnectionKey, concerned: impl Fn(Reason) -> bool) {
    wake_each(shards, context, |target| {
        ConnectionKey::of(target) == *key && target.ready_reason().is_some_and(&concerned)
    });
}

/// Whether nothing but a person ends it.
pub(crate) const fn needs_a_person(reason: Reason) -> bool {
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
