//! Kubernetes Events of any object: queued, and published beside the reconciles.
//!
//! A slow Events API thus delays nobody. The queue is bounded; an Event that finds it full is dropped and counted. The
//! note may quote ZITADEL's own words, which conditions must not.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::api::FIELD_MANAGER;
use crate::api::condition::{ConditionType, find};
use crate::ops::Metrics;

/// Longest note of an Event (Kubernetes: 1 kB).
const LONGEST: usize = 1000;
/// How many are published at once; those of one object one after another, or a series would begin twice.
const PUBLISHERS: usize = 4;
/// How many Events may wait for one publisher: some 2 KiB each.
const QUEUE: usize = 256;
/// Longest wait for one; kube has no time-out of its own.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(30);

/// Whether repeated Events become one series, which keeps its first note (kube's Recorder).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeats {
    /// They do.
    Series,
    /// Each says something else.
    Single,
}

/// One Event on its way.
struct Queued {
    event: Event,
    on: ObjectReference,
    repeats: Repeats,
}

/// Where Events are left to be published.
pub struct Events {
    queues: Mutex<Vec<mpsc::Sender<Queued>>>,
    publishers: Mutex<Vec<JoinHandle<()>>>,
    metrics: Arc<Metrics>,
}

impl Events {
    /// Starts publishing.
    #[must_use]
    pub fn start(client: &Client, metrics: Arc<Metrics>) -> Self {
        let begin = |_| {
            let (queue, waiting) = mpsc::channel(QUEUE);
            (queue, tokio::spawn(publish_all(client.clone(), waiting)))
        };
        let (queues, publishers) = (0..PUBLISHERS).map(begin).unzip();
        Self { queues: Mutex::new(queues), publishers: Mutex::new(publishers), metrics }
    }

    /// Leaves an Event of the action "Reconcile" or "Delete". Repeated warnings become a series; good news names what
    /// was changed, so each is an Event of its own.
    pub fn publish(&self, on: ObjectReference, kind: EventType, reason: &str, action: &str, note: &str) {
        let repeats = if kind == EventType::Warning { Repeats::Series } else { Repeats::Single };
        self.publish_as(on, repeats, event(kind, reason, action, note));
    }

    /// Leaves a warning that is no part of a series.
    pub fn warn_once(&self, on: ObjectReference, reason: &str, action: &str, note: &str) {
        self.publish_as(on, Repeats::Single, event(EventType::Warning, reason, action, note));
    }

    fn publish_as(&self, on: ObjectReference, repeats: Repeats, event: Event) {
        let queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let (reason, queue) = (event.reason.clone(), queues.get(share(&on)));
        if queue.is_none_or(|queue| queue.try_send(Queued { event, on, repeats }).is_err()) {
            tracing::warn!(reason, "an Event is dropped: the API server is too slow to take them");
            self.metrics.event_dropped();
        }
    }

    /// Ends publishing, within this time.
    pub async fn finish(&self, time: Duration) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let publishers = std::mem::take(&mut *self.publishers.lock().unwrap_or_else(PoisonError::into_inner));
        if tokio::time::timeout(time, join_all(publishers)).await.is_err() {
            tracing::warn!("the last Events could not be published in time");
        }
    }
}

/// Which publisher an object has.
fn share(on: &ObjectReference) -> usize {
    let sum = on.uid.iter().flat_map(|uid| uid.bytes()).fold(0_usize, |sum, byte| sum.wrapping_add(byte.into()));
    sum % PUBLISHERS
}

async fn publish_all(client: Client, mut waiting: mpsc::Receiver<Queued>) {
    let reporter = Reporter { controller: FIELD_MANAGER.into(), instance: std::env::var("POD_NAME").ok() };
    let series = Recorder::new(client.clone(), reporter.clone());
    while let Some(Queued { event, on, repeats }) = waiting.recv().await {
        let recorder = match repeats {
            Repeats::Series => series.clone(),
            Repeats::Single => Recorder::new(client.clone(), reporter.clone()),
        };
        let reason = &event.reason;
        match tokio::time::timeout(PUBLISH_TIMEOUT, recorder.publish(&event, &on)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(%error, reason, "an Event was not published"),
            Err(_) => tracing::debug!(reason, "an Event was not published in time"),
        }
    }
}

fn event(type_: EventType, reason: &str, action: &str, text: &str) -> Event {
    Event { type_, reason: reason.to_owned(), note: Some(shorten(text)), action: action.to_owned(), secondary: None }
}

fn shorten(text: &str) -> String {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].to_owned()
}

/// Whether Ready says something else, or Stalled says for the first time that it takes too long.
#[must_use]
pub fn differs(previous: &[Condition], next: &[Condition]) -> bool {
    let said = |conditions: &[Condition]| {
        let ready = find(conditions, ConditionType::Ready)?;
        let stalled = find(conditions, ConditionType::Stalled).map(|stalled| stalled.reason.clone());
        Some((ready.status.clone(), ready.reason.clone(), ready.message.clone(), ready.observed_generation, stalled))
    };
    said(previous) != said(next)
}
