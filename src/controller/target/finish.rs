//! The end of a pass: status, counters, the Event, and when to look again.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::controller::Action;
use tokio::time::Instant;

use crate::api::condition::{ConditionType, Health, find, own};
use crate::api::reason::Reason;
use crate::api::target::TargetStatus;
use crate::controller::runtime::backoff::jittered;
use crate::controller::target::context::Rest;
use crate::controller::target::executor::{Pass, PassError};
use crate::controller::target::reconcile::again;
use crate::controller::target::{events, name_waiters};
use crate::ops::metrics::DriftAction;
use crate::ops::traces;
use crate::plan::{self, Retry, Verdict};

impl Pass<'_> {
    pub(crate) fn rendered(&self, verdict: &Verdict) -> TargetStatus {
        let previous = self.object.status.clone().unwrap_or_default();
        let generation = self.object.metadata.generation.unwrap_or_default();
        let mut status = plan::status::render(&previous, verdict, generation, Timestamp::now());
        status.last_handled_reconcile_at = self.requested().map(str::to_owned);
        status
    }

    pub(crate) async fn finish(&mut self, verdict: &Verdict) -> Result<Action, PassError> {
        let mut previous = self.object.status.clone().unwrap_or_default();
        previous.conditions = own(&previous.conditions);
        let status = self.rendered(verdict);
        let news = events::is_news(&previous, &status);
        if status != previous {
            let written = self.writer().write_status(&self.object, &status).await?;
            self.take(written);
            // Also a rename whose answer was lost frees its old name.
            let freed = previous.name.as_deref().filter(|old| status.name.as_deref() != Some(old));
            if let Some(old) = freed {
                name_waiters::wake_waiting_for_name(self.context, &self.object, old);
            }
        }
        self.count(&status, news);
        self.report(verdict, news);
        let delay = self.delay(verdict.retry);
        let rest = delay.map_or(Rest::UntilChange, |delay| Rest::Until(Instant::now() + delay));
        // An older view must not be taken for the current one by the next pass either.
        let unread = self.facts.written().filter(|_| verdict.health != Health::Ready).cloned();
        self.context.remember(&self.object, rest, unread);
        Ok(delay.map_or_else(Action::await_change, |delay| again(self.context, &*self.object, delay)))
    }

    /// Counts what status says: the cause, also where the ten-minute rule has made it Stalled.
    fn count(&self, status: &TargetStatus, news: bool) {
        let ready = find(&status.conditions, ConditionType::Ready).filter(|ready| ready.status != "True");
        if let Some(reason) = ready.and_then(|ready| Reason::parse(&ready.reason)) {
            let terminal = find(&status.conditions, ConditionType::Stalled).is_some();
            self.context.metrics().failed(reason, terminal);
            if news && reason == Reason::Drifted {
                self.context.metrics().targets().drifted(DriftAction::observed);
            }
        }
    }

    pub(crate) fn report(&self, verdict: &Verdict, news: bool) {
        let deed = verdict.note.as_ref().map_or(self.deed, |note| self.deed.told(note.kind));
        traces::outcome(deed.as_str(), verdict.reason.as_str());
        let Some(note) = &verdict.note else { return };
        if note.kind == plan::NoteKind::DriftCorrected {
            self.context.metrics().targets().drifted(DriftAction::corrected);
        }
        if news || !matches!(note.kind, plan::NoteKind::Failed(_)) {
            events::publish_note(self.context, &self.object, note, deed, self.began.elapsed());
        }
    }

    fn delay(&self, retry: Retry) -> Option<Duration> {
        let uid = self.object.metadata.uid.as_deref().unwrap_or_default();
        if retry != Retry::BackOff {
            self.context.backoff().reset(uid);
        }
        match retry {
            // The observer wakes whoever differs.
            Retry::Resync | Retry::OnChange => None,
            Retry::After(pause) => Some(jittered(pause)),
            Retry::BackOff => Some(self.context.backoff().next(uid)),
        }
    }
}
