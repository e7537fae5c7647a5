//! Names that change hands between our own Targets.
//!
//! ZITADEL keeps names unique per instance, whatever the case, so a Target may have to wait for another one to give its
//! name up: by a rename, or by its end. Two that want each other's name would wait for ever; then one of them takes a
//! temporary name first. That needs no claim: the id is known, so a crash in between leaves a target whose name differs
//! from its spec, which the next reconcile renames. Pure: the shell lists the Targets of one place.

use jiff::Timestamp;

use super::facts::Facts;
use super::{Object, RemoteFacts, Step, Verdict};
use crate::zitadel::{Change, TargetId, TargetName};

/// One of our own Targets, as far as its name matters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// `metadata.uid`.
    pub uid: String,
    /// `metadata.creationTimestamp`.
    pub born: Option<Timestamp>,
    /// How to name it to the user of the waiting one.
    pub shown: String,
    /// The name that ZITADEL holds, if it has a target.
    pub holds: Option<String>,
    /// Whether it is being deleted, and its target with it.
    pub leaves: bool,
    /// The name that its spec asks for; none if nothing is done for it (it is suspended, observed or being deleted).
    pub wants: Option<TargetName>,
}

impl Named {
    fn has(&self, name: &TargetName) -> bool {
        self.holds.as_deref().is_some_and(|held| name.same_as(held))
    }

    /// The name that it waits for while it has another one.
    fn next(&self) -> Option<&TargetName> {
        self.wants.as_ref().filter(|wanted| self.holds.is_some() && !self.has(wanted))
    }
}

/// The one of ours that has a name which another one waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameHolder {
    /// How to name it to the user of the waiting one.
    pub shown: String,
    /// Whether it gives the name up.
    pub plan: HolderPlan,
}

/// Whose a taken name is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whose {
    /// None of our Targets has it.
    Stranger,
    /// One of them has.
    Ours(NameHolder),
}

/// What the holder of a name is about to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HolderPlan {
    /// It keeps the name.
    Keeps,
    /// It takes another name as soon as it can, or is being deleted.
    Leaves,
    /// It waits, by one step or several, for the name of the asking one, who is the oldest of the circle and goes first.
    WaitsForUs,
}

/// Who of `all` has `name`, as the one with `uid` needs to know it.
#[must_use]
pub fn holder(all: &[Named], uid: &str, name: &TargetName) -> Option<NameHolder> {
    let holder = all.iter().find(|named| named.uid != uid && named.has(name))?;
    let plan = match circle(all, uid, holder) {
        _ if holder.leaves => HolderPlan::Leaves,
        _ if holder.next().is_none() => HolderPlan::Keeps,
        Some(circle) if circle.iter().all(|other| is_before(all, uid, other)) => HolderPlan::WaitsForUs,
        _ => HolderPlan::Leaves,
    };
    Some(NameHolder { shown: holder.shown.clone(), plan })
}

/// Those who wait for each other from `first` on, if that leads back to the one with `uid`.
fn circle<'a>(all: &'a [Named], uid: &str, first: &'a Named) -> Option<Vec<&'a Named>> {
    let mut passed = vec![first];
    loop {
        let name = passed.last()?.next()?;
        let next = all.iter().find(|named| named.has(name))?;
        if next.uid == uid {
            return Some(passed);
        }
        if passed.iter().any(|known| known.uid == next.uid) {
            return None;
        }
        passed.push(next);
    }
}

fn is_before(all: &[Named], uid: &str, other: &Named) -> bool {
    let age = |named: &Named| (named.born, named.uid.clone());
    all.iter().find(|named| named.uid == uid).is_some_and(|own| age(own) < age(other))
}

/// The name that frees another one for as long as a circle is resolved; nobody else asks for it.
fn temporary(object: &Object<'_>) -> Option<TargetName> {
    format!("zitadel-actions-renaming-{}", object.uid).parse().ok()
}

/// What to do about a name that ZITADEL says is taken. `held` is the target that waits for it, if there is one.
pub(super) fn taken(
    object: &Object<'_>,
    name: &TargetName,
    held: Option<(&TargetId, RemoteFacts)>,
    facts: &Facts,
) -> Step {
    let Some(holder) = &facts.name_holder else { return Step::AskNames(name.clone()) };
    if let (Some((id, _)), Whose::Ours(NameHolder { plan: HolderPlan::WaitsForUs, .. }), Some(aside)) =
        (&held, holder, temporary(object))
    {
        let stepped_aside = facts.changes.iter().any(|change| change.name.as_ref() == Some(&aside));
        if !stepped_aside {
            let change = Change { name: Some(aside), ..Change::default() };
            return Step::Update { id: TargetId::clone(id), change, raise: false };
        }
    }
    let verdict = match holder {
        Whose::Stranger => Verdict::name_taken(),
        Whose::Ours(holder) => Verdict::name_held(holder),
    };
    let verdict = Verdict { remote: held.map(|(_, remote)| remote), ..verdict };
    // An Event quotes ZITADEL's own words, where it has said some.
    let refusal = facts.create_failed.as_ref().or(facts.refused.name.as_ref());
    Step::Finish(refusal.map_or(verdict.clone(), |error| verdict.because(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(uid: &str, holds: &str, wants: &str) -> Named {
        let second = uid.bytes().next().map_or(0, i64::from);
        Named {
            uid: uid.into(),
            born: Timestamp::from_second(second).ok(),
            shown: uid.into(),
            holds: Some(holds.into()),
            leaves: false,
            wants: wants.parse().ok(),
        }
    }

    fn plan(all: &[Named], uid: &str, name: &str) -> Option<HolderPlan> {
        holder(all, uid, &name.parse().unwrap()).map(|holder| holder.plan)
    }

    #[test]
    fn a_name_that_nobody_of_ours_has_has_no_holder() {
        assert_eq!(holder(&[named("a", "x", "y")], "a", &"x".parse().unwrap()), None);
    }

    #[test]
    fn a_holder_keeps_its_name_or_leaves() {
        let all = [named("a", "x", "y"), named("b", "Y", "Y"), named("c", "z", "w")];
        assert_eq!(plan(&all, "a", "y"), Some(HolderPlan::Keeps));
        assert_eq!(plan(&all, "a", "z"), Some(HolderPlan::Leaves));
        let going = [named("a", "x", "y"), Named { leaves: true, ..named("b", "y", "y") }];
        assert_eq!(plan(&going, "a", "y"), Some(HolderPlan::Leaves));
    }

    #[test]
    fn in_a_circle_only_the_oldest_steps_aside() {
        let pair = [named("a", "x", "y"), named("b", "y", "x")];
        assert_eq!(plan(&pair, "a", "y"), Some(HolderPlan::WaitsForUs));
        assert_eq!(plan(&pair, "b", "x"), Some(HolderPlan::Leaves));
        let three = [named("c", "x", "y"), named("b", "y", "z"), named("a", "z", "x")];
        assert_eq!(plan(&three, "a", "x"), Some(HolderPlan::WaitsForUs));
        assert_eq!(plan(&three, "b", "z"), Some(HolderPlan::Leaves));
        assert_eq!(plan(&three, "c", "y"), Some(HolderPlan::Leaves));
    }

    #[test]
    fn a_circle_of_others_is_theirs_to_resolve() {
        let all = [named("a", "w", "x"), named("b", "x", "y"), named("c", "y", "x")];
        assert_eq!(plan(&all, "a", "x"), Some(HolderPlan::Leaves));
    }
}
