//! Runs many worlds side by side, turns a failed one into a violation, and prints the matrix.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{LazyLock, Mutex, PoisonError};

use libtest_mimic::{Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::{RwLock, Semaphore};
use zitadel_stand_in::Generation;

use crate::world::GENERATIONS;

/// How many worlds run at once of those that are busy (crashes, walks), and of those that mostly wait for a time to
/// pass: two cores have to serve them all. With 12 and 24 these were idle for a third of the time; with 24 and 48, and
/// dependencies that are not optimised, a write took longer than the operator's time-outs on a slow machine, and whole
/// lines of the matrix failed for that.
const BUSY: usize = 16;
const PATIENT: usize = 32;
/// Starting and signalling programs blocks, so these are more than cores.
const WORKERS: usize = 8;

static BUSY_SEATS: Semaphore = Semaphore::const_new(BUSY);
static PATIENT_SEATS: Semaphore = Semaphore::const_new(PATIENT);
/// Whoever disturbs the API server itself takes this for writing.
static CLUSTER: RwLock<()> = RwLock::const_new(());
static MATRIX: Mutex<Vec<Row>> = Mutex::new(Vec::new());
static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(WORKERS).enable_all().build().expect("a runtime can be built")
});

/// Whether the long form was asked for.
pub fn long() -> bool {
    std::env::var_os("FAULTS_LONG").is_some()
}

/// A number from the environment.
pub fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The first seed of everything that is drawn.
pub fn seed() -> u64 {
    number("FAULTS_SEED").unwrap_or(1)
}

/// One test of the harness: a suite or a few.
pub fn trial<F>(name: &str, work: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = Result<(), Failed>>,
{
    Trial::test(name, move || RUNTIME.block_on(work()))
}

/// Runs this when there is a seat, and nobody disturbs the API server.
pub async fn calmly<T>(company: Company, work: impl Future<Output = T>) -> T {
    let seats = match company {
        Company::Busy => &BUSY_SEATS,
        Company::Patient | Company::Alone => &PATIENT_SEATS,
    };
    let _seat = seats.acquire().await.expect("the semaphore is not closed");
    let _calm = CLUSTER.read().await;
    work.await
}

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How a run ended, if nothing was wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The fault happened.
    Struck,
    /// The fault never came up: the call it waits for was not made this time.
    Missed,
    /// kube-apiserver lost an object, see docs/correctness.md; nothing else went wrong.
    Vanished(String),
    /// This machine cannot produce the fault.
    Impossible(String),
}

/// Who may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// A few others: it keeps processors busy.
    Busy,
    /// Many others: it mostly waits.
    Patient,
    /// Nobody of another suite.
    Alone,
}

/// A group of runs, for one or more lines of the matrix.
pub struct Suite {
    fault: String,
    company: Company,
    /// Points of each line that are known, run or not.
    points: BTreeMap<String, usize>,
    cases: usize,
    runs: Vec<Run>,
}

struct Run {
    line: String,
    label: String,
    work: Work,
}

/// One line of the matrix.
#[derive(Clone, Debug, Default)]
struct Row {
    fault: String,
    points: usize,
    runs: usize,
    missed: Vec<String>,
    known: Vec<String>,
    impossible: Vec<String>,
    violations: Vec<String>,
}

impl Suite {
    /// Its runs mostly wait.
    pub fn new(fault: impl Into<String>) -> Self {
        Self::with(Company::Patient, fault)
    }

    /// Its runs keep processors busy.
    pub fn busy(fault: impl Into<String>) -> Self {
        Self::with(Company::Busy, fault)
    }

    /// Its runs have the API server to themselves, all at the same time.
    pub fn alone(fault: impl Into<String>) -> Self {
        Self::with(Company::Alone, fault)
    }

    /// Its runs go together with those of this company.
    pub fn with(company: Company, fault: impl Into<String>) -> Self {
        let (points, runs) = (BTreeMap::new(), Vec::new());
        Self { fault: fault.into(), company, points, cases: 0, runs }
    }

    /// What follows belongs to this line.
    pub fn line(&mut self, fault: impl Into<String>) {
        self.fault = fault.into();
    }

    /// Another place where the fault of this line can happen.
    pub fn point(&mut self, line: &str) {
        *self.points.entry(line.to_owned()).or_default() += 1;
    }

    /// Another run of this line.
    pub fn run(&mut self, line: &str, label: impl Into<String>, work: impl Future<Output = Outcome> + Send + 'static) {
        self.runs.push(Run { line: line.to_owned(), label: label.into(), work: Box::pin(work) });
    }

    /// Another point of the line at hand, with one run that tells how it ended.
    pub fn attempt(&mut self, label: impl Into<String>, work: impl Future<Output = Outcome> + Send + 'static) {
        let line = self.fault.clone();
        self.point(&line);
        self.cases += 1;
        self.run(&line, label, work);
    }

    /// Another point of the line at hand, with one run whose fault always strikes.
    pub fn case(&mut self, label: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) {
        self.attempt(label, async move {
            work.await;
            Outcome::Struck
        });
    }

    /// One case for each generation.
    pub fn each<F: Future<Output = ()> + Send + 'static>(&mut self, label: &str, work: impl Fn(Generation) -> F) {
        for generation in GENERATIONS {
            self.case(format!("{generation} {label}"), work(generation));
        }
    }

    /// A point in each generation; the bounded form runs one of them, in turns: what the API server does to a call does
    /// not depend on ZITADEL's generation.
    pub fn alternate<F: Future<Output = ()> + Send + 'static>(&mut self, label: &str, work: impl Fn(Generation) -> F) {
        if long() {
            return self.each(label, work);
        }
        let line = self.fault.clone();
        self.point(&line);
        let generation = GENERATIONS[self.cases % GENERATIONS.len()];
        self.case(format!("{generation} {label}"), work(generation));
    }

    /// Runs everything, prints the lines, and fails if anything was wrong.
    pub async fn finish(self) -> Result<(), Failed> {
        let alone = match self.company {
            Company::Alone => Some(CLUSTER.write().await),
            Company::Busy | Company::Patient => None,
        };
        let tasks: Vec<_> = self
            .runs
            .into_iter()
            .map(|run| {
                let work = run.work;
                let company = self.company;
                let task = tokio::spawn(async move {
                    if company == Company::Alone { work.await } else { calmly(company, work).await }
                });
                (run.line, run.label, task)
            })
            .collect();
        let row = |(fault, points): (String, usize)| (fault.clone(), Row { fault, points, ..Row::default() });
        let mut rows: BTreeMap<String, Row> = self.points.into_iter().map(row).collect();
        for (line, label, task) in tasks {
            let row = rows.entry(line).or_default();
            row.runs += 1;
            match task.await {
                Ok(Outcome::Struck) => {}
                Ok(Outcome::Missed) => row.missed.push(label),
                Ok(Outcome::Vanished(what)) => row.known.push(format!("{label}: {what}")),
                Ok(Outcome::Impossible(why)) => row.impossible.push(format!("{label}: {why}")),
                // The panic itself has been printed where it happened.
                Err(error) => row.violations.push(format!("{label}: {}", text(error))),
            }
        }
        drop(alone);
        let violations: Vec<String> = rows.values().flat_map(|row| row.violations.clone()).collect();
        for row in rows.into_values() {
            row.print();
            MATRIX.lock().unwrap_or_else(PoisonError::into_inner).push(row);
        }
        if violations.is_empty() { Ok(()) } else { Err(violations.join("\n").into()) }
    }
}

impl Row {
    fn print(&self) {
        println!("{}", self.told());
        for (what, labels) in self.others() {
            if !labels.is_empty() {
                println!("    {what}: {}", labels.join("; "));
            }
        }
    }

    fn told(&self) -> String {
        let Self { fault, points, runs, .. } = self;
        let sample = if points > runs { " (sample)" } else { "" };
        let violations = self.violations.len();
        let told = format!(
            "faults | {fault:<72} | {points:>4} points | {runs:>4} runs{sample:<9} | {violations:>2} violations"
        );
        let others =
            self.others().map(|(what, labels)| (what, labels.len())).into_iter().filter(|(_, count)| *count > 0);
        std::iter::once(told)
            .chain(others.map(|(what, count)| format!("{count} {what}")))
            .collect::<Vec<_>>()
            .join(" | ")
    }

    fn others(&self) -> [(&'static str, &[String]); 3] {
        [
            ("never came up", &self.missed),
            ("known limits of kube-apiserver", &self.known),
            ("not producible here", &self.impossible),
        ]
    }
}

fn text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let said = panic.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    said.unwrap_or_default().lines().take(3).collect::<Vec<_>>().join(" | ")
}

/// Prints the sum of all lines, and what the bounded form left out.
pub fn conclude() {
    let rows = MATRIX.lock().unwrap_or_else(PoisonError::into_inner);
    if rows.is_empty() {
        return;
    }
    let sum = |field: fn(&Row) -> usize| rows.iter().map(field).sum::<usize>();
    println!(
        "faults | total of {} lines: {} points, {} runs, {} violations, {} never came up, {} known limits of \
         kube-apiserver, {} not producible here",
        rows.len(),
        sum(|row| row.points),
        sum(|row| row.runs),
        sum(|row| row.violations.len()),
        sum(|row| row.missed.len()),
        sum(|row| row.known.len()),
        sum(|row| row.impossible.len())
    );
    if long() {
        println!("faults | the long form, everything in both generations, seed {}", seed());
    } else {
        println!(
            "faults | the bounded form, seed {}: every single crash point in both generations; of lines marked (sample) \
             not all points: one generation of two, or pairs drawn by seed. FAULTS_LONG=1 runs everything",
            seed()
        );
    }
}
