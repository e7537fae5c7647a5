//! What can happen next, and what it does: the model that stateright explores.

use stateright::{Model, Property};

use super::config::{External, Fault, Operator, User};
use super::create::land;
use super::owner::touching;
use super::shell::newest;
use super::state::{Call, Event, Failure, Late, Learned, NOBODY, Replica, Settings, Status, Todo, What, Work, World};
use super::{properties, rest, zitadel};

/// One atomic event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// A replica begins a pass over the object in a slot.
    Start(u8, u8),
    /// The pending call or write of a replica's pass happens, and its answer arrives.
    Go(u8),
    /// It goes wrong.
    Fault(u8, Fault),
    /// A create task of a replica does its next thing.
    Task(u8, u8),
    /// Its request is carried out, and the answer is not there yet.
    TaskLands(u8, u8),
    /// It goes wrong.
    TaskFault(u8, u8, Fault),
    /// A replica dies and starts again. Its requests on the way die with it, or not.
    Crash(u8, bool),
    /// The watch of a replica delivers the object in a slot as it is now.
    Deliver(u8, u8),
    /// The read side shows one more event.
    Show,
    /// The open transaction ends.
    Unveil,
    /// A request that nobody waits for is carried out.
    LateLands(u8),
    Tick,
    User(u8, User),
    External(External),
}

const OLD: i8 = -20;

impl Model for Operator {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut world = World {
            now: 0,
            objects: vec![None; self.config.objects.len()],
            next_uid: 1,
            next_version: 1,
            log: Vec::new(),
            born: 0,
            restored: false,
            shown: 0,
            veil: None,
            expired: 0,
            late: Vec::new(),
            replicas: Vec::new(),
            left: self.config.budget,
            retained: 0,
            kept: 0,
            posts: 0,
            flaw: None,
        };
        if let Some(settings) = self.config.foreign {
            world.log.push(Event { id: 1, what: What::Added(settings), by: None, tick: OLD });
            (world.born, world.shown) = (1, 1);
        }
        world.replicas = vec![newborn(&world); usize::from(self.config.replicas)];
        for (slot, settings) in (0..).zip(&self.config.objects) {
            world.add_object(slot, *settings);
            if slot < self.config.established {
                rest::settle(self, &mut world);
            }
        }
        for replica in &mut world.replicas {
            replica.cache.clone_from(&world.objects);
        }
        world.normalise();
        vec![world]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // What follows a flaw is of no interest.
        if world.flaw.is_some() {
            return;
        }
        for (replica, state) in (0..).zip(&world.replicas) {
            self.replica_actions(world, replica, state, actions);
        }
        if usize::from(world.shown) < world.log.len() {
            actions.push(Action::Show);
        }
        if world.veil.is_some() {
            actions.push(Action::Unveil);
        }
        actions.extend((0..).zip(&world.late).map(|(index, _)| Action::LateLands(index)));
        if world.now < self.config.ticks && may_tick(world) {
            actions.push(Action::Tick);
        }
        if world.left.user > 0 {
            for slot in (0..).take(world.objects.len()) {
                let possible = self.config.user.iter().filter(|act| user_may(world, slot, **act));
                actions.extend(possible.map(|act| Action::User(slot, *act)));
            }
        }
        if world.left.external > 0 {
            actions.extend(self.config.external.iter().map(|act| Action::External(*act)));
        }
    }

    fn next_state(&self, before: &World, action: Action) -> Option<World> {
        let mut world = before.clone();
        if !self.act(&mut world, action) {
            return None;
        }
        if self.config.lag == 0 {
            world.shown = u8::try_from(world.log.len()).unwrap();
        }
        world.normalise();
        (world != *before).then_some(world)
    }

    fn within_boundary(&self, world: &World) -> bool {
        world.log.len() <= self.config.events_at_most
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all()
    }
}

impl Operator {
    fn replica_actions(&self, world: &World, replica: u8, state: &Replica, actions: &mut Vec<Action>) {
        let faulty = world.left.faults > 0;
        match &state.pass {
            None => {
                let slots = (0..).take(world.objects.len());
                let slots = slots.filter(|slot| !self.config.apart || *slot == replica);
                let known = slots.filter(|slot| newest(world, replica.into(), usize::from(*slot)).is_some());
                actions.extend(known.map(|slot| Action::Start(replica, slot)));
            }
            Some(pass) if pass.todo != Todo::Await => {
                actions.push(Action::Go(replica));
                if faulty {
                    let possible = self.config.faults.iter().filter(|fault| may_fail(pass.todo, **fault));
                    actions.extend(possible.map(|fault| Action::Fault(replica, *fault)));
                }
            }
            Some(_) => {}
        }
        for (index, task) in (0..).zip(&state.tasks) {
            actions.push(Action::Task(replica, index));
            if self.config.slow_answers && task.work == Work::Posting(None) {
                actions.push(Action::TaskLands(replica, index));
            }
            if faulty {
                actions.extend(self.config.faults.iter().map(|fault| Action::TaskFault(replica, index, *fault)));
            }
        }
        if world.left.crashes > 0 && (state.pass.is_some() || !state.tasks.is_empty()) {
            actions.push(Action::Crash(replica, false));
            if on_the_way(state).next().is_some() {
                actions.push(Action::Crash(replica, true));
            }
        }
        for slot in (0..).take(world.objects.len()) {
            if state.cache[usize::from(slot)] != world.objects[usize::from(slot)] {
                actions.push(Action::Deliver(replica, slot));
            }
        }
    }

    /// Does it; `false` if it cannot be done.
    pub fn act(&self, world: &mut World, action: Action) -> bool {
        match action {
            Action::Start(replica, slot) => self.start(world, replica.into(), slot.into()),
            Action::Go(replica) => self.go(world, replica.into()),
            Action::Fault(replica, fault) => {
                world.left.faults -= 1;
                self.fail(world, replica.into(), fault);
            }
            Action::Task(replica, task) => self.task_go(world, replica.into(), task.into()),
            Action::TaskLands(replica, task) => land(world, replica.into(), task.into()),
            Action::TaskFault(replica, task, fault) => {
                world.left.faults -= 1;
                return self.task_fault(world, replica.into(), task.into(), fault);
            }
            Action::Crash(replica, survives) => {
                crash(world, replica.into(), survives);
            }
            Action::Deliver(replica, slot) => deliver(world, replica.into(), slot.into()),
            Action::Show => world.shown += 1,
            Action::Unveil => world.veil = None,
            Action::LateLands(index) => {
                let Late { call, uid, .. } = world.late.remove(index.into());
                self.carry_out(world, call, uid);
            }
            Action::Tick => self.tick(world),
            Action::User(slot, act) => {
                world.left.user -= 1;
                user(world, slot, act);
            }
            Action::External(act) => {
                world.left.external -= 1;
                return self.external(world, act);
            }
        }
        true
    }

    pub fn carry_out(&self, world: &mut World, call: Call, uid: u8) {
        match call {
            Call::Create(_) => world.carry_out(call, Some(uid), self.config.api),
            Call::Update(id, _) | Call::Delete(id) => {
                touching(world, id, uid, |world| world.carry_out(call, Some(uid), self.config.api));
            }
        }
    }

    /// Time passes: what must have happened by then has happened.
    pub fn tick(&self, world: &mut World) {
        world.now += 1;
        let now = world.now;
        world.late.retain(|late| late.until >= now);
        let lag = self.config.lag;
        let old = |no: u8| world.log.get(usize::from(no)).is_some_and(|event| event.tick + lag <= now);
        world.veil = world.veil.filter(|no| !old(*no));
        let told = world.told().end;
        // The read side waits for open transactions as well.
        while usize::from(world.shown) < told && world.log[usize::from(world.shown)].tick + lag <= now {
            world.shown += 1;
        }
    }

    fn fail(&self, world: &mut World, replica: usize, fault: Fault) {
        let Some(pass) = world.replicas[replica].pass.clone() else { return };
        let uid = pass.object.uid;
        if fault == Fault::LostClusterReply {
            let (state, posts) = (world.replicas[replica].clone(), world.posts);
            self.go(world, replica);
            world.replicas[replica] = Replica { pass: None, ..state };
            world.posts = posts;
            return;
        }
        if let (Some(call), Fault::LostReply | Fault::Forwarded) = (changing(pass.todo), fault) {
            self.carry_out(world, call, uid);
        }
        if let (Some(call), Fault::GivenUp) = (changing(pass.todo), fault) {
            world.late.push(Late { call, uid, until: world.now + 1 });
        }
        let failure = match fault {
            Fault::Unconnected => Failure::Unconnected,
            Fault::Forwarded => Failure::Forwarded,
            _ => Failure::NoAnswer,
        };
        self.learn(
            world,
            replica,
            match pass.todo {
                Todo::Update(_, change, raise) => Learned::Updated(change, raise, Err(failure)),
                Todo::Delete(_) => Learned::Deleted(Err(failure)),
                Todo::Search { .. } => Learned::Searched(Err(failure)),
                Todo::LookUp(_) => Learned::LookedUp(Err(failure)),
                Todo::Read(_) => Learned::Read(Err(failure)),
                Todo::Probe(_) => Learned::Probed(Err(failure)),
                Todo::History(_) => Learned::History(Err(failure)),
                Todo::Bound => Learned::Bound(Err(failure)),
                Todo::Trace(_) => Learned::Traced(Err(failure)),
                todo => panic!("{todo:?} is no call"),
            },
        );
    }

    fn external(&self, world: &mut World, act: External) -> bool {
        let api = self.config.api;
        let ours = zitadel::all(&world.log).filter(|(_, by, _)| by.is_some_and(|uid| uid != NOBODY)).last();
        let change = |name, timeout| super::state::Change { name, timeout };
        match (act, ours) {
            (External::Restore, _) => may_tick(world) && self.restore(world),
            (External::Create(timeout), _) => world.create(Settings { name: 2, timeout }, None).is_ok(),
            (External::CreateAsUs(timeout), _) => world.create(Settings { name: 2, timeout }, Some(NOBODY)).is_ok(),
            (External::Hide, _) => {
                let told = u8::try_from(world.log.len()).unwrap();
                world.veil.replace(told).is_none()
            }
            (External::Expire, _) => {
                let told = u8::try_from(world.log.len()).unwrap();
                std::mem::replace(&mut world.expired, told) != told
            }
            (External::WriteId, _) => world.tamper(0, Status { id: Some(1), ..Status::default() }),
            (External::CopyStatus, _) => {
                let held = world.objects[0].map_or_else(Status::default, |object| object.status);
                held.id.is_some() && world.tamper(1, held) && world.finalize(1)
            }
            (External::Take, _) => world.update(1, change(Some(2), None), None, api).is_ok(),
            (External::Delete, Some((id, ..))) => {
                world.delete(id, None);
                true
            }
            (External::Edit, Some((id, ..))) => world.update(id, change(None, Some(2)), None, api).is_ok(),
            (External::Rename, Some((id, ..))) => world.update(id, change(Some(1), None), None, api).is_ok(),
            (_, None) => false,
        }
    }
}

impl Operator {
    /// It takes a tick, so that no later event has the date of one that is gone.
    fn restore(&self, world: &mut World) -> bool {
        self.tick(world);
        world.restored = true;
        let gone = world.log.pop().is_some();
        world.shown = world.shown.min(u8::try_from(world.log.len()).unwrap());
        world.expired = world.expired.min(u8::try_from(world.log.len()).unwrap());
        gone
    }
}

fn changing(todo: Todo) -> Option<Call> {
    match todo {
        Todo::Update(id, change, _) => Some(Call::Update(id, change)),
        Todo::Delete(id) => Some(Call::Delete(id)),
        _ => None,
    }
}

fn may_fail(todo: Todo, fault: Fault) -> bool {
    let asked = matches!(todo, Todo::Bound | Todo::Search { .. } | Todo::Trace(_) | Todo::History(_));
    let read = asked || matches!(todo, Todo::LookUp(_) | Todo::Read(_) | Todo::Probe(_));
    let claim = matches!(todo, Todo::Claim(_) | Todo::Redate(_) | Todo::DropClaim | Todo::Hold);
    let write = claim || matches!(todo, Todo::Commit(..) | Todo::Finish(_) | Todo::Release(_));
    match fault {
        Fault::UnansweredRead => read,
        Fault::LostClusterReply => write,
        Fault::LostRequest | Fault::LostReply | Fault::GivenUp | Fault::Forwarded => changing(todo).is_some(),
        Fault::Refused | Fault::Unconnected | Fault::PassDeadline => false,
    }
}

/// The requests of a replica that have not been carried out.
fn on_the_way(state: &Replica) -> impl Iterator<Item = (Call, u8, Option<i8>)> + '_ {
    let posting = state.tasks.iter().filter(|task| task.work == Work::Posting(None));
    let creates = posting.map(|task| (Call::Create(task.settings), task.base.uid, task.base.claim.map(|c| c.time + 1)));
    let other = state.pass.iter().filter_map(|pass| Some((changing(pass.todo)?, pass.object.uid, None)));
    creates.chain(other)
}

fn crash(world: &mut World, replica: usize, survives: bool) {
    world.left.crashes -= 1;
    if survives {
        let now = world.now;
        let late = on_the_way(&world.replicas[replica]).map(|(call, uid, until)| Late {
            call,
            uid,
            until: until.unwrap_or(now + 1),
        });
        let late: Vec<_> = late.collect();
        world.late.extend(late);
    }
    world.replicas[replica] = newborn(world);
}

/// A process begins with a list of the objects as they are.
fn newborn(world: &World) -> Replica {
    let slots = world.objects.len();
    Replica {
        cache: world.objects.clone(),
        memory: vec![None; slots],
        written: vec![None; slots],
        ..Replica::default()
    }
}

/// The watch delivers.
pub fn deliver(world: &mut World, replica: usize, slot: usize) {
    let current = world.objects[slot];
    let state = &mut world.replicas[replica];
    state.cache[slot] = current;
    let newer = |known: &super::state::Object| {
        current.is_some_and(|current| current.uid == known.uid && current.version < known.version)
    };
    state.memory[slot] = state.memory[slot].filter(newer);
}

/// A client does not wait longer than its time-out.
fn may_tick(world: &World) -> bool {
    let mut posting = world.replicas.iter().flat_map(|replica| &replica.tasks);
    posting.all(|task| {
        let until = task.base.claim.map_or(world.now, |claim| claim.time + 1);
        !matches!(task.work, Work::Posting(_)) || world.now < until
    })
}

fn user_may(world: &World, slot: u8, act: User) -> bool {
    match (act, &world.objects[usize::from(slot)]) {
        (User::Recreate, object) => object.is_none(),
        (_, None) => false,
        (User::Retain, Some(object)) => !object.spec.retain,
        (User::Delete | User::Edit | User::Rename, Some(object)) => !object.deleting,
        (User::Leave, Some(object)) => object.spec.settings.name != 3,
    }
}

fn user(world: &mut World, slot: u8, act: User) {
    match act {
        User::Edit => world.edit(slot, |spec| spec.settings.timeout = 1 - spec.settings.timeout),
        User::Rename => world.edit(slot, |spec| spec.settings.name = u8::from(spec.settings.name != 1)),
        User::Leave => world.edit(slot, |spec| spec.settings.name = 3),
        User::Retain => world.edit(slot, |spec| spec.retain = true),
        User::Delete => world.ask_deletion(slot),
        User::Recreate => world.add_object(slot, Settings { name: 0, timeout: 0 }),
    }
}
