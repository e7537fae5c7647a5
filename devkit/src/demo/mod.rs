//! `cargo demo`: a local control plane, a ZITADEL (the stand-in, or a real instance on request), the operator built
//! from this checkout, and a sample Target that becomes a target in ZITADEL before your eyes. Steps go to stderr, the
//! table and what to try next to stdout. However the demo ends, nothing it started is left.

mod hints;
mod operator;
mod sample;
mod shell;
mod zitadel;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use self::sample::Sample;
use self::shell::{blocking, output_of};
use self::zitadel::{Api, Zitadel};
use crate::control_plane::{Binaries, ControlPlane, Options};
use crate::progress::{Step, line};
use crate::supervisor::{shut_down_all, tail};

const LOG_LINES: usize = 20;
/// What a shell reports for a process that SIGINT ended.
const INTERRUPTED: i32 = 130;

/// Runs the operator against a local Kubernetes API and a ZITADEL, with a sample Target
#[derive(Clone, Debug, Parser)]
#[command(name = "cargo demo", bin_name = "cargo demo")]
pub struct Arguments {
    /// End after the table, with exit code 0 if the sample Target became ready
    #[arg(long)]
    once: bool,
    /// A real ZITADEL instance instead of the stand-in; the sample Target is deleted there at the end
    #[arg(long, value_name = "URL", requires = "zitadel_token_file")]
    zitadel_url: Option<String>,
    /// File with a personal access token for it
    #[arg(long, value_name = "FILE", requires = "zitadel_url")]
    zitadel_token_file: Option<PathBuf>,
    /// Generation of the Actions API
    #[arg(long, value_name = "API", value_enum, default_value_t)]
    zitadel_api: Api,
}

/// Runs the demo until it is done or interrupted, cleans up, and gives the exit code.
pub async fn run(arguments: Arguments) -> i32 {
    let mut demo = Demo { arguments, plane: None, sample: None, zitadel: None };
    let code = tokio::select! {
        outcome = demo.play() => match outcome {
            Ok(()) => 0,
            Err(error) => {
                line(&format!("\ndemo failed: {error:#}"));
                demo.explain();
                1
            }
        },
        interrupted = interrupted() => if interrupted.is_ok() { INTERRUPTED } else { 1 },
    };
    let code = match (code, demo.clean_up().await) {
        (0, Err(_)) => 1,
        // Ctrl-C is how the demo is meant to end.
        (INTERRUPTED, Ok(())) if demo.sample.is_some() => 0,
        (code, _) => code,
    };
    // On another thread a start may still be under way, which `demo` does not hold yet.
    shut_down_all();
    code
}

#[derive(Debug)]
struct Demo {
    arguments: Arguments,
    plane: Option<ControlPlane>,
    zitadel: Option<Zitadel>,
    sample: Option<Sample>,
}

impl Demo {
    async fn play(&mut self) -> Result<()> {
        let started = Instant::now();
        // On its own, because the first time it shows steps of its own.
        blocking(Binaries::ensure).await?;
        let binary = operator::build().await?;
        let plane = &*self.plane.insert(start_control_plane().await?);
        let zitadel = &*self.zitadel.insert(Zitadel::start(&self.arguments, plane.dir()).await?);
        install_crds(plane).await?;
        operator::start(plane, &binary, zitadel).await?;
        let sample = &*self.sample.insert(Sample::prepare(plane.dir(), zitadel)?);
        let table = sample.apply(plane).await?;
        print!("\n$ kubectl get targets\n{table}");
        line(&format!("ready in {:.1}s", started.elapsed().as_secs_f32()));
        if self.arguments.once {
            return Ok(());
        }
        println!("{}", hints::text(plane, zitadel, sample));
        operator::watch(plane).await
    }

    /// What a person needs to understand a failure.
    fn explain(&self) {
        if let Some(Zitadel::StandIn { server, .. }) = &self.zitadel {
            line(&format!("\nthe stand-in's record ends with:\n{}", tail(&server.dump(), LOG_LINES)));
        }
        let Some(plane) = &self.plane else { return };
        let log = plane.supervisor().log_tail(operator::NAME, LOG_LINES);
        if !log.is_empty() {
            line(&format!("\nthe operator's log ends with:\n{log}"));
        }
    }

    async fn clean_up(&mut self) -> Result<()> {
        let Some(plane) = self.plane.take() else { return Ok(()) };
        let deleted = match (&self.zitadel, &self.sample) {
            (Some(Zitadel::Real { .. }), Some(sample)) => sample.delete(&plane).await,
            _ => Ok(()),
        };
        let step = Step::start("ending everything");
        let stopped = blocking(move || plane.stop()).await;
        drop(step);
        for error in [&deleted, &stopped].into_iter().filter_map(|result| result.as_ref().err()) {
            line(&format!("clean-up failed: {error:#}"));
        }
        deleted.and(stopped)
    }
}

async fn start_control_plane() -> Result<ControlPlane> {
    let step = Step::start("starting etcd and kube-apiserver");
    let plane = blocking(|| ControlPlane::start(Options::default())).await?;
    step.done(&format!("control plane answers at {}", plane.url()));
    Ok(plane)
}

async fn install_crds(plane: &ControlPlane) -> Result<()> {
    let step = Step::start("installing the CustomResourceDefinitions");
    let crds = repository().join("crds");
    let mut apply = plane.kubectl_command();
    output_of(apply.args(["apply", "--server-side", "--filename"]).arg(&crds)).await?;
    let mut wait = plane.kubectl_command();
    wait.args(["wait", "--for=condition=Established", "--timeout=30s", "--filename"]).arg(&crds);
    let established = output_of(&wait).await?;
    step.done(&format!("{} CustomResourceDefinition(s) established", established.lines().count()));
    Ok(())
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

async fn interrupted() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}
