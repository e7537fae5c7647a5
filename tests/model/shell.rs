//! The modelled shell: what `controller` does with the planner's steps, one atomic action for each call or write.

mod memory;

use zitadel_actions_operator::api::reason::Reason;

pub use memory::*;

use super::cluster::Refused;
use super::config::{Mutation, Operator};
use super::convert;
use super::owner::{bequeath, hand_over, judge_adoption, touching};
use super::state::{
    Candidate, Change, Claim, Date, Failure, Flaw, Holder, Id, Learned, LetGo, Object, Other, Pass, Replica, Said,
    Settings, Status, Task, Todo, Version, Work, World,
};
use super::zitadel;

/// A pass that has learned so much is in a loop (production's guard is 64 steps).
const LONGEST: usize = 24;

impl Operator {
    /// A pass begins with the newer of what the watch delivered and what our own last write returned.
    pub fn start(&self, world: &mut World, replica: usize, slot: usize) {
        let Some(object) = newest(world, replica, slot) else { return };
        let rival = older_holder(world, replica, &object);
        let known = world.replicas[replica].written[slot].filter(|(uid, _)| *uid == object.uid);
        let resumed = known.map(|(_, version)| version);
        let co_holder = co_holder(world, replica, &object).is_some();
        let pass = Pass { object, rival, co_holder, resumed, bounded: 0, learned: Vec::new(), todo: Todo::Connect };
        world.replicas[replica].pass = Some(pass);
        self.think(world, replica);
    }

    pub fn learn(&self, world: &mut World, replica: usize, learned: Learned) {
        let Some(pass) = &mut world.replicas[replica].pass else { return };
        pass.learned.push(learned);
        // What is known of the write side is remembered at once: the pass may end anyhow.
        let (slot, uid, written) = (pass.object.slot, pass.object.uid, convert::written(pass, self.config.api));
        if !self.breaks(Mutation::ForgetWritten) {
            world.replicas[replica].written[usize::from(slot)] = written.map(|version| (uid, version));
        }
        self.think(world, replica);
    }

    /// Asks the planner until it wants something that others can see or be seen by.
    fn think(&self, world: &mut World, replica: usize) {
        let now = world.now;
        loop {
            let Some(pass) = &mut world.replicas[replica].pass else { return };
            if pass.learned.len() > LONGEST {
                world.flaw = Some(Flaw::EndlessPass);
                return;
            }
            let asked = Pass { co_holder: pass.co_holder && !self.breaks(Mutation::DeleteCoHeld), ..pass.clone() };
            let todo = convert::plan(&asked, self.clock(pass, now), self.config.api);
            let todo = self.mutated(pass, todo, now);
            pass.todo = todo;
            match todo {
                Todo::Connect => pass.learned.push(Learned::Connected),
                Todo::AskNames(name) => {
                    let own = pass.object;
                    let holder = convert::name_holder(&world.replicas[replica].cache, &own, name);
                    let broken = self.breaks(Mutation::CircleStays) && holder == Some(Holder::WaitsForUs);
                    let holder = if broken { Some(Holder::Leaves) } else { holder };
                    let Some(pass) = &mut world.replicas[replica].pass else { return };
                    pass.learned.push(Learned::NameHolder(holder));
                }
                Todo::Create(_) if pass.object.claim.is_some_and(|claim| now > claim.time) => {
                    // The client does not send a create that had to wait too long after its claim.
                    pass.learned.push(Learned::CreateFailed(Failure::Unconnected));
                }
                Todo::Create(settings) => {
                    pass.todo = Todo::Await;
                    let task = Task { base: pass.object, settings, work: Work::Posting(None), awaited: true };
                    world.replicas[replica].tasks.push(task);
                    self.count_create(world);
                    return;
                }
                Todo::Survey => {
                    let shown = world.survey(self.config.api);
                    let Some(pass) = &mut world.replicas[replica].pass else { return };
                    pass.learned.push(Learned::Surveyed(shown));
                }
                Todo::Finish(status) if status == pass.object.status => {
                    let pass = pass.clone();
                    world.replicas[replica].pass = None;
                    self.rest(world, replica, &pass, pass.object);
                    return;
                }
                Todo::Ignore => {
                    let slot = pass.object.slot;
                    forget(world, replica, slot);
                    world.replicas[replica].pass = None;
                    return;
                }
                _ => return,
            }
        }
    }

    fn clock(&self, pass: &Pass, now: i8) -> i8 {
        let asked = pass.learned.iter().any(|l| matches!(l, Learned::Searched(_) | Learned::LookedUp(_)));
        if self.breaks(Mutation::RepostBeforeDead) && asked { now + 10 } else { now }
    }

    fn mutated(&self, pass: &Pass, todo: Todo, now: i8) -> Todo {
        let object = &pass.object;
        match (self.config.mutation, todo) {
            (Some(Mutation::RepostBeforeDead), Todo::Claim(claim)) => Todo::Claim(Claim { time: now, ..claim }),
            (Some(Mutation::ClaimWithoutSettling), Todo::Search { .. }) if !object.deleting => {
                let Settings { name, timeout } = object.spec.settings;
                let (replaces, posted) = (object.status.id, 1 << timeout);
                let (object, after, known) = (object.uid, None, None);
                Todo::Claim(Claim { name, since: now, after, known, time: now, replaces, repairs: 0, object, posted })
            }
            (Some(Mutation::LetGoWithOpenClaim), Todo::Search { .. }) if object.deleting => {
                Todo::Release(LetGo::NothingRemote)
            }
            (Some(Mutation::ReleaseBeforeDelete), Todo::Delete(_)) => Todo::Release(LetGo::Deleted),
            (Some(Mutation::DropOnConflict), Todo::LookUp(_))
                if pass.learned.contains(&Learned::Searched(Ok(vec![]))) =>
            {
                if object.deleting {
                    Todo::Release(LetGo::NothingRemote)
                } else {
                    Todo::DropClaim
                }
            }
            (Some(Mutation::NameHoldsBack), Todo::Update(..)) if pass.learned.iter().any(is_taken) => {
                let said = Some((Said::Reconciling, Reason::NameTaken, object.generation));
                Todo::Finish(Status { said, ..object.status })
            }
            (_, todo) => todo,
        }
    }

    fn count_create(&self, world: &mut World) {
        if !self.config.count_creates {
            return;
        }
        world.posts += 1;
        let (had, left) = (self.config.budget, world.left);
        let excuses = had.crashes - left.crashes + had.faults - left.faults + had.external - left.external;
        let objects = world.next_uid - 1;
        if world.posts > objects + excuses {
            world.flaw = Some(Flaw::NeedlessCreate);
        }
    }

    /// The pending call or write of a pass happens, and its answer arrives.
    pub fn go(&self, world: &mut World, replica: usize) {
        let Some(Pass { object, todo, bounded, co_holder, .. }) = world.replicas[replica].pass.clone() else { return };
        let (api, uid) = (self.config.api, object.uid);
        let learned = match todo {
            Todo::Claim(claim) => {
                let unwritten = self.breaks(Mutation::NoClaim);
                let written = world.write(&object, self.breaks(Mutation::BlindClaim), |object| {
                    object.finalized = true;
                    if !unwritten {
                        object.claim = Some(claim);
                        object.bounded = if claim.since == claim.time { bounded } else { object.bounded };
                    }
                });
                let written = written.map(|written| Object { claim: Some(claim), ..written });
                return self.go_on(world, replica, written, Learned::Claimed);
            }
            Todo::Hold => {
                let written = world.write(&object, false, |object| object.finalized = true);
                return self.go_on(world, replica, written, Learned::Done);
            }
            Todo::Redate(claim) => {
                let written = world.write(&object, false, |object| object.claim = Some(claim));
                return self.go_on(world, replica, written, Learned::Done);
            }
            Todo::DropClaim => {
                let written = world.write(&object, false, |object| object.claim = None);
                return self.go_on(world, replica, written, Learned::Done);
            }
            Todo::Commit(id, status) => {
                let written = self.write_status(world, &object, status);
                if written.is_ok() {
                    judge_adoption(world, id, uid);
                }
                return self.go_on(world, replica, written, Learned::Committed(id));
            }
            Todo::Finish(status) => {
                let written = self.write_status(world, &object, status);
                let pass = world.replicas[replica].pass.take();
                if let (Err(Refused::Conflict), Some(pass)) = (written, &pass) {
                    catch_up(world, replica, &pass.object);
                }
                if let (Ok(written), Some(pass)) = (written, pass) {
                    let acknowledged = pass.learned.iter().filter_map(acknowledged);
                    let known = acknowledged.chain(object.status.changed).max();
                    self.judge_ready(world, &object, &status, known);
                    self.rest(world, replica, &pass, written);
                }
                return;
            }
            Todo::Release(release) => return let_go(world, replica, &object, release),
            Todo::Search { .. } | Todo::Bound | Todo::Trace(_) | Todo::History(_) => {
                self.ask_events(world, replica, todo)
            }
            Todo::LookUp(name) => Learned::LookedUp(Ok(self.look_up(world, name))),
            Todo::AskOthers => Learned::Others(self.others(world, replica, uid)),
            Todo::Read(_) if self.breaks(Mutation::EmptyAnswerVouches) && untraced(&world.replicas[replica]) => {
                Learned::Read(Ok(None))
            }
            Todo::Read(id) => {
                let mut view = world.get(id, api);
                if let (true, Some(view)) = (self.breaks(Mutation::ReadyOnOldView), &mut view) {
                    let (sequence, changed) = zitadel::newest(&world.log, id).unwrap();
                    view.version = Version { sequence: view.version.sequence.map(|_| sequence), changed };
                }
                Learned::Read(Ok(view))
            }
            Todo::Probe(_) if self.breaks(Mutation::TrustReadSideNotFound) => Learned::Probed(Err(Failure::Gone)),
            Todo::Probe(_)
                if self.breaks(Mutation::ReadyWithoutProof) && viewed(&world.replicas[replica]).is_some() =>
            {
                Learned::Probed(Ok(viewed(&world.replicas[replica]).unwrap()))
            }
            Todo::Probe(id) => {
                let result = world.update(id, Change::default(), Some(uid), api);
                Learned::Probed(result)
            }
            Todo::Update(id, change, raise) => {
                let result = touching(world, id, uid, |world| world.update(id, change, Some(uid), api));
                Learned::Updated(change, raise, result)
            }
            Todo::Delete(id) => {
                if co_holder {
                    world.flaw = Some(Flaw::CoHeldDeleted);
                }
                touching(world, id, uid, |world| world.delete(id, Some(uid)));
                Learned::Deleted(Ok(()))
            }
            Todo::Wait => Learned::Waited,
            Todo::Connect | Todo::Create(_) | Todo::Await | Todo::Survey | Todo::AskNames(_) | Todo::Ignore => return,
        };
        self.learn(world, replica, learned);
    }

    /// What the event store answers.
    fn ask_events(&self, world: &mut World, replica: usize, todo: Todo) -> Learned {
        let denied = !self.config.events;
        match todo {
            Todo::Search { name, since } => Learned::Searched(self.search(world, name, since)),
            Todo::Bound if denied => Learned::Bound(Err(Failure::Denied)),
            Todo::Bound => {
                let told = world.told();
                if let (true, Some(pass)) = (self.account_is_shared(), &mut world.replicas[replica].pass) {
                    pass.bounded = u8::try_from(told.end).unwrap();
                }
                let old = usize::from(self.breaks(Mutation::OldBound)).min(told.len());
                Learned::Bound(Ok(convert::bound(&world.log, told.start..told.end - old)))
            }
            Todo::Trace(_) if denied => Learned::Traced(Err(Failure::Denied)),
            Todo::Trace(id) => Learned::Traced(Ok(world.trace(id))),
            Todo::History(_) if denied => Learned::History(Err(Failure::Denied)),
            Todo::History(id) => Learned::History(Ok(world.history(id))),
            todo => panic!("{todo:?} does not ask for events"),
        }
    }

    /// The pass goes on with the object as the API server returned it, or is over.
    fn go_on(&self, world: &mut World, replica: usize, written: Result<Object, Refused>, learned: Learned) {
        match written {
            Ok(object) => {
                self.take(world, replica, object);
                self.learn(world, replica, learned);
            }
            Err(refused) => {
                let pass = world.replicas[replica].pass.take();
                if let (Refused::Conflict, Some(pass)) = (refused, pass) {
                    catch_up(world, replica, &pass.object);
                }
            }
        }
    }

    /// The pass goes on with the object as the API server returned it.
    pub fn take(&self, world: &mut World, replica: usize, object: Object) {
        let Some(pass) = &mut world.replicas[replica].pass else { return };
        pass.object = object;
        let written = convert::written(pass, self.config.api);
        remember(world, replica, object, written);
    }

    /// The pass is over: an older view than what it wrote must not be taken for the current one by the next either.
    fn rest(&self, world: &mut World, replica: usize, pass: &Pass, object: Object) {
        let unread = object.status.said.is_none_or(|(said, ..)| said != Said::Ready);
        let written = if unread { convert::written(pass, self.config.api) } else { None };
        remember(world, replica, object, written);
    }

    pub fn write_status(&self, world: &mut World, seen: &Object, status: Status) -> Result<Object, Refused> {
        world.write(seen, self.breaks(Mutation::BlindStatus), |object| object.status = status)
    }

    fn search(&self, world: &World, name: u8, since: Date) -> Result<Vec<Candidate>, Failure> {
        if !self.config.events {
            return Err(Failure::Denied);
        }
        let found =
            convert::search((&world.log, world.told()), name, since, self.breaks(Mutation::AdoptOfAnotherEditor));
        let candidate = |(id, date, timeout): (Id, Date, u8)| Candidate {
            id,
            name,
            version: Version { sequence: Some(1), changed: date },
            created: Some(date),
            posted: Some(timeout).filter(|_| !self.breaks(Mutation::AnyPayload)),
        };
        Ok(found.into_iter().map(candidate).collect())
    }

    fn look_up(&self, world: &World, name: u8) -> Option<Candidate> {
        let found = world.find(name, self.config.api)?;
        let dated = self.breaks(Mutation::AdoptWithoutDateRule);
        let untouched = found.version.sequence == Some(1) || found.created == Some(found.version.changed);
        Some(Candidate {
            id: found.id,
            name: found.settings.name,
            version: found.version,
            created: if dated { Some(Date { tick: world.now, no: 0 }) } else { found.created },
            posted: Some(found.settings.timeout).filter(|_| untouched && !self.breaks(Mutation::AnyPayload)),
        })
    }

    /// The other objects, as the API server has them, or as the breaks of the rule take them to be.
    fn others(&self, world: &World, replica: usize, uid: u8) -> Vec<Other> {
        let stale = self.breaks(Mutation::AskTheCache);
        let known = if stale { &world.replicas[replica].cache } else { &world.objects };
        let others = known.iter().flatten().filter(|object| object.uid != uid);
        others
            .filter(|_| !self.breaks(Mutation::AdoptHeldByAnother))
            .map(|object| Other {
                holds: object.status.id,
                claim: convert::open_claim(object).filter(|_| !self.breaks(Mutation::AdoptClaimedByAnother)),
                older: object.uid < uid,
            })
            .collect()
    }

    /// I4, at the moment when a status has been written: `known` is the newest state that the writer knew of.
    pub fn judge_ready(&self, world: &mut World, object: &Object, status: &Status, known: Option<Date>) {
        let Some((Said::Ready, _, generation)) = status.said else { return };
        let (Some(id), Some(view)) = (status.id, status.changed) else {
            world.flaw = Some(Flaw::ReadyUntrue);
            return;
        };
        let wanted = Some(object.spec.settings);
        let as_viewed = zitadel::settings_at(&world.log, id, view);
        if world.restored
            && (as_viewed.is_none() || known.is_some_and(|known| zitadel::settings_at(&world.log, id, known).is_none()))
        {
            // What was read, or known, is of the history that was: I5 says that the one that is comes through.
            return;
        }
        if generation != object.generation || as_viewed != wanted || known.is_some_and(|known| view < known) {
            world.flaw = Some(Flaw::ReadyUntrue);
        } else if self.config.strict_ready && zitadel::alive(&world.log, id) != wanted {
            world.flaw = Some(Flaw::ReadyOutdated);
        }
    }
}

const fn is_taken(learned: &Learned) -> bool {
    matches!(learned, Learned::Updated(_, _, Err(Failure::Taken)))
}

/// Whether the event store has just told nothing of who created a target.
fn untraced(state: &Replica) -> bool {
    let learned = state.pass.iter().flat_map(|pass| &pass.learned).last();
    learned == Some(&Learned::Traced(Ok(None)))
}

/// The version that the read of a pass has shown.
fn viewed(state: &Replica) -> Option<Version> {
    let learned = state.pass.iter().flat_map(|pass| &pass.learned).last()?;
    if let Learned::Read(Ok(Some(view))) = learned { Some(view.version) } else { None }
}

/// The state that an answer acknowledges.
const fn acknowledged(learned: &Learned) -> Option<Date> {
    match learned {
        Learned::Created(_, _, date) => Some(*date),
        Learned::Updated(_, _, Ok(version)) | Learned::Probed(Ok(version)) => Some(version.changed),
        _ => None,
    }
}
