//! The handle that tests hold: start and stop, upgrades, faults, external edits, and the truth to assert
//! on. Users and what authenticates them are in `credentials`.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::core::command::{Change, Commands, NewTarget};
use crate::core::projection::Projection;
use crate::core::store::{EventStore, Visibility};
use crate::server::Server;
use crate::settings::describe;
use crate::wire::error::ApiError;
use crate::world::World;
use crate::{
    Call, Effect, Event, FaultHandle, Generation, Op, Options, PayloadType, Target, TargetEdit, TargetKind, Times,
};

/// A running server on 127.0.0.1, on a thread of its own. Clones share it; it stops when the last one is dropped.
#[derive(Clone)]
pub struct StandIn {
    inner: Arc<Inner>,
}

/// What the database of a stand-in held at some time: targets and their events. Users and tokens are not in it.
#[derive(Clone, Debug)]
pub struct Backup(EventStore);

struct Inner {
    server: Server,
    world: Arc<World>,
}

impl fmt::Debug for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StandIn")
            .field("generation", &self.generation())
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl StandIn {
    /// Starts a server.
    ///
    /// # Errors
    /// When the port cannot be bound.
    #[expect(
        clippy::unused_async,
        reason = "the signature that callers are to rely on, should starting ever have to wait"
    )]
    pub async fn start(options: Options) -> io::Result<Self> {
        let world = Arc::new(World::new(&options));
        let server = Server::start(Arc::clone(&world), options.port)?;
        Ok(Self { inner: Arc::new(Inner { server, world }) })
    }

    pub(crate) fn world(&self) -> &World {
        &self.inner.world
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.inner.server.address)
    }

    /// The generation that it speaks now.
    #[must_use]
    pub fn generation(&self) -> Generation {
        self.world().generation()
    }

    /// Another release takes over, at once and on the same address, with everything the instance holds: targets, events,
    /// users, credentials, tokens. Paths, shapes, checks and the version are its own; what it does not know of an older
    /// or newer release it does not show. What the methods of `settings` set stays, but for `set_version`. Between
    /// releases before and after v2.66.0 the read side is built from the first event (see `set_rebuild_time`). Real
    /// upgrades stop the server meanwhile: `pause`, `upgrade`, `resume`. Also the way back, which real servers do not have.
    pub fn upgrade(&self, generation: Generation) {
        self.world().upgrade(generation, false);
    }

    /// As `upgrade`, to a release that has the calls of `resources/v3alpha` at bare paths (see `Options::bare_paths`).
    pub fn upgrade_to_bare_paths(&self) {
        self.world().upgrade(Generation::ResourcesV3Alpha, true);
    }

    /// What its database holds now.
    #[must_use]
    pub fn back_up(&self) -> Backup {
        Backup(self.world().state().store.clone())
    }

    /// Puts its database back: what happened since has not happened, and the read side is built from what is left.
    pub fn restore(&self, backup: &Backup) {
        let mut state = self.world().state();
        state.store = backup.0.clone();
        state.window.open();
        state.projection = Projection::default();
        drop(state);
        self.world().changed();
    }

    /// Id of the instance, i.e. the `resourceOwner` of every target.
    #[must_use]
    pub fn instance_id(&self) -> String {
        self.world().instance_id.clone()
    }

    /// How long reads trail behind writes, in real time; also for events already written. Zero at start.
    pub fn set_projection_lag(&self, lag: Duration) {
        self.world().state().lag = lag;
    }

    /// How long reads stay empty after an upgrade that builds the projection anew; then they show everything, ghosts too.
    /// Zero at start.
    pub fn set_rebuild_time(&self, time: Duration) {
        self.world().state().rebuild = time;
    }

    /// Sets the feature flag `actions` at once; only `v3alpha` and `resources/v3alpha` look at it.
    pub fn set_actions_feature(&self, on: bool) {
        self.world().state().actions.force(on);
    }

    /// Replaces the names that "DNS" knows (see `Options::resolvable_hosts`).
    pub fn set_resolvable_hosts(&self, hosts: &[&str]) {
        self.world().state().endpoints.resolvable = hosts.iter().map(|host| (*host).to_owned()).collect();
    }

    /// Moves the server's clock: event dates, token expiry and the `Date` header, in seconds from the real time. Event
    /// dates grow all the same: turned back, each is one microsecond after the last.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.world().state().clock.set_offset(seconds);
    }

    /// Stops the server's clock at this time, whatever the offset; `None` lets it run again.
    pub fn freeze_clock(&self, at: Option<Timestamp>) {
        self.world().state().clock.freeze(at);
    }

    /// Sets a fault for an operation. Several may be set: the oldest that fits and is not used up acts.
    #[expect(clippy::must_use_candidate, reason = "the handle is for those who want it")]
    pub fn fault(&self, op: Op, effect: Effect, times: Times) -> FaultHandle {
        let handle = FaultHandle::new(op, effect, times);
        self.world().faults().push(Arc::clone(&handle.fault));
        handle
    }

    /// Removes every fault and releases held answers.
    pub fn clear_faults(&self) {
        for fault in self.world().faults().drain(..) {
            fault.clear();
        }
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.world().state().calls.clone()
    }

    /// The true history of all targets, in order.
    #[must_use]
    pub fn events(&self) -> Vec<Event> {
        self.world().state().store.events.iter().map(|stored| stored.event.clone()).collect()
    }

    /// The targets that exist, as the write side knows them, in order of creation.
    #[must_use]
    pub fn targets(&self) -> Vec<Target> {
        self.world().state().store.targets()
    }

    /// Creates a target as another user and returns its id.
    ///
    /// # Panics
    /// When the server would refuse it, e.g. because the name is taken: the test is wrong then.
    #[expect(clippy::must_use_candidate, reason = "a name is often enough")]
    pub fn external_create(&self, name: &str, deviations: TargetEdit) -> String {
        self.external_create_by(&self.external_user_id(), name, deviations)
    }

    /// As `external_create`, by the user with this id: with `user_id()`, as somebody who has the operator's own account
    /// (a script, Terraform, a second cluster).
    ///
    /// # Panics
    /// As `external_create`.
    #[expect(clippy::must_use_candidate, reason = "a name is often enough")]
    pub fn external_create_by(&self, editor: &str, name: &str, deviations: TargetEdit) -> String {
        let target = NewTarget {
            name: deviations.name.unwrap_or_else(|| name.to_owned()),
            kind: deviations.kind.unwrap_or(TargetKind::Webhook),
            interrupt_on_error: deviations.interrupt_on_error.unwrap_or_default(),
            timeout: nanos(deviations.timeout.unwrap_or(Duration::from_secs(10))),
            endpoint: deviations.endpoint.unwrap_or_else(|| "https://hooks.example.com/external".to_owned()),
            payload_type: deviations.payload_type.unwrap_or(PayloadType::UNSPECIFIED),
        };
        let created = self.external(editor, |commands| commands.add(target, Visibility::Projected));
        created.expect("an external create must be one that the server accepts").id
    }

    /// Edits a target as another user, with what the real server makes of it: a kind without a flag means false, and
    /// the quirk of docs/zitadel/observed.md 0.4 holds.
    ///
    /// # Panics
    /// When the server would refuse it (no such target, name taken): the test is wrong then.
    pub fn external_update(&self, id: &str, edit: TargetEdit) {
        self.external_update_by(&self.external_user_id(), id, edit);
    }

    /// As `external_update`, by the user with this id.
    ///
    /// # Panics
    /// As `external_update`.
    pub fn external_update_by(&self, editor: &str, id: &str, edit: TargetEdit) {
        let current = self.world().state().store.existing(id).map(|model| model.kind);
        let touched = edit.kind.is_some() || edit.interrupt_on_error.is_some();
        let kind = edit.kind.or(current).filter(|_| touched);
        let change = Change {
            name: edit.name,
            kind: kind.map(|kind| (kind, edit.interrupt_on_error.unwrap_or_default())),
            timeout: edit.timeout.map(nanos),
            endpoint: edit.endpoint,
            payload_type: edit.payload_type,
            new_signing_key: false,
        };
        let changed = self.external(editor, |commands| commands.change(id, change));
        changed.expect("an external update must be one that the server accepts");
    }

    /// Renames a target as another user.
    ///
    /// # Panics
    /// As `external_update`.
    pub fn external_rename(&self, id: &str, name: &str) {
        self.external_update(id, TargetEdit { name: Some(name.to_owned()), ..TargetEdit::default() });
    }

    /// Deletes a target as another user.
    ///
    /// # Panics
    /// When there is no such target: the test is wrong then.
    pub fn external_delete(&self, id: &str) {
        self.external_delete_by(&self.external_user_id(), id);
    }

    /// As `external_delete`, by the user with this id.
    ///
    /// # Panics
    /// As `external_delete`.
    pub fn external_delete_by(&self, editor: &str, id: &str) {
        let existed = self.external(editor, |commands| Ok(commands.remove(id)));
        assert!(existed == Ok(true), "an external delete must be of a target that exists");
    }

    fn external<T>(
        &self,
        editor: &str,
        run: impl FnOnce(&mut Commands<'_>) -> Result<T, ApiError>,
    ) -> Result<T, ApiError> {
        let world = self.world();
        let mut state = world.state();
        let result = run(&mut state.commands(editor, world.dialect().features()));
        drop(state);
        world.changed();
        result
    }

    /// Waits until the condition holds, looking again whenever a call arrives or is answered or an event is written.
    /// False when it did not hold within the time.
    pub async fn wait_for(&self, within: Duration, mut condition: impl FnMut(&Self) -> bool) -> bool {
        let mut versions = self.world().watch();
        let holds = async {
            while !condition(self) {
                // The sender lives in the world that this handle keeps alive, so waiting cannot fail.
                let _ = versions.changed().await;
            }
        };
        tokio::time::timeout(within, holds).await.is_ok()
    }

    /// The server goes away: open connections are cut and new ones refused. What was being handled is still committed.
    pub async fn pause(&self) {
        self.inner.server.pause().await;
    }

    /// The server comes back on the same port, with everything it knew.
    ///
    /// # Errors
    /// When the port was taken by somebody else meanwhile.
    pub async fn resume(&self) -> io::Result<()> {
        self.inner.server.resume().await
    }

    /// Calls, events, targets, faults and settings as readable text for the output of a failed test. Contains no token.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut lines = vec![format!("ZITADEL stand-in, {} on {}", self.generation(), self.url())];
        let mut section = |title: &str, content: Vec<String>| {
            lines.push(format!("{title} ({}):", content.len()));
            lines.extend(content.into_iter().map(|line| format!("  {line}")));
        };
        section("calls", self.calls().iter().map(Call::to_string).collect());
        section("events", self.events().iter().map(show_event).collect());
        section("targets", self.targets().iter().map(show_target).collect());
        section("settings", describe(&self.world().state()));
        section("faults", self.world().faults().iter().map(|fault| fault.describe()).collect());
        lines.join("\n")
    }
}

fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn show_event(event: &Event) -> String {
    let Event { target_id, sequence, kind, creation_date, editor, payload } = event;
    format!("{creation_date} {target_id} #{sequence} {kind:?} by {editor} {payload}")
}

fn show_target(target: &Target) -> String {
    let Target { id, name, kind, interrupt_on_error, timeout, endpoint, sequence, ghost, .. } = target;
    let flag = if *interrupt_on_error { ", interrupting" } else { "" };
    let ghost = if *ghost { ", a ghost" } else { "" };
    format!("{id} {name:?} {kind:?}{flag}, {timeout:?}, {endpoint} #{sequence}{ghost}")
}
