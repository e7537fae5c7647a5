//! What the planner of production is asked with, and what it is told.

use super::*;

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
pub fn events(log: &[Event], told: Range<usize>, anybody: bool) -> impl Iterator<Item = TargetEvent> {
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
