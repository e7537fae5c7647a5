//! Between the little numbers of the model and the types of production, and the one place where production's
//! functions are called: `plan`, `names::holder`, `Facts::learn`, `Facts::waited`, `render`, `committed`, `as_posted`,
//! `surviving_creates`, `TargetName::same_as`.

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

fn answer(learned: &Learned, api: Api) -> Answer {
    match learned {
        Learned::Connected => Answer::Connected(Ok(connection(api))),
        Learned::Bound(newest) => Answer::Bound(newest.map(told).map_err(error)),
        Learned::Claimed => Answer::Claimed,
        Learned::Created(settings, target, at) => {
            Answer::Created(config(*settings), answered(*target, created_version(*at, api), Some(*at)))
        }
        Learned::CreateFailed(failure) => Answer::CreateFailed(error(*failure)),
        Learned::Searched(found) => {
            let found = found.as_ref().map(|found| found.iter().copied().map(candidate).collect());
            Answer::Searched(found.map_err(|failure| error(*failure)))
        }
        Learned::LookedUp(found) => Answer::LookedUp(found.map(|found| found.map(candidate)).map_err(error)),
        Learned::Others(others) => Answer::Others(others.iter().copied().map(other).collect()),
        Learned::NameHolder(found) => Answer::NameHolder(found.map(holder)),
        Learned::Traced(found) => Answer::Traced(found.map(|found| found.map(origin)).map_err(error)),
        Learned::Committed(target) => Answer::Committed(id(*target)),
        Learned::Read(view) => Answer::Read(view.map(|view| view.map(remote)).map_err(error)),
        Learned::Probed(result) => Answer::Probed(result.map(version).map_err(error)),
        Learned::Updated(sent, raise, result) => {
            Answer::Updated(change(*sent), *raise, result.map(version).map_err(error))
        }
        Learned::Surveyed(newest) => Answer::Surveyed(newest.map(date)),
        Learned::History(newest) => Answer::History(
            newest
                .map(|newest| {
                    newest.map(|(sequence, at)| Newest { sequence: sequence.into(), date: date(at), owner: None })
                })
                .map_err(error),
        ),
        Learned::Deleted(result) => Answer::Deleted(result.map_err(error)),
        Learned::Done => Answer::Done,
        Learned::Waited => panic!("waiting is no answer"),
    }
}

fn learned(resumed: Option<Version>, answers: &[Learned], api: Api) -> Facts {
    let mut facts = Facts::resume(resumed.map(version));
    for learned in answers {
        match learned {
            // One wait stands for all the pauses that a pass has: it reads once before and once after.
            Learned::Waited => (0..6).for_each(|_| facts.waited()),
            learned => facts.learn(answer(learned, api)),
        }
    }
    facts
}

/// State after the newest write that a pass knows of.
pub fn written(pass: &Pass, api: Api) -> Option<Version> {
    learned(pass.resumed, &pass.learned, api).written().map(version_of)
}

fn spec(object: &Object) -> TargetSpec {
    let settings = object.spec.settings;
    let policy = if object.spec.retain { "Retain" } else { "Delete" };
    serde_json::from_value(json!({
        "name": NAMES[usize::from(settings.name)], "restAsync": {}, "endpoint": ENDPOINT,
        "timeout": TIMEOUTS[usize::from(settings.timeout)], "deletionPolicy": policy,
    }))
    .unwrap()
}

/// The hash by which stateright knows states: the standard one takes a fifth of all time in the debug profile.
pub const HASHES: ahash::RandomState = ahash::RandomState::with_seeds(1, 2, 3, 4);

type Question = (Object, (bool, bool), Option<Version>, Vec<Learned>, Tick, bool);

thread_local! {
    static ANSWERS: RefCell<HashMap<Question, Todo, ahash::RandomState>> =
        const { RefCell::new(HashMap::with_hasher(HASHES)) };
}

/// Asks the planner. It is a pure function, so each question is asked once per thread.
pub fn plan(pass: &Pass, now: Tick, api: Api) -> Todo {
    // None of these is shown to the planner.
    let seen = Object { slot: 0, version: 0, bounded: 0, ..pass.object };
    let question = (seen, (pass.rival, pass.co_holder), pass.resumed, pass.learned.clone(), now, api == Api::V2);
    if let Some(known) = ANSWERS.with_borrow(|answers| answers.get(&question).copied()) {
        return known;
    }
    let todo = ask(pass, now, api);
    ANSWERS.with_borrow_mut(|answers| answers.insert(question, todo));
    todo
}

fn ask(pass: &Pass, now: Tick, api: Api) -> Todo {
    let object = &pass.object;
    let (spec, recorded) = (spec(object), status(&object.status, api));
    let held = object.claim.map_or(api_claim::ClaimState::Absent, |held| api_claim::ClaimState::Held(claim(held)));
    let view = plan::Object {
        name: "hook",
        generation: object.generation.into(),
        deleting: object.deleting,
        finalized: object.finalized,
        claim: &held,
        spec: &spec,
        status: &recorded,
        rival: pass.rival.then_some(&Rival::Elsewhere),
        co_holder: pass.co_holder.then_some(&Rival::Elsewhere),
        uid: &uid(object.uid),
        born: moment(object.born),
        crd: plan::Crd::Stays,
    };
    let mut known = learned(pass.resumed, &pass.learned, api);
    let mut step = plan::target::plan(&view, &known, moment(now));
    if step == Step::TryRelease {
        // A write that is not made, and that nobody refuses here.
        known.learn(Answer::Releasable);
        step = plan::target::plan(&view, &known, moment(now));
    }
    let render = |verdict: &Verdict| rendered(&object.status, verdict, object.generation, api);
    match step {
        Step::Connect => Todo::Connect,
        Step::Bound => Todo::Bound,
        Step::Claim(claim) => Todo::Claim(claim_of(&claim)),
        Step::Redate(claim) => Todo::Redate(claim_of(&claim)),
        Step::Hold => Todo::Hold,
        Step::DropClaim => Todo::DropClaim,
        Step::Create(config) => Todo::Create(settings_of(&config)),
        Step::Search { name, since } => Todo::Search { name: name_of(name.as_str()), since: date_of(since) },
        Step::LookUp(name) => Todo::LookUp(name_of(name.as_str())),
        Step::AskOthers => Todo::AskOthers,
        Step::AskNames(name) => Todo::AskNames(name_of(name.as_str())),
        Step::Commit(candidate) => {
            let remote = Some(RemoteFacts::recovered(&candidate, &connection(api)));
            let verdict = Verdict { remote, ..Verdict::verifying() };
            Todo::Commit(id_of(candidate.id.as_str()), render(&verdict))
        }
        Step::Read(id) => Todo::Read(id_of(id.as_str())),
        Step::Probe(id) => Todo::Probe(id_of(id.as_str())),
        Step::Update { id, change, raise } => Todo::Update(id_of(id.as_str()), change_of(&change), raise),
        Step::Survey => Todo::Survey,
        Step::History(id) => Todo::History(id_of(id.as_str())),
        Step::Delete(id) => Todo::Delete(id_of(id.as_str())),
        Step::Wait(_) => Todo::Wait,
        Step::Release(release) => Todo::Release(match release {
            plan::Release::Deleted => LetGo::Deleted,
            plan::Release::Retained => LetGo::Retained,
            plan::Release::NothingRemote => LetGo::NothingRemote,
        }),
        Step::Finish(verdict) => Todo::Finish(render(&verdict)),
        Step::Ignore => Todo::Ignore,
        Step::Trace(id) => Todo::Trace(id_of(id.as_str())),
        Step::Judge(..) => panic!("the server never changes its version here"),
        Step::TryRelease => panic!("it is answered above"),
    }
}

/// The events that concern creations, as the event store tells them; `anybody` makes them all our own.
fn events(log: &[Event], told: Range<usize>, anybody: bool) -> impl Iterator<Item = TargetEvent> {
    let start = told.start;
    (start..).zip(&log[told]).map(move |(no, event)| TargetEvent {
        id: id(event.id),
        kind: match event.what {
            What::Added(settings) => EventKind::Added(Posting {
                name: NAMES[usize::from(settings.name)].into(),
                rest: Some(posting(settings.timeout)),
            }),
            What::Changed(_) => EventKind::Changed,
            What::Removed => EventKind::Removed,
        },
        sequence: 1,
        date: date(Date { tick: event.tick, no: u8::try_from(no).unwrap() }),
        editor: Some(if event.by.is_some() || anybody { US } else { "them" }.into()),
        owner: None,
    })
}

/// Asks the event store as production does, and picks our own creates with production's function. `anybody` breaks
/// it: whoever created it counts as us.
pub fn search((log, told): (&[Event], Range<usize>), wanted: u8, since: Date, anybody: bool) -> Vec<(Id, Date, u8)> {
    let events: Vec<_> = events(log, told, anybody).filter(|event| event.date > date(since)).collect();
    let found = surviving_creates(&events, &name(wanted), US);
    let told =
        |added: &Added| (id_of(added.id.as_str()), date_of(added.date), timeout_posted(added.posted.as_ref().unwrap()));
    found.iter().map(told).collect()
}
