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

/// Whether no date tells if the target that has a claimed name was there before the claim: it was made with our account
/// so shortly before that a step of the database's clock would explain it as well. Then a person has to decide.
fn is_undecided(world: &World, object: &Object) -> bool {
    let Some(claim) = open_claim(object) else { return false };
    zitadel::all(&world.log).any(|(id, by, settings)| {
        let made = zitadel::origin(&world.log, id).map(|origin| origin.date);
        let close = made.is_some_and(|made| claim.after.is_some_and(|after| made <= after && made.tick == after.tick));
        close && by.is_some() && same_name(settings.name, claim.name)
    })
}

fn is_satisfied(world: &World, object: &Object) -> bool {
    let wanted = object.spec.settings;
    let mut others = zitadel::all(&world.log).filter(|(_, by, _)| *by != Some(object.uid));
    let contested = others.any(|(_, _, settings)| same_name(settings.name, wanted.name));
    let ours: Vec<_> = zitadel::all(&world.log).filter(|(_, by, _)| *by == Some(object.uid)).collect();
    let said = object.status.said;
    if object.deleting || ours.len() > 1 {
        return false;
    }
    if contested {
        let known = ours.iter().all(|(id, ..)| object.status.id == Some(*id));
        let undecided = is_undecided(world, object);
        return known
            && said.is_some_and(|(_, reason, _)| match reason {
                Reason::NameTaken | Reason::AdoptionConflict => true,
                Reason::CreateOutcomeUnknown => undecided,
                _ => false,
            });
    }
    let ready = said.is_some_and(|(said, _, generation)| said == Said::Ready && generation == object.generation);
    ready && matches!(ours[..], [(id, _, settings)] if object.status.id == Some(id) && settings == wanted)
}
