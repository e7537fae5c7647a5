//! What must hold: I1 to I6, on every state that can be reached.

use stateright::Property;

use super::config::Operator;
use super::rest;
use super::state::{Call, Flaw, World};
use super::zitadel;

/// The properties, by the names under which counterexamples are reported.
pub fn all() -> Vec<Property<Operator>> {
    vec![
        Property::always("I1 at most one target per object", |_, world| one_each(world)),
        Property::always("I2 nothing is left behind", |_, world| nothing_left(world)),
        Property::always("I3 no foreign target is touched", |_, world: &World| {
            !matches!(world.flaw, Some(Flaw::ForeignTouched | Flaw::CoHeldDeleted))
        }),
        Property::always("I3 no foreign target is taken over", |_, world: &World| {
            world.flaw != Some(Flaw::ForeignAdopted)
        }),
        Property::always("I4 Ready is true", |_, world: &World| {
            !matches!(world.flaw, Some(Flaw::ReadyUntrue | Flaw::ReadyOutdated))
        }),
        Property::always("I5 rest is reached", |operator: &Operator, world| {
            operator.config.safety_only || rest::is_reached(operator, world).is_ok()
        }),
        Property::always("I6 passes end", |_, world: &World| world.flaw != Some(Flaw::EndlessPass)),
        Property::always("I6 no needless create", |_, world: &World| world.flaw != Some(Flaw::NeedlessCreate)),
        Property::always("an answer is never forgotten", |_, world: &World| world.flaw != Some(Flaw::AnswerForgotten)),
    ]
}

fn let_go(world: &World, uid: u8) -> bool {
    world.retained & (1 << uid) != 0
}

/// Targets that exist for an object of this uid.
pub fn targets_of(world: &World, uid: u8) -> usize {
    zitadel::all(&world.log).filter(|(_, by, _)| *by == Some(uid)).count()
}

fn one_each(world: &World) -> bool {
    (1..world.next_uid).all(|uid| let_go(world, uid) || targets_of(world, uid) <= 1)
}

/// When an object is gone and nothing is on its way for it, its target is gone too.
pub fn nothing_left(world: &World) -> bool {
    let lives = |uid| world.objects.iter().flatten().any(|object| object.uid == uid);
    let busy = |uid| {
        let mut tasks = world.replicas.iter().flat_map(|replica| &replica.tasks);
        let mut late = world.late.iter();
        tasks.any(|task| task.base.uid == uid)
            || late.any(|late| late.uid == uid && matches!(late.call, Call::Delete(_)))
    };
    (1..world.next_uid).all(|uid| lives(uid) || busy(uid) || let_go(world, uid) || targets_of(world, uid) == 0)
}
