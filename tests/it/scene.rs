//! Where a behaviour takes place: a world, and what a test may see and do in the ZITADEL behind it.
//!
//! Behind a stand-in the truth is looked at directly. Of a real server there is only what its API shows, which may come
//! late, so there it is waited for. Every name that a scene uses begins with the id of its run.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use zitadel_actions_operator::api::target::Target;
use zitadel_actions_operator::zitadel::events::{EventKind as Told, EventQuery};
use zitadel_actions_operator::zitadel::{
    Change, Client, Error, Identity, Kind, OnError, PayloadType, TargetConfig, TargetId, Timeout,
};
use zitadel_stand_in::{EventKind, Target as Held, TargetEdit, TargetKind};

use crate::exposition::{self, CALLS};
use crate::world::{World, id, webhook};

/// The settings of a target, whoever shows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub name: String,
    pub kind: Option<Kind>,
    pub timeout: Duration,
    pub endpoint: String,
}

/// A world, and what is known of its ZITADEL.
pub struct Scene {
    pub world: World,
    /// The beginning of every name.
    pub run: String,
    /// What `status.connection.api` has to say.
    pub api: String,
    pub real: Option<Real>,
}

/// A server that is no stand-in.
pub struct Real {
    pub client: Client,
    pub identity: Identity,
    /// Date of the newest event before the run.
    pub since: Timestamp,
}

impl Real {
    /// What happened to targets that were created under a name of this run.
    async fn story(&self, run: &str) -> Result<Vec<(TargetId, Told)>, Error> {
        let events = self.client.events(&EventQuery::Story(self.since)).await?;
        let begun = |event: &&_| matches!(event, (_, Told::Added(posting)) if carries(&posting.name, run));
        let events: Vec<_> = events.into_iter().map(|event| (event.id, event.kind)).collect();
        let ours: Vec<TargetId> = events.iter().filter(begun).map(|(id, _)| id.clone()).collect();
        Ok(events.into_iter().filter(|(id, _)| ours.contains(id)).collect())
    }

    /// Deletes every target whose name carries the run's id, and tells how many there were. The operator of the run
    /// must have ended. A read side that is late shows targets that are gone: those are deleted again, in vain.
    pub async fn clean_up(&self, world: &World, run: &str) -> usize {
        let gone = || async {
            let story = self.story(run).await.expect("the server shows its events");
            story.iter().filter(|(_, kind)| *kind == Told::Removed).count()
        };
        let round = || async {
            let left = self.left(run).await?;
            for id in &left {
                self.client.delete(id).await?;
            }
            Ok::<_, Error>(left.is_empty())
        };
        let clean = || async {
            // A failure leaves it to the next round.
            round().await.unwrap_or_else(|error| {
                eprintln!("cleaning up after {run}: {error}");
                false
            })
        };
        let before = gone().await;
        world.until(&format!("no target of the run {run} is left"), clean).await;
        gone().await - before
    }

    /// The targets of a run that exist: those that the list shows, and those that the event store knows and a late or
    /// lossy read side does not show.
    async fn left(&self, run: &str) -> Result<Vec<TargetId>, Error> {
        let story = self.story(run).await?;
        let mut left: Vec<_> =
            self.client.list().await?.into_iter().filter(|row| carries(&row.name, run)).map(|row| row.id).collect();
        for (id, kind) in &story {
            let gone = story.iter().any(|(other, kind)| other == id && *kind == Told::Removed);
            if matches!(kind, Told::Added(_)) && !gone && !left.contains(id) {
                let renamed = self.client.get(id).await?.is_some_and(|row| !carries(&row.name, run));
                left.extend((!renamed).then(|| id.clone()));
            }
        }
        Ok(left)
    }
}

/// Whether a name is one of a run. Servers may show names in lower case.
fn carries(name: &str, run: &str) -> bool {
    name.to_lowercase().starts_with(&format!("{run}-"))
}

impl Scene {
    /// The remote name that stands for `name` in this run.
    pub fn named(&self, name: &str) -> String {
        format!("{}-{name}", self.run)
    }

    /// A spec whose remote name is one of this run. The endpoint is one that DNS knows, which newer servers look at;
    /// nothing calls it, as nothing executes the target.
    pub fn spec(&self, name: &str) -> Value {
        let mut spec = webhook();
        (spec["name"], spec["endpoint"]) = (json!(self.named(name)), json!("https://example.com/zitadel"));
        spec
    }

    /// Creates a Target object with such a spec.
    pub async fn create(&self, object: &str, name: &str) {
        self.world.create(object, self.spec(name)).await;
    }

    /// What ZITADEL holds under this id.
    pub async fn seen(&self, id: &str) -> Option<Shape> {
        match &self.real {
            None => self.world.zitadel.targets().into_iter().find(|held| held.id == id).map(shape_of_held),
            Some(real) => {
                let id: TargetId = id.parse().expect("ids are what the server gave");
                let shown = real.client.get(&id).await.expect("the server shows a target");
                shown.map(|row| Shape { name: row.name, kind: row.kind, timeout: row.timeout, endpoint: row.endpoint })
            }
        }
    }

    /// Waits until the object is Ready. From then on ZITADEL holds what the spec says, and status tells what it holds.
    pub async fn settled(&self, object: &str) -> Target {
        let target = self.world.ready(object).await;
        let wanted = shape_of_spec(&target);
        match &self.real {
            None => {
                assert_eq!(self.seen(&id(&target)).await, Some(wanted));
                crate::generations::assert_told(&self.world, &target, &self.api);
                target
            }
            Some(real) => {
                let what = format!("ZITADEL shows what {object} says");
                self.world.until(&what, || async { self.seen(&id(&target)).await.as_ref() == Some(&wanted) }).await;
                self.told(real, object, &wanted.name).await
            }
        }
    }

    /// Waits until status tells what a real server holds: its event store has the sequence in every generation.
    async fn told(&self, real: &Real, object: &str, name: &str) -> Target {
        let fits = || async {
            let target = self.world.get(object).await;
            let status = target.status.clone()?;
            let query = EventQuery::Newest(status.id?.parse().expect("status has an id that ZITADEL gave"));
            let newest = real.client.events(&query).await.expect("the server shows its events").pop()?;
            let connection = status.connection?;
            let told = (status.name?, status.sequence?, status.change_date?, connection.api);
            let wanted = (name.to_owned(), newest.sequence.to_string(), newest.date.to_string(), self.api.clone());
            let instance = real.identity.instance.is_none() || connection.instance == real.identity.instance;
            (told == wanted && instance).then_some(target)
        };
        self.world.until_some(&format!("the status of {object} tells what ZITADEL holds"), fits).await
    }

    /// What happened to the targets of this run on a real server.
    async fn story(&self, real: &Real) -> Vec<(TargetId, Told)> {
        real.story(&self.run).await.expect("the server shows its events")
    }

    /// How many events of this kind the targets of this run have.
    pub async fn count(&self, kind: EventKind) -> usize {
        let Some(real) = &self.real else { return self.world.count(kind) };
        let same = |told: &Told| match told {
            Told::Added(_) => kind == EventKind::Added,
            Told::Changed => kind == EventKind::Changed,
            Told::Removed => kind == EventKind::Removed,
            Told::Other => false,
        };
        self.story(real).await.iter().filter(|(_, told)| same(told)).count()
    }

    /// Over three resyncs nothing is written: not the object, not the remote target.
    pub async fn assert_rests(&self, object: &str) {
        let Some(real) = &self.real else { return self.world.assert_rests(object).await };
        let version = |target: Target| target.metadata.resource_version;
        let before = (version(self.world.get(object).await), self.story(real).await.len());
        self.resyncs(3).await;
        let after = (version(self.world.get(object).await), self.story(real).await.len());
        assert_eq!(after, before, "an object in sync was written, or its target\n{}", self.world.explain().await);
    }

    /// Waits until the operator has read ZITADEL's list so many times more, by its own count.
    async fn resyncs(&self, count: u32) {
        let before = self.lists().await;
        self.world.until("resyncs happen", || async { self.lists().await >= before + f64::from(count) }).await;
    }

    async fn lists(&self) -> f64 {
        exposition::scrape(self.world.port()).await.sum(CALLS, &[("op", "list")])
    }

    /// Somebody else changes a target.
    pub async fn meddle(&self, id: &str, name: &str, timeout: &str) {
        let change =
            Change { name: Some(name.parse().unwrap()), timeout: Some(timeout.parse().unwrap()), ..Change::default() };
        match &self.real {
            None => {
                let timeout = change.timeout.map(Timeout::duration);
                let edit = TargetEdit { name: Some(name.to_owned()), timeout, ..TargetEdit::default() };
                self.world.zitadel.external_update(id, edit);
            }
            Some(real) => drop(real.client.update(&id.parse().unwrap(), &change).await.expect("the change is taken")),
        }
    }

    /// Somebody else creates a target, and the operator has had time to see it: on a real server the somebody is the
    /// operator's own user, and what that user creates after a claim is the claim's.
    pub async fn somebody_creates(&self, name: &str) -> String {
        let Some(real) = &self.real else { return self.world.zitadel.external_create(name, TargetEdit::default()) };
        let config = TargetConfig {
            name: name.parse().unwrap(),
            kind: Kind::Webhook(OnError::Continue),
            timeout: "10s".parse().unwrap(),
            endpoint: "https://example.com/external".parse().unwrap(),
            payload_type: PayloadType::Json,
        };
        let turn = real.client.turn().await.expect("the client is connected");
        let id = real.client.create(turn, &config).await.expect("the target is created").id.to_string();
        self.world.until("the server shows the new target", || async { self.seen(&id).await.is_some() }).await;
        self.resyncs(2).await;
        id
    }

    /// Somebody else deletes a target.
    pub async fn somebody_deletes(&self, id: &str) {
        match &self.real {
            None => self.world.zitadel.external_delete(id),
            Some(real) => real.client.delete(&id.parse().unwrap()).await.expect("the target is deleted"),
        }
    }
}

fn shape_of_held(held: Held) -> Shape {
    let on_error = if held.interrupt_on_error { OnError::Interrupt } else { OnError::Continue };
    let kind = match held.kind {
        TargetKind::Webhook => Kind::Webhook(on_error),
        TargetKind::Call => Kind::Call(on_error),
        TargetKind::Async => Kind::Async,
    };
    Shape { name: held.name, kind: Some(kind), timeout: held.timeout, endpoint: held.endpoint }
}

/// What a spec asks for, read from its JSON: as a user reads it, not as the operator does.
pub fn shape_of_spec(target: &Target) -> Shape {
    let spec = serde_json::to_value(&target.spec).unwrap();
    let text = |field: &str| spec[field].as_str().expect("the spec has this field").to_owned();
    let on_error = |kind: &Value| match kind["interruptOnError"].as_bool() {
        Some(true) => OnError::Interrupt,
        _ => OnError::Continue,
    };
    let kind = match (spec.get("restWebhook"), spec.get("restCall")) {
        (Some(webhook), None) => Kind::Webhook(on_error(webhook)),
        (None, Some(call)) => Kind::Call(on_error(call)),
        _ => Kind::Async,
    };
    let seconds: f64 = text("timeout").trim_end_matches('s').parse().expect("a timeout is in seconds");
    Shape {
        name: text("name"),
        kind: Some(kind),
        timeout: Duration::from_secs_f64(seconds),
        endpoint: text("endpoint"),
    }
}
