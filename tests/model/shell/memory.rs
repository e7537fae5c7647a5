//! What a replica knows of objects beyond its cache, and how it lets one go.

use super::*;

/// What a replica takes an object to be.
pub fn newest(world: &World, replica: usize, slot: usize) -> Option<Object> {
    let cached = world.replicas[replica].cache[slot]?;
    let known = world.replicas[replica].memory[slot].filter(|known| known.uid == cached.uid);
    Some(known.filter(|known| known.version >= cached.version).unwrap_or(cached))
}

pub fn remember(world: &mut World, replica: usize, object: Object, written: Option<Version>) {
    let slot = usize::from(object.slot);
    let state = &mut world.replicas[replica];
    let newer = state.cache[slot].is_none_or(|cached| cached.uid != object.uid || object.version > cached.version);
    state.memory[slot] = newer.then_some(object);
    state.written[slot] = written.map(|version| (object.uid, version));
}

pub fn forget(world: &mut World, replica: usize, slot: u8) {
    world.replicas[replica].memory[usize::from(slot)] = None;
    world.replicas[replica].written[usize::from(slot)] = None;
}

/// After a lost race the object is read anew.
pub fn catch_up(world: &mut World, replica: usize, seen: &Object) {
    let known = world.replicas[replica].written[usize::from(seen.slot)];
    let written = known.filter(|(uid, _)| *uid == seen.uid).map(|(_, version)| version);
    match world.object(seen) {
        Some(current) => remember(world, replica, current, written),
        None => forget(world, replica, seen.slot),
    }
}

pub fn older_holder(world: &World, replica: usize, object: &Object) -> bool {
    let others = world.replicas[replica].cache.iter().flatten();
    object
        .status
        .id
        .is_some_and(|id| others.into_iter().any(|other| other.status.id == Some(id) && other.uid < object.uid))
}

/// Another object that is seen to record the same target, and to stay.
pub fn co_holder(world: &World, replica: usize, object: &Object) -> Option<u8> {
    let id = object.status.id?;
    let mut others = world.replicas[replica].cache.iter().flatten();
    others
        .find(|other| other.uid != object.uid && other.status.id == Some(id) && !other.deleting)
        .map(|other| other.uid)
}

pub fn let_go(world: &mut World, replica: usize, object: &Object, release: LetGo) {
    let held = world.object(object).is_some();
    if release == LetGo::NothingRemote {
        bequeath(world, object.uid);
    }
    let done = world.write(object, false, |object| object.finalized = false);
    let heir = co_holder(world, replica, object);
    if let (LetGo::Retained, Some(heir), Some(id), true) = (release, heir, object.status.id, done.is_ok() && held) {
        hand_over(world, id, object.uid, heir);
    } else if done.is_ok() && held && release == LetGo::Retained {
        world.retained |= 1 << object.uid;
        world.kept |= object.status.id.map_or(0, |id| 1 << id);
    }
    match done {
        Err(Refused::Conflict) => catch_up(world, replica, object),
        _ => forget(world, replica, object.slot),
    }
    world.replicas[replica].pass = None;
}
