//! The paths of a Target's life on which the operator is killed: what is there before, what the user does, and when
//! it is done.

use std::time::Duration;

use kube::api::{Patch, PatchParams};
use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_stand_in::{Generation, TargetEdit};

use crate::arena::Arena;
use crate::judge::{equal, settled};
use crate::report::Company;
use crate::world::{Setup, condition, id, is_ready, webhook};

const POLL: Duration = Duration::from_millis(100);

/// A path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A manifest is applied.
    Create,
    /// One field is changed.
    Update,
    /// The flag is lowered, which takes two updates.
    Lower,
    /// The remote name is changed.
    Rename,
    /// The object is deleted.
    Delete,
    /// Somebody deletes the remote target.
    Recreate,
    /// Somebody edits the remote target.
    Drift,
    /// Somebody strips the finalizer.
    Regain,
    /// A manifest is applied whose name is taken.
    Refuse,
}

/// Whether the operator sees it happen or finds it done when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Watching {
    /// The operator runs.
    Awake,
    /// The operator starts afterwards: its start is part of the path.
    Asleep,
}

impl Path {
    /// How many creates its history has.
    pub fn creates(self) -> usize {
        match self {
            Self::Recreate => 2,
            Self::Refuse => 0,
            _ => 1,
        }
    }

    /// How many of its runs go together: a target that is gone is waited for, in case the list is behind.
    pub fn company(self) -> Company {
        if self == Self::Recreate { Company::Patient } else { Company::Busy }
    }

    /// A world in which it can happen; the operator runs, or has run and was killed.
    pub async fn prepare(self, generation: Generation, watching: Watching) -> Arena {
        self.prepare_with(generation, watching, 0).await
    }

    /// The same, with ZITADEL's clock so many seconds off.
    pub async fn prepare_with(self, generation: Generation, watching: Watching, offset: i64) -> Arena {
        self.prepare_in(Setup::new(generation), watching, offset).await
    }

    /// The same, with flags of one's own.
    pub async fn prepare_in(self, setup: Setup, watching: Watching, offset: i64) -> Arena {
        let arena = Arena::with(setup).await;
        arena.zitadel.set_clock_offset(offset);
        let born = !matches!(self, Self::Create | Self::Refuse);
        if self == Self::Refuse {
            arena.zitadel.external_create("HOOK", TargetEdit::default());
        }
        if born || watching == Watching::Awake {
            arena.start().await;
        }
        if born {
            arena.create("hook", webhook()).await;
            settled(&arena).await;
            if watching == Watching::Asleep {
                arena.kill(&arena.operator()).await;
            }
        }
        arena
    }

    /// What happens.
    pub async fn act(self, arena: &Arena) {
        match self {
            Self::Create | Self::Refuse => drop(arena.create("hook", webhook()).await),
            Self::Update => drop(arena.edit("hook", json!({"timeout": "3s"})).await),
            Self::Lower => drop(arena.edit("hook", json!({"restWebhook": {"interruptOnError": false}})).await),
            Self::Rename => drop(arena.edit("hook", json!({"name": "renamed"})).await),
            Self::Delete => arena.delete("hook").await,
            Self::Recreate => arena.zitadel.external_delete(&remote_id(arena)),
            Self::Drift => {
                let edit =
                    TargetEdit { endpoint: Some("https://evil.example.com".to_owned()), ..TargetEdit::default() };
                arena.zitadel.external_update(&remote_id(arena), edit);
            }
            Self::Regain => {
                let patch = Patch::Merge(json!({"metadata": {"finalizers": []}}));
                arena.targets().patch("hook", &PatchParams::default(), &patch).await.expect("the patch is accepted");
            }
        }
    }

    /// Whether it is over.
    pub async fn done(self, arena: &Arena) -> bool {
        arena.holds(|objects| self.reached(arena, objects.first())).await
    }

    /// Waits until it is over, longer than for what goes well.
    pub async fn done_within(self, arena: &Arena, longest: Duration) {
        let done = async {
            while !self.done(arena).await {
                tokio::time::sleep(POLL).await;
            }
        };
        let over = tokio::time::timeout(longest, done).await;
        assert!(over.is_ok(), "not done within {longest:?}\n{}", arena.explain().await);
    }

    fn reached(self, arena: &Arena, object: Option<&Target>) -> bool {
        if self == Self::Delete {
            return object.is_none();
        }
        let Some(object) = object else { return false };
        match self {
            Self::Refuse => condition(object, "Stalled").is_some_and(|(_, reason, _)| reason == "NameTaken"),
            Self::Regain => object.metadata.finalizers.as_ref().is_some_and(|all| !all.is_empty()),
            _ => match arena.ours().as_slice() {
                [target] => is_ready(object) && equal(arena, object, target) && id(object) == target.id,
                _ => false,
            },
        }
    }
}

fn remote_id(arena: &Arena) -> String {
    arena.ours()[0].id.clone()
}
