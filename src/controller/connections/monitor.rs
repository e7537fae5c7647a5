//! Probes each connection that is down, and notices when its credential changes: objects have back-offs of minutes, and a
//! person who has just replaced a token should not wait for them.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::api::reason::Reason;
use crate::controller::connections::connection::{ConnectionKey, Inputs, LiveConnection};
use crate::controller::connections::health::{Due, Standing};
use crate::controller::connections::notice::{Notice, Notices};
use crate::controller::connections::registry::ConnectionRegistry;

/// Probes a connection that is down or in doubt, looks at what it depends on, and publishes what changes, until `stop`: a
/// probe of a slow server takes a minute, and is given up.
pub(crate) async fn run(live: Arc<LiveConnection>, registry: Arc<ConnectionRegistry>, stop: CancellationToken) {
    // None: it was told to end.
    let _ = stop.run_until_cancelled(monitor(&live, &registry.notices)).await;
}

async fn monitor(live: &Arc<LiveConnection>, notices: &Notices) {
    let health = Arc::clone(&live.health);
    let mut changes = health.changes();
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
        let due = health.due();
        tokio::select! {
            // Passes probe too: whoever did, the outcome is seen below.
            () = changes.next() => {}
            () = come(due) => drop(health.ensure().await),
            _ = look.tick() => match changed(&live.inputs, &mut seen).await {
                Inspection::Same => health.look_for_the_rest().await,
                Inspection::Changed => {
                    tracing::info!(connection = ?live.key, "the credential or the CA bundle has changed");
                    // Where all is well it is tried as well: its next call may be a day away.
                    health.retry_now();
                    notices.publish(Notice::Retry(live.key.clone()));
                }
                // The probe that follows says what is wrong.
                Inspection::Lost => health.renew(),
            }
        }
        live.tell();
        let standing = health.standing();
        match (known, standing) {
            (_, Standing::Unknown) => continue,
            (Standing::Down(_), Standing::Up) => notices.publish(Notice::Recovered(Arc::clone(live))),
            (before, Standing::Down(reason)) if needs_a_person(reason) && before != standing => {
                notices.publish(Notice::NeedsPerson(live.key.clone()));
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
        Some(Due::Suspect) => {}
        None => std::future::pending().await,
    }
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

/// Changes when a file appears, vanishes or gets another content; holds nothing of the content itself.
async fn fingerprint(files: &[PathBuf]) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    for file in files {
        tokio::fs::read(file).await.ok().hash(&mut hasher);
    }
    hasher.finish()
}
