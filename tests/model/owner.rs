//! Whose a target is: I3 judges what is done to it, and what is recorded of it, by this.

use super::convert;
use super::state::{Flaw, Id, NOBODY, Object, Task, Work, World};
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
    if maker == NOBODY {
        let taken = is_indistinguishable(world, id, uid);
        if taken {
            hand_over(world, id, NOBODY, uid);
        }
        return taken;
    }
    let retained = world.retained & (1 << maker) != 0 && world.kept & (1 << id) == 0;
    if !retained && !will_never_know(world, maker, id) {
        return false;
    }
    hand_over(world, id, maker, uid);
    true
}

/// A target is another object's from now on.
pub fn hand_over(world: &mut World, id: Id, from: u8, to: u8) {
    for event in world.log.iter_mut().filter(|event| event.id == id && event.by == Some(from)) {
        event.by = Some(to);
    }
}

/// Whether nothing that can be asked for tells a target that somebody made with our account from the object's own: it is
/// newer than what was told when the claim was decided on, and was created with what the claim posts.
fn is_indistinguishable(world: &World, id: Id, uid: u8) -> bool {
    // A replica that has not seen yet that the object is gone acts on what it knows of it.
    let passes = world.replicas.iter().filter_map(|replica| replica.pass.as_ref()).map(|pass| &pass.object);
    let claim = world
        .objects
        .iter()
        .flatten()
        .chain(passes)
        .find_map(|object| Some((object.claim?, object.bounded)).filter(|_| object.uid == uid));
    let birth = zitadel::birth(&world.log, id).zip(zitadel::origin(&world.log, id));
    claim.zip(birth).is_some_and(|((claim, bounded), (no, origin))| {
        no >= usize::from(bounded) && claim.posted & (1 << origin.settings.timeout) != 0
    })
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
