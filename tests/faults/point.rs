//! Crash points: which call, which occurrence of it, and on which side of it the operator dies.

use std::collections::BTreeMap;
use std::fmt;

use devkit::proxy::{Act, KubeCall, Rule, RuleHandle};
use zitadel_stand_in::Op;

use crate::arena::Arena;

/// A call to either server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Spot {
    Kube(KubeCall),
    Zitadel(Op),
}

impl Spot {
    /// Whether it changes something: only then it can also arrive late.
    pub fn writes(self) -> bool {
        match self {
            Self::Kube(call) => call.writes(),
            Self::Zitadel(op) => matches!(op, Op::Create | Op::Update | Op::Delete),
        }
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kube(call) => write!(f, "Kubernetes {call:?}"),
            Self::Zitadel(op) => write!(f, "ZITADEL {op:?}"),
        }
    }
}

/// Where the operator dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Edge {
    /// The call has left and is lost.
    Before,
    /// The call has left and arrives after the operator was started again.
    Late,
    /// The call was carried out; its answer never arrives.
    After,
}

/// A crash point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Point {
    pub spot: Spot,
    /// How many calls of the same kind come before.
    pub skip: usize,
    pub edge: Edge,
}

/// The list that proves the connection, and one that compares; those that come after it, one a second for as long as a
/// run lasts, are the same call again.
const LISTS: usize = 2;

/// How far the logs were.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    kube: usize,
    zitadel: usize,
}

impl Mark {
    pub fn now(arena: &Arena) -> Self {
        Self { kube: arena.kube.log().len(), zitadel: arena.remote.log().len() }
    }

    /// Every crash point among the calls since then.
    pub fn points(self, arena: &Arena) -> Vec<Point> {
        let kube = arena.kube.log().into_iter().skip(self.kube).map(|entry| Spot::Kube(entry.call));
        let zitadel = arena.remote.log().into_iter().skip(self.zitadel).map(|entry| Spot::Zitadel(entry.call));
        let mut counts: BTreeMap<String, (Spot, usize)> = BTreeMap::new();
        for spot in kube.chain(zitadel) {
            counts.entry(format!("{spot:?}")).or_insert((spot, 0)).1 += 1;
        }
        let mut points = Vec::new();
        for (spot, count) in counts.into_values() {
            let count = if spot == Spot::Zitadel(Op::List) { count.min(LISTS) } else { count };
            for skip in 0..count {
                let late = spot.writes().then_some(Edge::Late);
                let edges = [Some(Edge::Before), late, Some(Edge::After)];
                points.extend(edges.into_iter().flatten().map(|edge| Point { spot, skip, edge }));
            }
        }
        points
    }
}

/// A point that is armed.
pub enum Armed {
    Kube(RuleHandle<KubeCall>),
    Zitadel(RuleHandle<Op>),
}

impl Point {
    pub fn arm(self, arena: &Arena) -> Armed {
        let act = match self.edge {
            Edge::Before | Edge::Late => Act::HoldRequest,
            Edge::After => Act::HoldAnswer,
        };
        match self.spot {
            Spot::Kube(call) => Armed::Kube(arena.kube.rule(Rule::nth(call, self.skip, act))),
            Spot::Zitadel(op) => Armed::Zitadel(arena.remote.rule(Rule::nth(op, self.skip, act))),
        }
    }
}

impl Armed {
    pub fn struck(&self) -> bool {
        match self {
            Self::Kube(handle) => handle.acted() > 0,
            Self::Zitadel(handle) => handle.acted() > 0,
        }
    }

    /// What is held arrives.
    pub fn release(&self) {
        match self {
            Self::Kube(handle) => handle.release(),
            Self::Zitadel(handle) => handle.release(),
        }
    }

    /// What is held is lost, and nothing more will be held.
    pub fn discard(&self) {
        match self {
            Self::Kube(handle) => (handle.clear(), handle.discard()),
            Self::Zitadel(handle) => (handle.clear(), handle.discard()),
        };
    }
}
