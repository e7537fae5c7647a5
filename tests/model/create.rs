//! The modelled create task: the one piece of work that outlives its pass, though not its process.

use super::cluster::Refused;
use super::config::{Fault, Mutation, Operator};
use super::convert;
use super::owner::touching;
use super::state::{Call, Date, Failure, Flaw, Id, Late, Learned, Object, Task, Work, World};
use super::zitadel;

impl Operator {
    /// The next thing that the task is at happens, and all goes well.
    pub fn task_go(&self, world: &mut World, replica: usize, task: usize) {
        let Task { base, settings, work, .. } = world.replicas[replica].tasks[task];
        match work {
            Work::Posting(None) => match world.create(settings, Some(base.uid)) {
                Ok((id, date)) => answered(world, replica, task, id, date),
                Err(failure) => self.failed(world, replica, task, failure),
            },
            Work::Posting(Some((id, date))) => answered(world, replica, task, id, date),
            Work::Committing(id, date, object) => self.commit(world, replica, task, (id, date), object),
            Work::Orphaned(id) => {
                touching(world, id, base.uid, |world| world.delete(id, Some(base.uid)));
                give_up(world, replica, task);
            }
        }
    }

    /// A fault of the create call; `false` if it cannot happen here.
    pub fn task_fault(&self, world: &mut World, replica: usize, task: usize, fault: Fault) -> bool {
        let Task { base, settings, work, awaited } = world.replicas[replica].tasks[task];
        let uid = base.uid;
        match (fault, work) {
            (Fault::LostReply, Work::Posting(None)) => {
                if world.create(settings, Some(uid)).is_err() {
                    return false;
                }
            }
            (Fault::Forwarded, Work::Posting(None)) => {
                if world.create(settings, Some(uid)).is_err() {
                    return false;
                }
                let broken = self.breaks(Mutation::AnyRefusalCounts);
                self.failed(world, replica, task, if broken { Failure::Refused } else { Failure::Forwarded });
                return true;
            }
            (Fault::LostRequest, Work::Posting(None)) | (Fault::LostReply, Work::Posting(Some(_))) => {}
            (Fault::GivenUp, Work::Posting(None)) => {
                let until = base.claim.map_or(world.now, |claim| claim.time + 1);
                world.late.push(Late { call: Call::Create(settings), uid, until });
            }
            (Fault::Refused, Work::Posting(None)) => {
                self.failed(world, replica, task, Failure::Refused);
                return true;
            }
            (Fault::Unconnected, Work::Posting(None)) => {
                self.failed(world, replica, task, Failure::Unconnected);
                return true;
            }
            (Fault::PassDeadline, Work::Committing(..)) if awaited => {
                world.replicas[replica].tasks[task].awaited = false;
                world.replicas[replica].pass = None;
                return true;
            }
            _ => return false,
        }
        match self.config.mutation {
            Some(Mutation::RepeatCreate) => {
                world.replicas[replica].tasks[task].work = Work::Posting(None);
                self.task_go(world, replica, task);
            }
            Some(Mutation::NoAnswerIsRefusal) => self.failed(world, replica, task, Failure::Unconnected),
            _ => self.failed(world, replica, task, Failure::NoAnswer),
        }
        true
    }

    fn failed(&self, world: &mut World, replica: usize, task: usize, failure: Failure) {
        if world.replicas[replica].tasks.remove(task).awaited {
            self.learn(world, replica, Learned::CreateFailed(failure));
        }
    }

    /// One round of the commit loop.
    fn commit(&self, world: &mut World, replica: usize, task: usize, made: (Id, Date), object: Object) {
        let (id, date) = made;
        let Task { base, settings, .. } = world.replicas[replica].tasks[task];
        match object.status.id {
            Some(held) if held == id => return self.committed(world, replica, task, made, object),
            Some(held) if Some(held) != base.status.id => {
                world.replicas[replica].tasks[task].work = Work::Orphaned(id);
                return;
            }
            _ => {}
        }
        let status = convert::committed(&object.status, base.generation, settings, id, date, self.config.api);
        match self.write_status(world, &object, status) {
            Ok(written) => {
                self.judge_ready(world, &base, &status, Some(date));
                self.committed(world, replica, task, made, written);
            }
            Err(Refused::Gone) => world.replicas[replica].tasks[task].work = Work::Orphaned(id),
            Err(Refused::Conflict) if self.breaks(Mutation::ForgetOnConflict) => {
                give_up(world, replica, task);
            }
            Err(Refused::Conflict) => {
                world.replicas[replica].tasks[task].work = match world.object(&object) {
                    Some(current) => Work::Committing(id, date, current),
                    None => Work::Orphaned(id),
                };
            }
        }
    }

    fn committed(&self, world: &mut World, replica: usize, task: usize, made: (Id, Date), object: Object) {
        let Task { settings, awaited, .. } = world.replicas[replica].tasks.remove(task);
        if awaited {
            self.take(world, replica, object);
            self.learn(world, replica, Learned::Created(settings, made.0, made.1));
        }
    }
}

/// ZITADEL carries the create out; the answer is still on its way.
pub fn land(world: &mut World, replica: usize, task: usize) {
    let Task { base, settings, .. } = world.replicas[replica].tasks[task];
    if let Ok(made) = world.create(settings, Some(base.uid)) {
        world.replicas[replica].tasks[task].work = Work::Posting(Some(made));
    }
}

fn answered(world: &mut World, replica: usize, task: usize, id: Id, date: Date) {
    let task = &mut world.replicas[replica].tasks[task];
    task.work = Work::Committing(id, date, task.base);
}

fn give_up(world: &mut World, replica: usize, task: usize) {
    let Task { base, work, awaited, .. } = world.replicas[replica].tasks.remove(task);
    if let Work::Committing(id, ..) | Work::Orphaned(id) = work
        && world.object(&base).is_none_or(|object| object.status.id != Some(id))
        && zitadel::alive(&world.log, id).is_some()
    {
        world.flaw = Some(Flaw::AnswerForgotten);
    }
    if awaited {
        world.replicas[replica].pass = None;
    }
}
