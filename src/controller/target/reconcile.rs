//! From an entry of the queue to a pass, and from its end to the next entry.
//!
//! What kube calls. A pass itself is in [`super::target`]; here it is bounded in time, its panics are confined, and the queue is
//! kept count of.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::api::DynamicObject;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use tokio::time::Instant;
use tracing::{Instrument, Span, field, info_span, warn};

use crate::api::target::Target;
use crate::controller::PASS_DEADLINE;
use crate::controller::connections::connection::ConnectionKey;
use crate::controller::runtime::backoff::jittered;
use crate::controller::runtime::lanes::Urgency;
use crate::controller::runtime::writer::WriteError;
use crate::controller::target::Guarded;
use crate::controller::target::context::{Context, Rest, shown};
use crate::controller::target::events;
use crate::controller::target::executor::{Pass, PassError};
use crate::ops::metrics::PassResult;
use crate::ops::traces;

/// How soon a pass that lost a race looks again.
const AFTER_CONFLICT: Duration = Duration::from_millis(200);

/// How long a pass may go on when the process has been told to end. What it leaves undone is done after the next start, and
/// a create goes on by itself.
const STOP_GRACE: Duration = Duration::from_secs(10);

/// [`shown`], of an object that is not there any more.
pub(crate) fn shown_gone(gone: &ObjectRef<DynamicObject>) -> String {
    format!("{}/{}", gone.namespace.as_deref().unwrap_or_default(), gone.name)
}

/// Has an object looked at again after this time, if nothing asks for it before.
pub(crate) fn again(context: &Context, object: &impl Resource, delay: Duration) -> Action {
    context.metrics().queue().asked_after(shown(object), delay);
    Action::requeue(delay)
}

/// Reconciles one object, when it is its turn.
///
/// # Errors
/// When the reconcile could not be finished; the object is tried again with back-off.
pub async fn reconcile(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, Arc<PassError>> {
    if !context.scope().should_reconcile(&*object) {
        // Whoever begins to lead looks at every object; a change of labels asks for a reconcile.
        context.metrics().queue().forget(&shown(&*object));
        return Ok(Action::await_change());
    }
    let target = match &object.0 {
        Ok(target) => target,
        Err(invalid) => {
            events::publish_unreadable(&context, &object, &invalid.error);
            context.metrics().queue().forget(&shown(&*object));
            return Ok(Action::await_change());
        }
    };
    let (connection, urgency) = (ConnectionKey::of(target), urgency(target, &context));
    let _slot = tokio::select! {
        slot = context.lanes().enter(&connection, urgency) => slot,
        () = context.stopped_for(Duration::ZERO) => return Err(Arc::new(PassError::Stopping)),
    };
    // It may have changed while it waited; its end is for the watch to tell.
    let Some(object) = context.cached(&object) else { return Ok(Action::await_change()) };
    // Boxed: one that waits for its turn is small.
    Box::pin(work(object, context)).await.map_err(Arc::new)
}

/// How urgent it is.
fn urgency(target: &Target, context: &Context) -> Urgency {
    let observed = target.status.as_ref().and_then(|status| status.observed_generation);
    let failing = context.backoff().is_failing(target.metadata.uid.as_deref().unwrap_or_default());
    match (observed == target.metadata.generation, target.metadata.deletion_timestamp.is_some(), failing) {
        (false, false, _) | (_, true, false) => Urgency::Changed,
        (_, _, true) => Urgency::Retry,
        (true, false, false) => Urgency::Resync,
    }
}

/// One reconcile; isolates panics and bounds the time.
async fn work(object: Arc<Guarded>, context: Arc<Context>) -> Result<Action, PassError> {
    let _working = context.metrics().queue().begin(&shown(&*object));
    let Ok(target) = &object.0 else { return Ok(again(&context, &*object, Duration::ZERO)) };
    let (newest, rest) = context.newest(target);
    // Nothing newer than our own last write has been seen: this is its echo.
    match rest {
        Rest::Until(due) => return Ok(again(&context, &*object, due.saturating_duration_since(Instant::now()))),
        Rest::UntilChange => return Ok(Action::await_change()),
        Rest::Never => {}
    }
    let span = span_of(&context, target, newest.metadata.generation);
    let guard = context.metrics().pass();
    let seen = Arc::clone(&newest);
    let pass = AssertUnwindSafe(Pass::new(&context, newest).run().instrument(span.clone())).catch_unwind();
    let ended = tokio::select! {
        ended = tokio::time::timeout(PASS_DEADLINE, pass) => ended.ok(),
        () = context.stopped_for(STOP_GRACE) => Some(Ok(Err(PassError::Stopping))),
    };
    let result = match ended {
        Some(Ok(result)) => result,
        Some(Err(_)) => {
            context.metrics().panicked();
            Err(PassError::Internal("a pass panicked"))
        }
        None => {
            context.metrics().timed_out();
            Err(PassError::Deadline)
        }
    };
    if let Err(error) = &result {
        traces::failed(&span, error.kind());
        // A write may have landed without an answer.
        context.doubt(&seen);
    }
    if let Err(PassError::Write(WriteError::Conflict)) = &result {
        catch_up(&context, &seen).instrument(span.clone()).await;
    }
    span.in_scope(|| drop(guard));
    context.metrics().pass_ended(match &result {
        Ok(_) => PassResult::success,
        Err(PassError::Write(WriteError::Conflict | WriteError::Gone)) => PassResult::requeue_after,
        Err(_) => PassResult::error,
    });
    result
}

/// The span of a pass: what its lines in the log have in common, and the root of its trace, if there are traces.
fn span_of(context: &Context, target: &Target, generation: Option<i64>) -> Span {
    let span = info_span!(
        "reconcile",
        controller = "target",
        reconcile_id = context.next_pass(),
        trace_id = field::Empty,
        namespace = target.namespace(),
        resource = target.name_any(),
        uid = target.uid(),
        generation
    );
    if let Some(id) = traces::trace_id(&span) {
        span.record("trace_id", id);
    }
    span
}

/// After a lost race the cache may stay behind for as long as its watch sleeps: the next pass begins with the object as
/// it is now.
async fn catch_up(context: &Context, seen: &Target) {
    match context.writer().current(seen).await {
        Ok(current) => context.remember(&Arc::new(current), Rest::Never, context.written(seen)),
        Err(WriteError::Gone) => context.forget(seen),
        Err(error) => tracing::debug!(%error, "the object could not be read anew"),
    }
}

/// What happens after a pass without a verdict.
#[must_use]
#[expect(clippy::needless_pass_by_value, reason = "the signature of kube's error policy")]
pub fn on_error(object: Arc<Guarded>, error: &Arc<PassError>, context: Arc<Context>) -> Action {
    let meta = object.meta();
    match error.as_ref() {
        PassError::Write(WriteError::Conflict) => again(&context, &*object, jittered(AFTER_CONFLICT)),
        PassError::Write(WriteError::Gone) => Action::await_change(),
        error => {
            let delay = context.backoff().next(meta.uid.as_deref().unwrap_or_default());
            warn!(namespace = meta.namespace, name = meta.name, %error, retry = ?delay, "a pass failed");
            again(&context, &*object, delay)
        }
    }
}
