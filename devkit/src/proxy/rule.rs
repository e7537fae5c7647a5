//! Rules, the handles on them, and the log of what went through.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::act::Act;
use super::call::Call;

/// How often a rule acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Often {
    /// On one request.
    Once,
    /// On so many.
    Times(usize),
    /// Until it is cleared.
    Always,
}

/// Which requests, and what happens to them. The oldest rule that fits and is not used up acts.
#[derive(Clone, Debug)]
pub struct Rule<C> {
    call: Option<C>,
    skip: usize,
    often: Often,
    act: Act,
}

impl<C: Call> Rule<C> {
    /// The next request of this kind.
    #[must_use]
    pub fn next(call: C, act: Act) -> Self {
        Self { call: Some(call), skip: 0, often: Often::Once, act }
    }

    /// The request of this kind that comes after `skip` others of it.
    #[must_use]
    pub fn nth(call: C, skip: usize, act: Act) -> Self {
        Self { call: Some(call), skip, often: Often::Once, act }
    }

    /// Every request of this kind.
    #[must_use]
    pub fn every(call: C, act: Act) -> Self {
        Self { call: Some(call), skip: 0, often: Often::Always, act }
    }

    /// Every request at all.
    #[must_use]
    pub fn all(act: Act) -> Self {
        Self { call: None, skip: 0, often: Often::Always, act }
    }

    /// The same for so many requests.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.often = Often::Times(times);
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Shut,
    Released,
    Discarded,
}

#[derive(Debug)]
pub(super) struct Armed<C> {
    rule: Rule<C>,
    seen: AtomicUsize,
    cleared: AtomicBool,
    acted: watch::Sender<usize>,
    gate: watch::Sender<Gate>,
}

impl<C: Call> Armed<C> {
    pub(super) fn act(&self) -> &Act {
        &self.rule.act
    }

    /// Counts a fitting request and tells whether the rule acts on it. Called under the lock of the list.
    fn takes(&self, call: C) -> bool {
        if self.rule.call.is_some_and(|own| own != call) || self.cleared.load(Ordering::SeqCst) {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::SeqCst);
        let most = match self.rule.often {
            Often::Once => 1,
            Often::Times(times) => times,
            Often::Always => usize::MAX,
        };
        number >= self.rule.skip && number - self.rule.skip < most
    }

    /// Tells those who wait that the rule acts: for a held answer, that it is there.
    pub(super) fn announce(&self) {
        self.acted.send_modify(|acted| *acted += 1);
    }

    /// Waits for the decision; `true` to go on.
    pub(super) async fn opened(&self) -> bool {
        let mut gate = self.gate.subscribe();
        // The sender lives in the rule that this borrow keeps alive.
        let decided = gate.wait_for(|gate| *gate != Gate::Shut).await;
        decided.is_ok_and(|gate| *gate == Gate::Released)
    }
}

/// Control over one rule. Dropping it changes nothing: the rule stays.
#[derive(Clone, Debug)]
pub struct RuleHandle<C> {
    armed: Arc<Armed<C>>,
}

impl<C: Call> RuleHandle<C> {
    /// On how many requests it has acted; a held answer counts once it is there.
    #[must_use]
    pub fn acted(&self) -> usize {
        *self.armed.acted.borrow()
    }

    /// Waits until it has acted on one. Without a time limit: put the test's own around it.
    pub async fn reached(&self) {
        let mut acted = self.armed.acted.subscribe();
        // The sender lives in the rule that this handle keeps alive, so waiting cannot fail.
        let _ = acted.wait_for(|acted| *acted > 0).await;
    }

    /// Lets go on what is held, now and later.
    pub fn release(&self) {
        self.armed.gate.send_replace(Gate::Released);
    }

    /// Throws away what is held, now and later, and closes its connection.
    pub fn discard(&self) {
        self.armed.gate.send_replace(Gate::Discarded);
    }

    /// The rule acts no more; what it holds stays held until it is released or discarded.
    pub fn clear(&self) {
        self.armed.cleared.store(true, Ordering::SeqCst);
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// On its way, or held.
    Pending,
    /// Answered with this status, by the server or by a rule.
    Answered(u16),
    /// Its connection was closed without an answer.
    Cut,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<C> {
    /// What it was.
    pub call: C,
    /// Method and path.
    pub request: String,
    /// What became of it.
    pub fate: Fate,
}

/// Rules and log of one proxy.
#[derive(Debug)]
pub(super) struct Book<C> {
    rules: Mutex<Vec<Arc<Armed<C>>>>,
    log: Mutex<Vec<Entry<C>>>,
}

impl<C: Call> Book<C> {
    pub(super) fn new() -> Self {
        Self { rules: Mutex::default(), log: Mutex::default() }
    }

    pub(super) fn add(&self, rule: Rule<C>) -> RuleHandle<C> {
        let armed = Arc::new(Armed {
            rule,
            seen: AtomicUsize::new(0),
            cleared: AtomicBool::new(false),
            acted: watch::Sender::new(0),
            gate: watch::Sender::new(Gate::Shut),
        });
        lock(&self.rules).push(Arc::clone(&armed));
        RuleHandle { armed }
    }

    /// Ends every rule; what they hold is discarded.
    pub(super) fn clear(&self) {
        for armed in lock(&self.rules).drain(..) {
            let handle = RuleHandle { armed };
            handle.clear();
            handle.discard();
        }
    }

    /// The rule that acts on this request. Every rule counts it, so that rules do not disturb each other's counts.
    pub(super) fn take(&self, call: C) -> Option<Arc<Armed<C>>> {
        let rules = lock(&self.rules);
        let taking: Vec<_> = rules.iter().filter(|armed| armed.takes(call)).collect();
        taking.first().map(|armed| Arc::clone(armed))
    }

    pub(super) fn enter(&self, call: C, request: String) -> usize {
        let mut log = lock(&self.log);
        log.push(Entry { call, request, fate: Fate::Pending });
        log.len() - 1
    }

    pub(super) fn note(&self, index: usize, fate: Fate) {
        if let Some(entry) = lock(&self.log).get_mut(index) {
            entry.fate = fate;
        }
    }

    pub(super) fn log(&self) -> Vec<Entry<C>> {
        lock(&self.log).clone()
    }
}

/// The lock; a test that panicked while holding it must not hide its failure behind a second one.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
