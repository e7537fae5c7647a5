//! F27: names change hands between Targets of ours, while calls fail and the operator is killed.

use std::fmt;

use devkit::proxy::{Act, Rule};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};
use zitadel_stand_in::{Effect, EventKind, Generation, Interruption, Op, Times};

use crate::arena::Arena;
use crate::judge::{judge, settled};
use crate::report::{Outcome, Suite, long, trial};
use crate::world::{GENERATIONS, webhook};

/// Who gets whose name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// Two swap their names, and one gets another endpoint in the same edit.
    Swap,
    /// Three pass theirs on in a circle.
    Circle,
    /// One takes the name that another one gives up.
    Succession,
    /// A new one waits for the name of one that is deleted.
    Inheritance,
}

impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Swap => "two Targets swap their names",
            Self::Circle => "three Targets pass their names round",
            Self::Succession => "a Target takes the name that another one gives up",
            Self::Inheritance => "a Target waits for the name of one that is deleted",
        })
    }
}

/// What goes wrong with one of the calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The call with this number is carried out, and its answer is lost.
    Lost(Op, usize),
    /// It never arrives.
    Cut(Op, usize),
    /// The operator dies before it is carried out.
    KilledBefore(Op, usize),
    /// The operator dies after it was carried out.
    KilledAfter(Op, usize),
    /// An execution fails every answer for a while, though the calls are carried out.
    Execution(Op),
}

fn named(name: &str) -> Value {
    let mut spec = webhook();
    spec["name"] = json!(name);
    spec
}

impl Move {
    /// How many Targets there are in the beginning, called a, b and c, with the names x, y and z.
    const fn targets(self) -> usize {
        match self {
            Self::Swap | Self::Succession => 2,
            Self::Circle => 3,
            Self::Inheritance => 1,
        }
    }

    /// How many creates its history has.
    const fn creates(self) -> usize {
        match self {
            Self::Inheritance => 2,
            _ => self.targets(),
        }
    }

    /// The calls that it needs, and how many of each.
    const fn calls(self) -> &'static [(Op, usize)] {
        match self {
            Self::Swap => &[(Op::Update, 3)],
            Self::Circle => &[(Op::Update, 4)],
            Self::Succession => &[(Op::Update, 2)],
            Self::Inheritance => &[(Op::Delete, 1), (Op::Create, 1)],
        }
    }

    async fn prepare(self, generation: Generation) -> Arena {
        let arena = Arena::running(generation).await;
        for (object, name) in [("a", "x"), ("b", "y"), ("c", "z")].into_iter().take(self.targets()) {
            arena.create(object, named(name)).await;
        }
        settled(&arena).await;
        arena
    }

    async fn act(self, arena: &Arena) {
        match self {
            Self::Swap => {
                arena.edit("a", json!({"name": "y", "endpoint": "https://hooks.example.com/new"})).await;
                arena.edit("b", json!({"name": "x"})).await;
            }
            Self::Circle => {
                for (object, name) in [("a", "y"), ("b", "z"), ("c", "x")] {
                    arena.edit(object, json!({"name": name})).await;
                }
            }
            Self::Succession => {
                arena.edit("a", json!({"name": "Y"})).await;
                arena.edit("b", json!({"name": "other"})).await;
            }
            Self::Inheritance => {
                arena.create("heir", named("X")).await;
                arena.reason("heir", "NameTaken").await;
                arena.delete("a").await;
            }
        }
    }
}

/// The names change hands with this fault in between; no target is made anew or lost.
async fn change_hands(what: Move, fault: Fault, generation: Generation) -> Outcome {
    let arena = what.prepare(generation).await;
    // The create that meets the taken name comes before the ones that count.
    let first = |op, number| number + usize::from(what == Move::Inheritance && op == Op::Create);
    let rule = |op, number, act| arena.remote.rule(Rule::nth(op, first(op, number), act));
    let held = match fault {
        Fault::None => None,
        Fault::Lost(op, number) => Some((rule(op, number, Act::CutAfter), false)),
        Fault::Cut(op, number) => Some((rule(op, number, Act::Cut), false)),
        Fault::KilledBefore(op, number) => Some((rule(op, number, Act::HoldRequest), true)),
        Fault::KilledAfter(op, number) => Some((rule(op, number, Act::HoldAnswer), true)),
        Fault::Execution(op) => {
            arena.zitadel.fault(op, Effect::ResponseExecution(Interruption::Failed), Times::N(4));
            None
        }
    };
    what.act(&arena).await;
    let mut outcome = Outcome::Struck;
    if let Some((rule, kills)) = held {
        tokio::select! {
            () = arena.until("the call is made", || async { rule.acted() > 0 }) => {}
            () = settled(&arena) => {}
        }
        if rule.acted() == 0 {
            rule.clear();
            outcome = Outcome::Missed;
        } else if kills {
            arena.kill(&arena.operator()).await;
            rule.discard();
            arena.start().await;
        }
    }
    if what == Move::Inheritance {
        arena.gone("a").await;
    }
    judge(&arena, what.creates()).await;
    let removed = usize::from(what == Move::Inheritance);
    assert_eq!(arena.count(EventKind::Removed), removed, "a target was deleted\n{}", arena.explain().await);
    arena.close().await;
    outcome
}

fn faults(what: Move) -> Vec<Fault> {
    let one = |(op, count): &(Op, usize)| {
        let (op, count) = (*op, *count);
        let each = move |number| {
            [
                Fault::Lost(op, number),
                Fault::Cut(op, number),
                Fault::KilledBefore(op, number),
                Fault::KilledAfter(op, number),
            ]
        };
        (0..count).flat_map(each).chain([Fault::Execution(op)]).collect::<Vec<_>>()
    };
    [Fault::None].into_iter().chain(what.calls().iter().flat_map(one)).collect()
}

async fn names_change_hands() -> Result<(), Failed> {
    let mut suite = Suite::new("F27");
    for what in [Move::Swap, Move::Circle, Move::Succession, Move::Inheritance] {
        suite.line(format!("F27 {what}"));
        for (number, fault) in faults(what).into_iter().enumerate() {
            for (place, generation) in GENERATIONS.into_iter().enumerate() {
                // The bounded form takes each fault in one generation, in turns.
                if long() || fault == Fault::None || number % GENERATIONS.len() == place {
                    suite.attempt(format!("{generation} {fault:?}"), change_hands(what, fault, generation));
                } else {
                    suite.point(&format!("F27 {what}"));
                }
            }
        }
    }
    suite.finish().await
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_names_change_hands", names_change_hands)]
}
