//! Runs many worlds side by side, turns a failed one into a violation, and prints the matrix.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use tokio::sync::{RwLock, Semaphore};
use zitadel_stand_in::Generation;

use crate::world::GENERATIONS;

/// How many worlds run at once: they mostly wait.
const WORLDS: usize = 24;

static SEATS: Semaphore = Semaphore::const_new(WORLDS);
/// Whoever disturbs the API server itself takes this for writing.
static CLUSTER: RwLock<()> = RwLock::const_new(());
static ROWS: Mutex<Vec<Row>> = Mutex::new(Vec::new());

/// Whether the long form was asked for.
pub fn long() -> bool {
    std::env::var_os("FAULTS_LONG").is_some()
}

type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

/// How a run ended, if nothing was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The fault happened.
    Struck,
    /// The fault never came up: the call it waits for was not made this time.
    Missed,
}

/// Whether other worlds may run at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Company {
    Shared,
    Alone,
}

/// The runs of one line of the matrix.
pub struct Suite {
    fault: String,
    company: Company,
    points: usize,
    runs: Vec<(String, Work)>,
}

#[derive(Clone, Debug)]
struct Row {
    fault: String,
    points: usize,
    runs: usize,
    missed: usize,
    violations: usize,
    seconds: u64,
}

impl Suite {
    pub fn new(fault: impl Into<String>) -> Self {
        Self { fault: fault.into(), company: Company::Shared, points: 0, runs: Vec::new() }
    }

    /// Its runs have the API server to themselves, one after the other.
    pub fn alone(fault: impl Into<String>) -> Self {
        Self { company: Company::Alone, ..Self::new(fault) }
    }

    /// Another place where the fault can happen.
    pub fn point(&mut self) {
        self.points += 1;
    }

    /// Another run.
    pub fn run(&mut self, label: impl Into<String>, work: impl Future<Output = Outcome> + Send + 'static) {
        self.runs.push((label.into(), Box::pin(work)));
    }

    /// Another point with one run whose fault always strikes.
    pub fn case(&mut self, label: impl Into<String>, work: impl Future<Output = ()> + Send + 'static) {
        self.point();
        self.run(label, async move {
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

    /// One case, in one generation after the other; in the long form in both.
    pub fn alternate<F: Future<Output = ()> + Send + 'static>(&mut self, label: &str, work: impl Fn(Generation) -> F) {
        if long() {
            return self.each(label, work);
        }
        let generation = GENERATIONS[self.points % GENERATIONS.len()];
        self.case(format!("{generation} {label}"), work(generation));
    }

    /// Runs everything, prints the line, and fails if anything was wrong.
    pub async fn finish(self) {
        let started = Instant::now();
        let mut tasks = Vec::new();
        for (label, work) in self.runs {
            let task = tokio::spawn(seated(self.company, work));
            tasks.push((label, task));
        }
        let (mut missed, mut violations, runs) = (Vec::new(), Vec::new(), tasks.len());
        for (label, task) in tasks {
            match task.await {
                Ok(Outcome::Struck) => {}
                Ok(Outcome::Missed) => missed.push(label),
                // The panic itself has been printed where it happened.
                Err(error) => violations.push(format!("{label}: {}", text(error))),
            }
        }
        let (points, seconds) = (self.points, started.elapsed().as_secs());
        let row = Row { fault: self.fault, points, runs, missed: missed.len(), violations: violations.len(), seconds };
        print(row.clone());
        if !missed.is_empty() {
            println!("    never came up: {}", missed.join("; "));
        }
        assert!(violations.is_empty(), "{}: {} of {runs} runs\n{}", row.fault, violations.len(), violations.join("\n"));
    }
}

async fn seated(company: Company, work: Work) -> Outcome {
    match company {
        Company::Shared => {
            let _seat = SEATS.acquire().await.expect("the semaphore is not closed");
            let _calm = CLUSTER.read().await;
            work.await
        }
        Company::Alone => {
            let _alone = CLUSTER.write().await;
            work.await
        }
    }
}

fn text(error: tokio::task::JoinError) -> String {
    let Ok(panic) = error.try_into_panic() else { return "cancelled".to_owned() };
    let said = panic.downcast_ref::<String>().cloned();
    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    said.unwrap_or_default().lines().take(3).collect::<Vec<_>>().join(" | ")
}

/// Prints one line, and the sum of all lines so far.
fn print(row: Row) {
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    rows.push(row.clone());
    let sum = |field: fn(&Row) -> usize| rows.iter().map(field).sum::<usize>();
    let Row { fault, points, runs, missed, violations, seconds } = row;
    println!(
        "faults | {fault:<58} | {points:>4} points | {runs:>4} runs | {missed:>3} never came up | {violations:>3} violations | {seconds:>4} s"
    );
    println!(
        "faults | {:<58} | {:>4} points | {:>4} runs | {:>3} never came up | {:>3} violations |",
        format!("total of {} lines so far", rows.len()),
        sum(|row| row.points),
        sum(|row| row.runs),
        sum(|row| row.missed),
        sum(|row| row.violations)
    );
}
