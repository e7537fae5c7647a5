//! Whose a target is: I3 judges what is done to it, and what is recorded of it, by this.

use super::convert;
use super::state::{Flaw, Id, Object, Task, Work, World};
use super::zitadel;

/// Does something to a target for an object, and tells if it was none of that object's.
pub fn touching<T>(world: &mut World, id: Id, uid: u8, act: impl FnOnce(&mut World) -> T) -> T {
    let (before, owned) = (world.log.len(), take_over(world, id, uid));
    let result = act(world);
    if world.log.len() > before && !owned {
        world.flaw = Some(Flaw::ForeignTouched);
    }
    result
}

/// I3, when the id of a target has been recorded for an object.
pub fn judge_adoption(world: &mut World, id: Id, uid: u8) {
    if !take_over(world, id, uid) {
        world.flaw = Some(Flaw::ForeignAdopted);
    }
}

/// Whether a target is an object's from now on. One that was made for another has no owner, and whoever finds it may
/// have it, if its object was let go with Retain before its id was recorded; or if its object has not recorded it, and
/// no answer that tells of it is on its way any more.
fn take_over(world: &mut World, id: Id, uid: u8) -> bool {
    // What a restore took away is nobody's, and may still be recorded by who had just found it.
    let Some(maker) = zitadel::creator(&world.log, id) else { return world.restored };
    if maker == uid {
        return true;
    }
    let retained = world.retained & (1 << maker) != 0 && world.kept & (1 << id) == 0;
    if !retained && !will_never_know(world, maker, id) {
        return false;
    }
    for event in world.log.iter_mut().filter(|event| event.id == id && event.by == Some(maker)) {
        event.by = Some(uid);
    }
    true
}

/// Whether an object is there, has not recorded a target that was made for it, and no task will.
fn will_never_know(world: &World, maker: u8, id: Id) -> bool {
    let waits = |task: &Task| {
        let told = match task.work {
            Work::Posting(None) => false,
            Work::Posting(Some((made, _))) | Work::Committing(made, ..) | Work::Orphaned(made) => made == id,
        };
        told && task.base.uid == maker
    };
    let mut tasks = world.replicas.iter().flat_map(|replica| &replica.tasks);
    let mut objects = world.objects.iter().flatten();
    !tasks.any(waits) && objects.any(|object| object.uid == maker && object.status.id != Some(id))
}

/// What may have been made for an object that goes without it is what an older one, with an open claim on its name, looks
/// for: from then on it must find it.
pub fn bequeath(world: &mut World, uid: u8) {
    let left: Vec<_> = zitadel::all(&world.log).filter(|(_, by, _)| *by == Some(uid)).collect();
    for (id, _, settings) in left {
        let asks = |object: &&Object| {
            object.uid < uid && convert::open_claim(object).is_some_and(|c| convert::same_name(c.name, settings.name))
        };
        let heir = world.objects.iter().flatten().find(asks).map(|object| object.uid);
        for event in world.log.iter_mut().filter(|event| event.id == id && heir.is_some() && event.by == Some(uid)) {
            event.by = heir;
        }
    }
}
