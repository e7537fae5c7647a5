//! Faults: what goes wrong, for which operation, how often. Set at run time; the first one set that fits a request and
//! is not used up acts on it, one fault per request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::Interruption;

/// An operation of the API, whatever its path in the generation at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// Create a target.
    Create,
    /// Update a target.
    Update,
    /// Delete a target.
    Delete,
    /// Read one target.
    Get,
    /// Search targets.
    List,
    /// Event store search.
    Events,
    /// Own user (`/auth/v1/users/me`).
    Me,
    /// Own instance (`/admin/v1/instances/me`).
    Instance,
    /// Ask for an access token (`/oauth/v2/token`).
    Token,
    /// Read the OIDC discovery document (`/.well-known/openid-configuration`).
    Discovery,
    /// Every request, probes included. For faults only: a call is never logged as `Any`.
    Any,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The request is handled after this time, even when the client is gone by then.
    Latency(Duration),
    /// This status, from something in front of the server: nothing is handled or committed. `None` = an empty body.
    Status(u16, Option<String>),
    /// Handled and committed, then the connection is closed without an answer.
    LoseReply,
    /// Handled and committed; the answer is held until `FaultHandle::release` or until the client goes away.
    HoldReply,
    /// The connection is closed at once; the request is handled and committed after this time.
    CommitLate(Duration),
    /// This status, from something that refuses the request and quotes it: its Authorization header and its body, in an
    /// error of the shapes of both the API and OAuth. Not handled.
    Quote(u16),
    /// The connection is closed at once and the request never handled.
    Reset,
    /// An HTML page of a proxy with this status; not handled.
    Html(u16),
    /// Handled and committed, then a proxy's HTML page (502) is sent instead of the answer.
    HtmlAfterCommit,
    /// Handled and committed; the head and half of the body are sent, then the connection is closed.
    Truncated,
    /// A *request* execution on this call interrupts it: not handled, and answered so. Comes after token and
    /// permission, as with real servers; not for `Op::Token` and `Op::Discovery`.
    RequestExecution(Interruption),
    /// A *response* execution on this call interrupts it: handled and committed, and answered so instead. A call that
    /// fails by itself is answered as ever, and uses the fault up all the same. Not for `Op::Token` and
    /// `Op::Discovery`.
    ResponseExecution(Interruption),
    /// Create only: acknowledged and in the event store, never projected (docs/zitadel/observed.md 0.1). No effect elsewhere.
    Ghost,
}

/// How often a fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Times {
    /// On the next n fitting requests.
    N(usize),
    /// Until cleared.
    Always,
}

impl Times {
    /// On the next fitting request only.
    pub const ONCE: Self = Self::N(1);
}

#[derive(Debug)]
pub(crate) struct Fault {
    op: Op,
    pub(crate) effect: Effect,
    times: Times,
    cleared: AtomicBool,
    hits: AtomicUsize,
    announced: watch::Sender<usize>,
    pub(crate) released: watch::Sender<bool>,
}

impl Fault {
    /// Takes one use, if the fault fits the operation and is not used up. Callers hold the lock of the fault list.
    pub(crate) fn take(&self, op: Option<Op>) -> bool {
        let fits = self.op == Op::Any || Some(self.op) == op;
        let spent = match self.times {
            Times::N(n) => self.hits.load(Ordering::SeqCst) >= n,
            Times::Always => false,
        };
        if !fits || spent || self.cleared.load(Ordering::SeqCst) {
            return false;
        }
        self.hits.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Tells those who wait that the fault acted: after the commit, where there is one.
    pub(crate) fn announce(&self) {
        self.announced.send_modify(|acted| *acted += 1);
    }

    /// For the dump: what, on which operation, how often so far.
    pub(crate) fn describe(&self) -> String {
        let cleared = if self.cleared.load(Ordering::SeqCst) { ", cleared" } else { "" };
        let hits = self.hits.load(Ordering::SeqCst);
        format!("{:?} on {:?}, {:?}: acted {hits} times{cleared}", self.effect, self.op, self.times)
    }

    pub(crate) fn clear(&self) {
        self.cleared.store(true, Ordering::SeqCst);
        self.released.send_replace(true);
    }
}

/// Control over one fault. Dropping it changes nothing: the fault stays.
#[derive(Clone, Debug)]
pub struct FaultHandle {
    pub(crate) fault: Arc<Fault>,
}

impl FaultHandle {
    pub(crate) fn new(op: Op, effect: Effect, times: Times) -> Self {
        let fault = Fault {
            op,
            effect,
            times,
            cleared: AtomicBool::new(false),
            hits: AtomicUsize::new(0),
            announced: watch::Sender::new(0),
            released: watch::Sender::new(false),
        };
        Self { fault: Arc::new(fault) }
    }

    /// The fault acts no more; answers that it holds are released.
    pub fn clear(&self) {
        self.fault.clear();
    }

    /// How many requests it acted on.
    #[must_use]
    pub fn hits(&self) -> usize {
        self.fault.hits.load(Ordering::SeqCst)
    }

    /// Waits until it acted on at least `n` requests; effects that commit have committed then (but for `CommitLate`).
    /// Without a time limit: put the test's own around it.
    pub async fn reached(&self, n: usize) {
        let mut announced = self.fault.announced.subscribe();
        // The sender lives in the fault that this handle keeps alive, so waiting cannot fail.
        let _ = announced.wait_for(|acted| *acted >= n).await;
    }

    /// Lets the answers go that `Effect::HoldReply` holds, now and later.
    pub fn release(&self) {
        self.fault.released.send_replace(true);
    }
}
