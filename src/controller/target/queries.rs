//! The questions of a pass: what it asks of ZITADEL and of the cache, in the planner's terms.

use jiff::Timestamp;
use kube::ResourceExt;

use crate::api::claim::{Claim, ClaimState};
use crate::api::reason::Reason;
use crate::api::target::{ManagementPolicy, Target};
use crate::controller::runtime::writer::WriteError;
use crate::controller::target::executor::{Pass, claim_of};
use crate::controller::target::has_finalizer;
use crate::controller::target::ownership::place_behind;
use crate::controller::target::{observer, orphans};
use crate::plan::custody::Origin;
use crate::plan::facts::{Bound, Newest};
use crate::plan::names::{self, NameHolder, Named};
use crate::plan::ownership::{Place, Rival};
use crate::plan::{Answer, Candidate, Change, Connection, Other};
use crate::zitadel::error::ApiError;
use crate::zitadel::events::{EventKind, EventQuery, Posting, surviving_creates};
use crate::zitadel::{Added, Error, Missing, RemoteTarget, TargetId, TargetName, Version};

impl Pass<'_> {
    pub(crate) async fn connect(&mut self) -> Answer {
        let (live, adoption) = match self.context.connection_of(&self.object).await {
            Ok(allowed) => allowed,
            Err(obstacle) => return Answer::Unconnected(obstacle),
        };
        if self.object.ready_reason() == Some(Reason::Unsupported) {
            // Whether the server has by now what it had not is told by its version alone, which is read when it is
            // proved.
            live.health.prove_again();
        }
        let result = live
            .health
            .ensure()
            .await
            .map(|(connection, who)| (Connection { reference: live.key.reference(), adoption, ..connection }, who));
        self.live = Some(live);
        self.connected = result.clone().ok();
        Answer::Connected(result.map(|(connection, _)| connection))
    }

    pub(crate) fn find_rival(&self) -> Option<Rival> {
        let held = self.object.status.as_ref().and_then(|status| status.id.as_deref());
        let id = held.or(self.object.spec.external_id.as_deref())?;
        let (namespace, name) = self.context.older_holder(id, &self.object)?;
        // Status must not name what its readers may not see. The log is the administrator's.
        tracing::info!(id, holder = format!("{namespace}/{name}"), "another Target manages the target");
        Some(Rival::seen_from(self.object.namespace().as_deref(), (&namespace, &name)))
    }

    /// Another live Target that records the same remote target. Asked where that decides: before something is deleted, and
    /// for copies of objects.
    pub(crate) fn find_co_holder(&self) -> Option<Rival> {
        let deletes = self.object.metadata.deletion_timestamp.is_some()
            || self.object.ready_reason() == Some(Reason::NotProjected);
        let is_copy = claim_of(&self.object).is_of_another(self.object.metadata.uid.as_deref().unwrap_or_default());
        let id = held_by(&self.object).filter(|_| deletes || is_copy)?;
        let others = self.context.co_holders(id, &self.object);
        let own = self.object.namespace();
        others.first().map(|(namespace, name)| Rival::seen_from(own.as_deref(), (namespace, name)))
    }

    /// How far the event store has come, asked after this moment.
    pub(crate) async fn bound(&self) -> Result<Bound, Error> {
        let Some(live) = &self.live else { return Err(Error::Setup("the connection is not known yet".into())) };
        live.bound.newest(self.zitadel()?).await
    }

    /// Which of the Targets at the same place has a name.
    pub(crate) fn name_holder(&self, name: &TargetName) -> Option<NameHolder> {
        let place = self.context.place(&self.object);
        let targets = self.context.targets();
        let readable = targets.iter().filter_map(|object| object.0.as_ref().ok());
        let here = readable.filter(|other| Place::is_one(place.as_ref(), self.context.place(other).as_ref()));
        let own = self.object.namespace();
        let all: Vec<_> = here.map(|target| named(target, own.as_deref())).collect();
        names::holder(&all, self.object.uid().as_deref().unwrap_or_default(), name)
    }

    /// Reads a target; from the last list, if that shows the very state that status records and nothing was asked for
    /// since.
    pub(crate) async fn read(&self, id: &TargetId) -> Result<Option<RemoteTarget>, Error> {
        let observed = self.object.status.as_ref().and_then(|status| status.observed_generation);
        let old_news = observed == self.object.metadata.generation && self.handled() == self.requested();
        if self.facts.untouched()
            && old_news
            && let (Some(live), Some((connection, _))) = (&self.live, &self.connected)
            && let Some(listed) = self.context.observers().of(live).unchanged(id, &self.object, connection.api).await
        {
            return Ok(Some(listed));
        }
        self.zitadel()?.get(id).await
    }

    pub(crate) async fn search(&self, name: &TargetName, since: Timestamp) -> Result<Vec<Candidate>, Error> {
        let user = self.own_user()?;
        let events = self.zitadel()?.events(&EventQuery::Since(since)).await?;
        let candidate = |added: Added| Candidate {
            id: added.id,
            name: name.to_string(),
            version: Version { sequence: Some(added.sequence), changed: Some(added.date) },
            created: Some(added.date),
            owner: added.owner,
            posted: added.posted,
        };
        Ok(surviving_creates(&events, name, user).into_iter().map(candidate).collect())
    }

    /// The id of our own user.
    fn own_user(&self) -> Result<&str, Error> {
        let Some((_, identity)) = &self.connected else {
            return Err(Error::Setup("the connection is not known yet".into()));
        };
        let missing = identity.capabilities.identity.missing();
        identity.user.as_deref().ok_or_else(|| match missing {
            // It may be readable in a moment: nothing is concluded from that.
            Some(Missing::NotAnswering) => Error::NotAvailable(Missing::NotAnswering),
            _ => Error::Api(own_user_hidden()),
        })
    }

    pub(crate) async fn look_up(&self, name: &TargetName) -> Result<Option<Candidate>, Error> {
        let found = self.zitadel()?.find(name).await?;
        Ok(found.map(|remote| {
            // What it was created with shows only while nobody has changed it.
            let untouched = remote.version.sequence == Some(1) || remote.created == remote.version.changed;
            Candidate {
                posted: remote.as_if_posted().filter(|_| untouched),
                id: remote.id,
                name: remote.name,
                version: remote.version,
                created: remote.created,
                owner: remote.owner,
            }
        }))
    }

    /// The other Targets, for who holds and who may be making what was found.
    pub(crate) async fn others(&self) -> Result<Vec<Other>, WriteError> {
        let all = self.context.current_targets().await?;
        let others = all.iter().filter(|other| other.metadata.uid != self.object.metadata.uid);
        let place = self.context.place(&self.object);
        let concerned = others.filter(|other| Place::concerns(place.as_ref(), self.context.place(other).as_ref()));
        let mut found = Vec::new();
        for other in concerned {
            let claim = match open_claim(other) {
                Some(claim) if self.hears(other, &claim).await => Some(claim),
                _ => None,
            };
            found.push(other_of(other, &self.object, claim));
        }
        Ok(found)
    }

    /// Whether another Target's claim may have led to a create where this pass looks. Annotations are for anybody to
    /// write, so it is our finalizer and a connection to the same place, which its namespace may use, that make it
    /// count.
    async fn hears(&self, other: &Target, claim: &Claim) -> bool {
        let Some(live) = &self.live else { return false };
        if !has_finalizer(other.metadata.finalizers.as_deref()) {
            return false;
        }
        let Ok((theirs, _)) = self.context.connection_of(other).await else { return false };
        let mut claimed = place_behind(&theirs);
        // Until its connection is proved, only the claim says where it leads.
        claimed.instance = claimed.instance.or_else(|| claim.instance.clone());
        place_behind(live).hears(&claimed)
    }

    pub(crate) async fn update(&self, id: &TargetId, change: &Change) -> Result<Version, Error> {
        self.zitadel()?.update(id, change).await
    }

    pub(crate) async fn delete(&self, id: &TargetId) -> Result<(), Error> {
        self.zitadel()?.delete(id).await
    }

    pub(crate) async fn origin(&self, id: &TargetId) -> Result<Option<Origin>, Error> {
        let user = self.own_user()?;
        let events = self.zitadel()?.events(&EventQuery::Creation(id.clone())).await?;
        Ok(events.into_iter().find_map(|event| match event.kind {
            EventKind::Added(Posting { name, rest }) if event.id == *id => {
                Some(Origin { name, date: event.date, ours: event.editor.as_deref() == Some(user), posted: rest })
            }
            _ => None,
        }))
    }

    pub(crate) async fn history(&self, id: &TargetId) -> Result<Option<Newest>, Error> {
        let instance = self.connected.as_ref().and_then(|(_, identity)| identity.instance.as_deref());
        let Some(live) = &self.live else { return Ok(None) };
        self.context.observers().of(live).feed.newest(self.zitadel()?, instance, id, self.facts.shown()).await
    }

    pub(crate) async fn survey(&self) -> Answer {
        let held = self.object.status.as_ref().and_then(|status| status.id.as_deref()?.parse().ok());
        Answer::Surveyed(match (held, &self.live, &self.connected) {
            (Some(id), Some(live), Some((connection, _))) => {
                observer::survey(self.context, live, connection.api, &id).await
            }
            _ => None,
        })
    }
}

/// What matters of a Target's name. A Target of another namespace is not named to whoever may not see it.
fn named(target: &Target, own_namespace: Option<&str>) -> Named {
    let status = target.status.as_ref().filter(|status| status.id.is_some());
    let idle = target.suspended()
        || target.metadata.deletion_timestamp.is_some()
        || target.spec.management_policy.unwrap_or_default() == ManagementPolicy::Observe;
    let wanted = target.spec.name.clone().unwrap_or_else(|| target.name_any());
    Named {
        uid: target.uid().unwrap_or_default(),
        born: target.creation_timestamp().map(|time| time.0),
        shown: Rival::seen_from(own_namespace, (&target.namespace().unwrap_or_default(), &target.name_any()))
            .to_string(),
        holds: status.and_then(|status| status.name.clone()),
        leaves: target.metadata.deletion_timestamp.is_some() && !target.suspended() && !orphans::keeps(target),
        wants: if idle { None } else { wanted.parse().ok() },
    }
}

fn held_by(target: &Target) -> Option<&str> {
    target.status.as_ref().and_then(|status| status.id.as_deref())
}

fn open_claim(target: &Target) -> Option<Claim> {
    match claim_of(target) {
        ClaimState::Held(claim) if claim.is_open(held_by(target)) => Some(claim),
        _ => None,
    }
}

fn other_of(other: &Target, own: &Target, claim: Option<Claim>) -> Other {
    // Who is older is the same for both, whoever asks.
    let age = |target: &Target| (target.creation_timestamp(), target.uid());
    Other { holds: held_by(other).and_then(|id| id.parse().ok()), claim, older: age(other) < age(own) }
}

/// Where our own user id may not be read no event can be told to be ours: the same as not being allowed to read events.
fn own_user_hidden() -> ApiError {
    ApiError { status: 403, code: 7, message: "the id of our own user could not be read".into(), id: None }
}
