//! I5: from every state, once nothing goes wrong any more, rest is reached. Checked by running that continuation.
//!
//! The continuation is deterministic: everything on its way arrives, then each replica in turn makes one pass over
//! each object, then time passes. A state from which rest is known to be reached is remembered, so the whole check
//! costs about one step for each state.

use zitadel_actions_operator::api::reason::Reason;

use super::action::{Action, deliver};
use super::config::Operator;
use super::convert::{HASHES, open_claim, same_name};
use super::properties::nothing_left;
use super::state::{Budget, Late, Object, Said, Todo, World};
use super::zitadel;

/// Ticks within which rest must be reached: half of it is the longest wait that a claim can ask for.
const LONGEST: u32 = 12;
/// More steps than that in one go are a loop.
const MOST_STEPS: usize = 600;

/// Whether the calm continuation reaches rest without breaking another rule; if not, where it stands instead.
pub fn is_reached(operator: &Operator, world: &World) -> Result<(), Box<World>> {
    if world.flaw.is_some() {
        return Ok(());
    }
    let mut world = world.clone();
    world.left = Budget::default();
    world.posts = 0;
    let (mut path, mut turn, mut ticks) = (Vec::new(), 0, 0);
    let reached = loop {
        let print = print_of(&world, turn);
        if let Some(known) = operator.calm.lock().unwrap().get(&print) {
            break *known;
        }
        path.push(print);
        if ticks > LONGEST || path.len() > MOST_STEPS || world.flaw.is_some() {
            break false;
        }
        if advance(operator, &mut world, &mut turn, &mut ticks) {
            break true;
        }
    };
    operator.calm.lock().unwrap().extend(path.into_iter().map(|print| (print, reached)));
    if reached { Ok(()) } else { Err(Box::new(world)) }
}

/// Runs the calm continuation from the beginning to rest.
pub fn settle(operator: &Operator, world: &mut World) {
    let (mut turn, mut ticks) = (0, 0);
    while !advance(operator, world, &mut turn, &mut ticks) {
        assert!(ticks <= LONGEST, "no rest: {world:?}");
    }
}

/// One step of the calm continuation; `true` when it is at its end.
fn advance(operator: &Operator, world: &mut World, turn: &mut usize, ticks: &mut u32) -> bool {
    if !one_thing(operator, world) {
        if is_rest(world) && stays(operator, world) {
            return true;
        }
        let slots = world.objects.len();
        if *turn < world.replicas.len() * slots {
            operator.start(world, *turn / slots, *turn % slots);
            *turn += 1;
        } else {
            operator.tick(world);
            (*turn, *ticks) = (0, *ticks + 1);
        }
    }
    world.normalise();
    false
}

fn print_of(world: &World, turn: usize) -> u64 {
    HASHES.hash_one((world, turn))
}

/// Lets the next thing arrive that is on its way; `false` if there is none.
fn one_thing(operator: &Operator, world: &mut World) -> bool {
    if let Some(Late { call, uid, .. }) = world.late.pop() {
        operator.carry_out(world, call, uid);
        return true;
    }
    for replica in 0..world.replicas.len() {
        for slot in 0..world.objects.len() {
            if world.replicas[replica].cache[slot] != world.objects[slot] {
                deliver(world, replica, slot);
                return true;
            }
        }
    }
    if world.veil.take().is_some() {
        return true;
    }
    if usize::from(world.shown) < world.log.len() {
        world.shown += 1;
        return true;
    }
    for replica in 0..world.replicas.len() {
        let number = u8::try_from(replica).unwrap();
        if !world.replicas[replica].tasks.is_empty() {
            return operator.act(world, Action::Task(number, 0));
        }
        if world.replicas[replica].pass.as_ref().is_some_and(|pass| pass.todo != Todo::Await) {
            return operator.act(world, Action::Go(number));
        }
    }
    false
}

/// Whether further passes change nothing.
fn stays(operator: &Operator, world: &World) -> bool {
    let mut later = world.clone();
    for replica in 0..world.replicas.len() {
        for slot in 0..world.objects.len() {
            operator.start(&mut later, replica, slot);
            let mut steps = 0;
            while one_thing(operator, &mut later) && steps < 100 {
                steps += 1;
            }
        }
    }
    later.normalise();
    later == *world
}

/// Whether everything is as the user wants it, as far as others allow.
fn is_rest(world: &World) -> bool {
    nothing_left(world) && world.objects.iter().flatten().all(|object| is_satisfied(world, object))
}

fn is_satisfied(world: &World, object: &Object) -> bool {
    let wanted = object.spec.settings;
    let ours: Vec<_> = zitadel::all(&world.log).filter(|(_, by, _)| *by == Some(object.uid)).collect();
    let said = object.status.said;
    if is_undecidable(world, object) {
        return said.is_some_and(|(_, reason, _)| reason == Reason::CreateOutcomeUnknown);
    }
    // An id that somebody else wrote, and that nothing vouches for, is reported and waited for.
    let foreign = object.status.id.and_then(|id| zitadel::creator(&world.log, id)) != Some(object.uid);
    let reported = said.is_some_and(|(_, reason, _)| reason == Reason::AdoptionConflict);
    if object.status.id.is_some() && foreign && reported {
        return true;
    }
    if object.deleting || ours.len() > 1 {
        return false;
    }
    if is_contested(world, object, world.objects.len()) {
        let known =
            ours.iter().all(|(id, _, settings)| object.status.id == Some(*id) && settings.timeout == wanted.timeout);
        return known
            && said.is_some_and(|(_, reason, _)| matches!(reason, Reason::NameTaken | Reason::AdoptionConflict));
    }
    let ready = said.is_some_and(|(said, _, generation)| said == Said::Ready && generation == object.generation);
    ready && matches!(ours[..], [(id, _, settings)] if object.status.id == Some(id) && settings == wanted)
}

/// Whether a target that stays has the name which the object asks for: somebody else's, or one of an object that keeps its
/// name or waits itself. A circle of those who wait is to be resolved.
fn is_contested(world: &World, object: &Object, depth: usize) -> bool {
    let mut others = zitadel::all(&world.log).filter(|(_, by, _)| *by != Some(object.uid));
    let holder = others.find(|(_, _, settings)| same_name(settings.name, object.spec.settings.name));
    let Some((_, by, settings)) = holder else { return false };
    let owner = world.objects.iter().flatten().find(|owner| Some(owner.uid) == by);
    owner.is_none_or(|owner| {
        let keeps = same_name(owner.spec.settings.name, settings.name);
        keeps || (depth > 0 && is_contested(world, owner, depth - 1))
    })
}

/// Whether retention hides who created the target that has a claimed name: then a person has to decide.
fn is_undecidable(world: &World, object: &Object) -> bool {
    let Some(claim) = open_claim(object) else { return false };
    let mut all = zitadel::all(&world.log);
    let holder = all.find(|(_, _, settings)| same_name(settings.name, claim.name));
    holder.and_then(|(id, ..)| zitadel::birth(&world.log, id)).is_some_and(|no| no < usize::from(world.expired))
}
