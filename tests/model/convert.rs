//! Between the little numbers of the model and the types of production, and the one place where production's
//! functions are called: `plan`, `names::holder`, `Facts::learn`, `Facts::waited`, `render`, `committed`, `as_posted`,
//! `surviving_creates`, `TargetName::same_as`.

mod asking;

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use zitadel_actions_operator::api::claim::{self as api_claim, Posted};
use zitadel_actions_operator::api::condition::{ConditionType, Health, conditions, find};
use zitadel_actions_operator::api::reason::Reason;
use zitadel_actions_operator::api::target::{ConnectionStatus, TargetSpec, TargetStatus};
use zitadel_actions_operator::plan::custody;
use zitadel_actions_operator::plan::facts::{self, Newest, as_posted};
use zitadel_actions_operator::plan::names::{self, HolderPlan, NameHolder, Named};
use zitadel_actions_operator::plan::ownership::Rival;
use zitadel_actions_operator::plan::{self, Account, Adoption, Answer, Connection, Facts, RemoteFacts, Step, Verdict};
use zitadel_actions_operator::zitadel::error::ApiError;
use zitadel_actions_operator::zitadel::events::{Added, EventKind, Posting, TargetEvent, surviving_creates};
use zitadel_actions_operator::zitadel::{self as real, Api, Kind, TargetName};

use asking::events;
pub use asking::{HASHES, plan, search, written};

use super::state::{
    Bound, Candidate, Change, Claim, Date, Event, Failure, Holder, Id, Learned, LetGo, Object, Origin, Other, Pass,
    Remote, Said, Settings, Status, Tick, Todo, Uid, Version, What,
};

/// Seconds per tick: a create's sender gives up within the tick after the claim, the request is dead in the tick
/// after that (35 s with the time-out below).
pub const TICK: i64 = 20;
/// The client's time-out.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The third name is the first one for ZITADEL. The rest frees a name for a moment: one for each object.
pub const NAMES: [&str; 10] = [
    "hook",
    "other",
    "HOOK",
    "third",
    "zitadel-actions-renaming-1",
    "zitadel-actions-renaming-2",
    "zitadel-actions-renaming-3",
    "zitadel-actions-renaming-4",
    "zitadel-actions-renaming-5",
    "zitadel-actions-renaming-6",
];
const TIMEOUTS: [&str; 3] = ["10s", "20s", "30s"];
const ENDPOINT: &str = "https://h/x";
const US: &str = "us";

/// Read once: it is asked for in every step.
static NOON: LazyLock<Timestamp> = LazyLock::new(|| "2026-11-24T12:00:00Z".parse().unwrap());

/// The moment at which a tick begins.
fn moment(tick: Tick) -> Timestamp {
    NOON.checked_add(SignedDuration::from_secs(TICK * i64::from(tick))).unwrap()
}

fn date(date: Date) -> Timestamp {
    if date == Date::BEGINNING {
        return Timestamp::UNIX_EPOCH;
    }
    moment(date.tick).checked_add(SignedDuration::from_millis(i64::from(date.no))).unwrap()
}

fn tick_of(time: Timestamp) -> Tick {
    let seconds = time.duration_since(moment(0)).as_secs();
    i8::try_from(seconds.div_euclid(TICK)).unwrap()
}

fn date_of(time: Timestamp) -> Date {
    if time < moment(Tick::MIN) {
        return Date::BEGINNING;
    }
    let tick = tick_of(time);
    // What is no date of an event, because a margin was taken off, is later than all of its tick.
    Date { tick, no: u8::try_from(time.duration_since(moment(tick)).as_millis()).unwrap_or(u8::MAX) }
}

fn name(index: u8) -> TargetName {
    NAMES[usize::from(index)].parse().unwrap()
}

fn name_of(text: &str) -> u8 {
    u8::try_from(NAMES.iter().position(|name| *name == text).unwrap()).unwrap()
}

/// Whether ZITADEL takes both for the same name.
pub fn same_name(one: u8, other: u8) -> bool {
    one == other || name(one).same_as(NAMES[usize::from(other)])
}

fn id(id: Id) -> real::TargetId {
    id.to_string().parse().unwrap()
}

fn id_of(text: &str) -> Id {
    text.parse().unwrap()
}

fn timeout(index: u8) -> real::Timeout {
    TIMEOUTS[usize::from(index)].parse().unwrap()
}

fn timeout_of(timeout: real::Timeout) -> u8 {
    let text = timeout.to_string();
    u8::try_from(TIMEOUTS.iter().position(|known| *known == text).unwrap()).unwrap()
}

fn config(settings: Settings) -> real::TargetConfig {
    real::TargetConfig {
        name: name(settings.name),
        kind: Kind::Async,
        timeout: timeout(settings.timeout),
        endpoint: ENDPOINT.parse().unwrap(),
        payload_type: real::PayloadType::Json,
    }
}

fn settings_of(config: &real::TargetConfig) -> Settings {
    Settings { name: name_of(config.name.as_str()), timeout: timeout_of(config.timeout) }
}

fn connection(api: Api) -> Connection {
    Connection {
        api,
        reference: None,
        payload_types: api.payload_types(None),
        url: "https://z".into(),
        instance: Some("i1".into()),
        sent_within: TIMEOUT,
        timeout: TIMEOUT,
        grace: Duration::from_mins(2),
        adoption: Adoption::Allowed,
        account: Account::Ours,
        server_version: None,
    }
}

fn error(failure: Failure) -> real::Error {
    let api =
        |status, code, id: &str| real::Error::Api(ApiError { status, code, message: "m".into(), id: Some(id.into()) });
    match failure {
        Failure::Unconnected => real::Error::Connect("refused".into()),
        Failure::NoAnswer => real::Error::NoAnswer("timed out".into()),
        // The worst of them: it looks like a taken name.
        Failure::Forwarded => api(409, 6, "EXEC-dra6yamk98"),
        Failure::Refused => api(400, 3, "COMMAND-NcJUKo"),
        Failure::Taken => api(409, 6, "V3-DKcYh"),
        Failure::Gone => api(404, 5, "COMMAND-xj14f2cccn"),
        Failure::Denied => api(403, 7, "AUTH-5mWD2"),
    }
}

fn version(version: Version) -> real::Version {
    real::Version { sequence: version.sequence.map(u64::from), changed: Some(date(version.changed)) }
}

fn version_of(version: &real::Version) -> Version {
    Version {
        sequence: version.sequence.map(|sequence| u8::try_from(sequence).unwrap()),
        changed: date_of(version.changed.unwrap()),
    }
}

fn candidate(candidate: Candidate) -> plan::Candidate {
    plan::Candidate {
        id: id(candidate.id),
        name: NAMES[usize::from(candidate.name)].into(),
        version: version(candidate.version),
        created: candidate.created.map(date),
        owner: None,
        posted: candidate.posted.map(posting),
    }
}

/// What a create with this timeout posts beside the name.
fn posting(timeout: u8) -> Posted {
    config(Settings { name: 0, timeout }).posted()
}

fn timeout_posted(posted: &Posted) -> u8 {
    (0..).zip(TIMEOUTS).map(|(index, _)| index).find(|index| posting(*index) == *posted).unwrap()
}

fn origin(origin: Origin) -> custody::Origin {
    custody::Origin {
        name: NAMES[usize::from(origin.settings.name)].into(),
        date: date(origin.date),
        ours: origin.ours,
        posted: Some(posting(origin.settings.timeout)),
    }
}

fn uid(uid: Uid) -> String {
    uid.to_string()
}

/// Who of ours has a name, by what a cache shows: mirrors what the shell reads of each object.
pub fn name_holder(cache: &[Option<Object>], asker: &Object, wanted: u8) -> Option<Holder> {
    let named = |object: &Object| Named {
        uid: uid(object.uid),
        born: Some(moment(object.born)),
        shown: "the Target other".into(),
        leaves: object.deleting,
        holds: object.status.id.and(object.status.name).map(|name| NAMES[usize::from(name)].to_owned()),
        wants: (!object.deleting).then(|| name(object.spec.settings.name)),
    };
    let all: Vec<_> = cache.iter().flatten().map(named).collect();
    names::holder(&all, &uid(asker.uid), &name(wanted)).map(|holder| match holder.plan {
        HolderPlan::Keeps => Holder::Keeps,
        HolderPlan::Leaves => Holder::Leaves,
        HolderPlan::WaitsForUs => Holder::WaitsForUs,
    })
}

fn holder(holder: Holder) -> NameHolder {
    let plan = match holder {
        Holder::Keeps => HolderPlan::Keeps,
        Holder::Leaves => HolderPlan::Leaves,
        Holder::WaitsForUs => HolderPlan::WaitsForUs,
    };
    NameHolder { shown: "the Target other".into(), plan }
}

fn other(other: Other) -> plan::Other {
    plan::Other { holds: other.holds.map(id), claim: other.claim.map(claim), older: other.older }
}

/// What the event store tells of how far it has come: production's word for it.
pub fn bound(log: &[Event], told: Range<usize>) -> Bound {
    let mut events: Vec<_> = events(log, told, false).collect();
    events.reverse();
    let bound = facts::Bound::of(&events);
    let bits = |ids: Vec<real::TargetId>| ids.iter().fold(0, |bits, id| bits | 1 << id_of(id.as_str()));
    Bound { newest: date_of(bound.newest), recent: bound.recent.map(bits) }
}

fn told(bound: Bound) -> facts::Bound {
    facts::Bound { newest: date(bound.newest), recent: bound.recent.map(|bits| ids(bits).map(id).collect()) }
}

fn ids(bits: u16) -> impl Iterator<Item = Id> {
    (0..16).filter(move |id| bits & (1 << id) != 0)
}

/// The object's claim, if it is open: production's word for it.
pub fn open_claim(object: &Object) -> Option<Claim> {
    let shown = object.status.id.map(|id| id.to_string());
    object.claim.filter(|held| claim(*held).is_open(shown.as_deref()))
}

fn remote(remote: Remote) -> real::RemoteTarget {
    let mut shown = posted(remote.settings, remote.id, remote.version, remote.created);
    shown.owner = None;
    shown
}

fn posted(settings: Settings, target: Id, at: Version, created: Option<Date>) -> real::RemoteTarget {
    as_posted(&config(settings), answered(target, at, created))
}

fn answered(target: Id, at: Version, created: Option<Date>) -> real::Created {
    real::Created { id: id(target), version: version(at), created: created.map(date), owner: None }
}

fn change(change: Change) -> real::Change {
    real::Change { name: change.name.map(name), timeout: change.timeout.map(timeout), ..real::Change::default() }
}

fn change_of(change: &real::Change) -> Change {
    assert!(change.kind.is_none() && change.endpoint.is_none(), "the model never changes these");
    Change { name: change.name.as_ref().map(|name| name_of(name.as_str())), timeout: change.timeout.map(timeout_of) }
}

fn claim(claim: Claim) -> api_claim::Claim {
    api_claim::Claim {
        name: NAMES[usize::from(claim.name)].into(),
        instance: Some("i1".into()),
        since: moment(claim.since),
        after: claim.after.map(date),
        known: claim.known.map(|bits| ids(bits).map(|id| id.to_string()).collect()),
        time: moment(claim.time),
        replaces: claim.replaces.map(|id| id.to_string()),
        repairs: u32::from(claim.repairs),
        object: Some(uid(claim.object)),
        posted: (0..)
            .zip(TIMEOUTS)
            .filter(|(index, _)| claim.posted & (1 << index) != 0)
            .map(|(index, _)| posting(index))
            .collect(),
    }
}

fn claim_of(claim: &api_claim::Claim) -> Claim {
    Claim {
        name: name_of(&claim.name),
        since: tick_of(claim.since),
        after: claim.after.map(date_of),
        known: claim.known.as_ref().map(|ids| ids.iter().fold(0, |bits, id| bits | 1 << id_of(id))),
        time: tick_of(claim.time),
        replaces: claim.replaces.as_deref().map(id_of),
        repairs: u8::try_from(claim.repairs).unwrap(),
        object: claim.object.as_deref().unwrap().parse().unwrap(),
        posted: claim.posted.iter().fold(0, |bits, posted| bits | 1 << timeout_posted(posted)),
    }
}

fn status(status: &Status, api: Api) -> TargetStatus {
    let health = |said| match said {
        Said::Ready => Health::Ready,
        Said::Idle => Health::Idle,
        Said::Reconciling => Health::Reconciling,
        Said::Stalled => Health::Stalled,
    };
    let said = status.said;
    TargetStatus {
        id: status.id.map(|id| id.to_string()),
        sequence: status.sequence.map(|sequence| sequence.to_string()),
        change_date: status.changed.map(|changed| date(changed).to_string()),
        creation_date: status.created.map(|created| date(created).to_string()),
        name: status.name.map(|name| NAMES[usize::from(name)].to_owned()),
        connection: status.connected.then(|| ConnectionStatus {
            instance: Some("i1".into()),
            url: "https://z".into(),
            api: api.to_string(),
            reference: None,
            server_version: None,
        }),
        observed_generation: Some(said.map_or(-1, |(_, _, generation)| i64::from(generation))),
        conditions: said.map_or_else(Vec::new, |(said, reason, generation)| {
            conditions(&[], health(said), reason, "", i64::from(generation), moment(0))
        }),
        ..TargetStatus::default()
    }
}

fn status_of(status: &TargetStatus) -> Status {
    let said = find(&status.conditions, ConditionType::Ready).map(|ready| {
        let present = |kind| find(&status.conditions, kind).is_some();
        let said = match (ready.status == "True", present(ConditionType::Reconciling), present(ConditionType::Stalled))
        {
            (true, false, false) => Said::Ready,
            (false, false, false) => Said::Idle,
            (false, true, false) => Said::Reconciling,
            (false, false, true) => Said::Stalled,
            sets => panic!("no such set of conditions: {sets:?}"),
        };
        let generation = u8::try_from(ready.observed_generation.unwrap()).unwrap();
        (said, Reason::parse(&ready.reason).unwrap(), generation)
    });
    Status {
        id: status.id.as_deref().map(id_of),
        sequence: status.sequence.as_deref().map(|text| text.parse().unwrap()),
        changed: status.change_date.as_deref().map(|text| date_of(text.parse().unwrap())),
        created: status.creation_date.as_deref().map(|text| date_of(text.parse().unwrap())),
        name: status.name.as_deref().map(name_of),
        connected: status.connection.is_some(),
        said,
    }
}

fn rendered(previous: &Status, verdict: &Verdict, generation: u8, api: Api) -> Status {
    // The clock of transition times stands still here: the ten-minute rule changes a reason, never a call.
    status_of(&plan::status::render(&status(previous, api), verdict, i64::from(generation), moment(0)))
}

/// The status that the create task commits.
pub fn committed(previous: &Status, generation: u8, settings: Settings, target: Id, at: Date, api: Api) -> Status {
    let remote = posted(settings, target, created_version(at, api), Some(at));
    rendered(previous, &plan::target::committed(&remote, &connection(api)), generation, api)
}

fn created_version(at: Date, api: Api) -> Version {
    Version { sequence: (api == Api::V3Alpha).then_some(1), changed: at }
}
