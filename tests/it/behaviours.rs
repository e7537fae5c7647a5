//! The behaviour suite: what the operator does for a Target, on whatever server and with whatever credential.
//!
//! Each behaviour goes on from where the one before ended, on a Target named "hook". What a scene is, and what may be
//! seen and done in it, is in [`crate::scene`].

use std::sync::Arc;

use serde_json::json;
use zitadel_actions_operator::api::target::Target;
use zitadel_actions_operator::zitadel::{Kind, OnError};
use zitadel_stand_in::{Effect, EventKind, Op, Times};

use crate::scene::{Scene, shape_of_spec};
use crate::world::{id, is_ready};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Create,
    EveryField,
    Rename,
    Drift,
    Rest,
    NameTaken,
    LostAnswer,
    Retain,
    Delete,
}

impl Behaviour {
    pub const ALL: [Self; 9] = [
        Self::Create,
        Self::EveryField,
        Self::Rename,
        Self::Drift,
        Self::Rest,
        Self::NameTaken,
        Self::LostAnswer,
        Self::Retain,
        Self::Delete,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::EveryField => "every field",
            Self::Rename => "rename",
            Self::Drift => "drift",
            Self::Rest => "rest",
            Self::NameTaken => "name taken",
            Self::LostAnswer => "lost answer",
            Self::Retain => "Retain",
            Self::Delete => "delete",
        }
    }

    /// Whether a server has to fail on purpose for it.
    const fn needs_a_stand_in(self) -> bool {
        matches!(self, Self::LostAnswer)
    }

    async fn run(self, scene: &Scene) {
        match self {
            Self::Create => create(scene).await,
            Self::EveryField => every_field(scene).await,
            Self::Rename => rename(scene).await,
            Self::Drift => drift(scene).await,
            Self::Rest => scene.assert_rests("hook").await,
            Self::NameTaken => name_taken(scene).await,
            Self::LostAnswer => lost_answer(scene).await,
            Self::Retain => retain(scene).await,
            Self::Delete => delete(scene).await,
        }
    }
}

/// How a behaviour ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cell {
    Passed,
    Failed,
    /// Not possible there, or after one that failed.
    NotRun,
}

/// One server and credential, and how each behaviour ended there.
#[derive(Debug)]
pub struct Line {
    pub head: String,
    pub cells: Vec<Cell>,
}

impl Line {
    /// Nothing failed, and what was not run was not possible.
    pub fn is_good(&self) -> bool {
        !self.cells.contains(&Cell::Failed) && self.cells.contains(&Cell::Passed)
    }
}

/// Runs behaviours in this order until one fails, and tells of each.
pub async fn behave(scene: &Arc<Scene>, behaviours: &[Behaviour]) -> Vec<Cell> {
    let mut cells = vec![];
    for &behaviour in behaviours {
        let shared = Arc::clone(scene);
        let possible = scene.real.is_none() || !behaviour.needs_a_stand_in();
        cells.push(if cells.contains(&Cell::Failed) || !possible {
            Cell::NotRun
        } else if tokio::spawn(async move { behaviour.run(&shared).await }).await.is_ok() {
            Cell::Passed
        } else {
            Cell::Failed
        });
    }
    cells
}

/// A line for each server and credential, a column for each behaviour.
pub fn matrix(behaviours: &[Behaviour], lines: &[Line]) -> String {
    let row = |head: &str, cells: Vec<&str>| {
        let cells: Vec<_> = cells.into_iter().map(|cell| format!("{cell:>12}")).collect();
        format!("{head:22}{}", cells.concat())
    };
    let text = |cell: &Cell| match cell {
        Cell::Passed => "ok",
        Cell::Failed => "FAILED",
        Cell::NotRun => "-",
    };
    let head = row("", behaviours.iter().map(|behaviour| behaviour.name()).collect());
    let rows = lines.iter().map(|line| row(&line.head, line.cells.iter().map(text).collect()));
    [head].into_iter().chain(rows).collect::<Vec<_>>().join("\n")
}

async fn create(scene: &Scene) {
    scene.create("hook", "hook").await;
    let target = scene.settled("hook").await;
    let seen = scene.seen(&id(&target)).await.expect("it is there");
    assert_eq!((seen.name, seen.kind), (scene.named("hook"), Some(Kind::Webhook(OnError::Interrupt))));
    assert_eq!((seen.timeout.as_secs(), seen.endpoint.as_str()), (10, "https://example.com/zitadel"));
    assert_eq!(scene.count(EventKind::Added).await, 1);
}

async fn every_field(scene: &Scene) {
    let edits = [
        json!({"timeout": "0.5s"}),
        json!({"endpoint": "https://example.com/another"}),
        // Created with true: the server ignores a mere false.
        json!({"restWebhook": {"interruptOnError": false}}),
        json!({"restWebhook": null, "restCall": {"interruptOnError": true}}),
        json!({"restCall": null, "restAsync": {}}),
        json!({"restAsync": null, "restWebhook": {}}),
    ];
    for edit in edits {
        let before = shape_of_spec(&scene.world.get("hook").await);
        scene.world.edit("hook", edit.clone()).await;
        let target = scene.settled("hook").await;
        assert_ne!(scene.seen(&id(&target)).await, Some(before), "after {edit}");
    }
}

async fn rename(scene: &Scene) {
    let before = id(&scene.world.get("hook").await);
    for name in ["Renamed", "renamed"] {
        scene.world.edit("hook", json!({"name": scene.named(name)})).await;
        assert_eq!(id(&scene.settled("hook").await), before);
    }
    assert_eq!(scene.count(EventKind::Added).await, 1);
}

async fn drift(scene: &Scene) {
    let target = scene.world.get("hook").await;
    let wanted = Some(shape_of_spec(&target));
    let changes = scene.count(EventKind::Changed).await;
    scene.meddle(&id(&target), &scene.named("stolen"), "99s").await;
    let repaired =
        || async { scene.count(EventKind::Changed).await >= changes + 2 && scene.seen(&id(&target)).await == wanted };
    scene.world.until("drift is repaired", repaired).await;
    assert!(scene.world.note("DriftCorrected").await.contains("name, timeout"));
    let sequence =
        |target: &Target| target.status.as_ref().and_then(|status| status.sequence.as_ref()?.parse::<u64>().ok());
    let before = sequence(&target).expect("the status has a sequence");
    scene
        .world
        .until_target("hook", "told of its repair", |now| is_ready(now) && sequence(now) == Some(before + 2))
        .await;
    scene.settled("hook").await;
}

async fn name_taken(scene: &Scene) {
    scene.somebody_creates(&scene.named("Taken")).await;
    let created = scene.count(EventKind::Added).await;
    scene.create("second", "tAKEN").await;
    scene.world.reason("second", "NameTaken").await;
    assert_eq!(scene.count(EventKind::Added).await, created);
    scene.world.edit("second", json!({"name": scene.named("free")})).await;
    scene.settled("second").await;
    assert_eq!(scene.count(EventKind::Added).await, created + 1);
}

async fn lost_answer(scene: &Scene) {
    let created = scene.count(EventKind::Added).await;
    scene.world.zitadel.fault(Op::Create, Effect::LoseReply, Times::ONCE);
    scene.create("lost", "lost").await;
    let target = scene.settled("lost").await;
    let after = scene.count(EventKind::Added).await;
    assert_eq!(after, created + 1, "a lost answer is no reason for a second target");
    assert!(scene.world.note("Recovered").await.contains(&id(&target)));
}

async fn retain(scene: &Scene) {
    let removed = scene.count(EventKind::Removed).await;
    let mut spec = scene.spec("kept");
    spec["deletionPolicy"] = json!("Retain");
    scene.world.create("kept", spec).await;
    let target = scene.settled("kept").await;
    scene.world.delete("kept").await;
    scene.world.gone("kept").await;
    assert_eq!(scene.seen(&id(&target)).await, Some(shape_of_spec(&target)));
    assert_eq!(scene.count(EventKind::Removed).await, removed);
}

async fn delete(scene: &Scene) {
    let removed = scene.count(EventKind::Removed).await;
    let hook = id(&scene.world.get("hook").await);
    scene.world.delete("hook").await;
    scene.world.gone("hook").await;
    assert_eq!(scene.count(EventKind::Removed).await, removed + 1);
    scene.world.until("ZITADEL shows the target no more", || async { scene.seen(&hook).await.is_none() }).await;
    // Gone already: 404 on older servers, 200 on newer ones.
    scene.create("vanished", "vanished").await;
    let vanished = id(&scene.settled("vanished").await);
    scene.world.edit("vanished", json!({"suspend": true})).await;
    scene.world.reason("vanished", "Suspended").await;
    scene.somebody_deletes(&vanished).await;
    scene.world.delete("vanished").await;
    scene.world.edit("vanished", json!({"suspend": false})).await;
    scene.world.gone("vanished").await;
    assert_eq!(scene.count(EventKind::Removed).await, removed + 2);
}
