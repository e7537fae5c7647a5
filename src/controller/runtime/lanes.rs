//! Who of those who want to reconcile goes next: a fair share for each connection, and the urgent first.
//!
//! Slots are few, and one is held for as long as ZITADEL takes to answer. So no connection gets more than its share of
//! them: with k connections at work, 1/(k+1) of all, rounded up. What is left over is free for the next connection, whose
//! objects begin at once, whatever the others do. Within the share, new and changed objects go before retries, and
//! retries before resyncs; of each kind in the order of asking.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// How urgent a reconcile is, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Urgency {
    /// The object is new, changed or being deleted.
    Changed,
    /// An earlier reconcile has failed.
    Retry,
    /// Nothing is known to be wrong.
    Resync,
}

/// The slots, shared by all who reconcile; `T` names a connection.
#[derive(Debug)]
pub struct Lanes<T: Ord + Clone> {
    slots: usize,
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T: Ord + Clone> {
    tickets: u64,
    /// Those that run or wait, by connection.
    members: BTreeMap<T, Member<T>>,
}

#[derive(Debug)]
struct Member<T: Ord + Clone> {
    running: usize,
    /// By urgency.
    waiting: [VecDeque<Waiting<T>>; 3],
}

#[derive(Debug)]
struct Waiting<T: Ord + Clone> {
    ticket: u64,
    granted: oneshot::Sender<Slot<T>>,
}

/// The right to work for a connection; it ends when this is dropped.
#[derive(Debug)]
pub struct Slot<T: Ord + Clone> {
    /// None: it was never handed over.
    lanes: Option<Arc<Lanes<T>>>,
    of: T,
}

impl<T: Ord + Clone> Lanes<T> {
    /// So many slots for all.
    #[must_use]
    pub const fn new(slots: usize) -> Self {
        Self { slots, state: Mutex::new(State { tickets: 0, members: BTreeMap::new() }) }
    }

    /// Waits for a slot. Whoever gives up waiting holds nobody up.
    ///
    /// # Panics
    /// Never: a waiting place is granted before it is dropped.
    pub async fn enter(self: &Arc<Self>, of: &T, urgency: Urgency) -> Slot<T> {
        let (granted, slot) = oneshot::channel();
        {
            let mut state = self.lock();
            let ticket = state.tickets;
            state.tickets += 1;
            let member = state.members.entry(of.clone()).or_insert_with(Member::new);
            member.waiting[urgency as usize].push_back(Waiting { ticket, granted });
            self.grant(&mut state);
        }
        slot.await.expect("the lanes live as long as this future, and drop no place that somebody waits for")
    }

    /// Hands out what is free.
    fn grant(self: &Arc<Self>, state: &mut State<T>) {
        loop {
            state.members.retain(|_, member| !member.is_idle());
            let running: usize = state.members.values().map(|member| member.running).sum();
            let share = self.slots.div_ceil(state.members.len() + 1);
            if running >= self.slots {
                return;
            }
            let Some((of, next)) = state.next(share) else { return };
            let slot = Slot { lanes: Some(Arc::clone(self)), of: of.clone() };
            match next.granted.send(slot) {
                Ok(()) => state.members.entry(of).or_insert_with(Member::new).running += 1,
                // Nobody waits any more; dropping the slot must not give back what was not taken.
                Err(mut unwanted) => drop(unwanted.lanes.take()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Ord + Clone> State<T> {
    /// The most urgent of those whose connection has not its share yet, and of these the first.
    fn next(&mut self, share: usize) -> Option<(T, Waiting<T>)> {
        (0..3).find_map(|urgency| {
            let members = self.members.iter().filter(|(_, member)| member.running < share);
            let fronts = members.filter_map(|(of, member)| Some((member.waiting[urgency].front()?.ticket, of)));
            let of = fronts.min().map(|(_, of)| of.clone())?;
            let first = self.members.get_mut(&of)?.waiting[urgency].pop_front()?;
            Some((of, first))
        })
    }
}

impl<T: Ord + Clone> Member<T> {
    fn new() -> Self {
        Self { running: 0, waiting: [VecDeque::new(), VecDeque::new(), VecDeque::new()] }
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.iter().all(VecDeque::is_empty)
    }
}

impl<T: Ord + Clone> Drop for Slot<T> {
    fn drop(&mut self) {
        let Some(lanes) = self.lanes.take() else { return };
        let mut state = lanes.lock();
        if let Some(member) = state.members.get_mut(&self.of) {
            member.running = member.running.saturating_sub(1);
        }
        lanes.grant(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    type Names = Lanes<&'static str>;

    /// Who gets a slot at once.
    fn enters(lanes: &Arc<Names>, of: &'static str) -> Option<Slot<&'static str>> {
        Box::pin(lanes.enter(&of, Urgency::Changed)).now_or_never()
    }

    #[test]
    fn one_connection_leaves_room_for_the_next() {
        let lanes = Arc::new(Names::new(16));
        let slow: Vec<_> = (0..20).map_while(|_| enters(&lanes, "slow")).collect();
        assert_eq!(slow.len(), 8);
        let second: Vec<_> = (0..20).map_while(|_| enters(&lanes, "second")).collect();
        assert_eq!(second.len(), 6, "a third of all, rounded up");
        assert!(enters(&lanes, "healthy").is_some(), "there is room for another one still");
        drop((slow, second));
        assert!(lanes.lock().members.is_empty(), "nothing is kept of who is gone");
    }

    #[test]
    fn many_slow_connections_leave_room_for_the_next_once_each_has_its_share() {
        let lanes = Arc::new(Names::new(16));
        let names = ["a", "b", "c", "d", "e", "f"];
        let mut held: VecDeque<_> = names.iter().flat_map(|name| (0..16).map_while(|_| enters(&lanes, name))).collect();
        // Whoever ends asks for another one.
        for _ in 0..100 {
            let Some(ended) = held.pop_front() else { break };
            let of = ended.of;
            drop(ended);
            held.extend(enters(&lanes, of));
        }
        assert!(enters(&lanes, "healthy").is_some());
    }

    #[test]
    fn the_urgent_go_first_and_each_in_the_order_of_asking() {
        let lanes = Arc::new(Names::new(2));
        let running = enters(&lanes, "a").unwrap();
        let asking = [Urgency::Resync, Urgency::Retry, Urgency::Changed, Urgency::Changed];
        let mut waiting: Vec<_> = asking.iter().map(|urgency| Box::pin(lanes.enter(&"a", *urgency))).collect();
        assert!(waiting.iter_mut().all(|one| one.as_mut().now_or_never().is_none()));
        let mut order = Vec::new();
        let mut held = Some(running);
        while order.len() < waiting.len() {
            drop(held.take());
            for (index, one) in waiting.iter_mut().enumerate() {
                if !order.contains(&index)
                    && let Some(slot) = one.as_mut().now_or_never()
                {
                    order.push(index);
                    held = Some(slot);
                }
            }
        }
        assert_eq!(order, [2, 3, 1, 0]);
    }

    #[test]
    fn whoever_gives_up_holds_nobody_up() {
        let lanes = Arc::new(Names::new(2));
        let running = enters(&lanes, "a").unwrap();
        let mut first = Box::pin(lanes.enter(&"a", Urgency::Changed));
        assert!(first.as_mut().now_or_never().is_none());
        let mut second = Box::pin(lanes.enter(&"a", Urgency::Changed));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        drop(running);
        let slot = second.as_mut().now_or_never();
        assert!(slot.is_some());
        // Granted, and never looked at.
        let third = lanes.enter(&"a", Urgency::Changed);
        let mut third = Box::pin(third);
        assert!(third.as_mut().now_or_never().is_none());
        drop(slot);
        drop(third);
        assert!(lanes.lock().members.is_empty());
    }
}
