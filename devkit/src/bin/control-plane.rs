//! The local control plane by hand: `build` fills the cache, `run` keeps one cluster until Ctrl-C.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};
use devkit::control_plane::{Binaries, ControlPlane, Options, Source};
use devkit::progress::{Step, line};
use devkit::supervisor::shut_down_all;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(about = "A local etcd and kube-apiserver without a container engine")]
struct Arguments {
    #[command(subcommand)]
    command: Action,
}

#[derive(Clone, Copy, Subcommand)]
enum Action {
    /// Build the binaries unless they are there, and say where
    Build,
    /// Run a control plane until Ctrl-C
    Run {
        /// What Ctrl-C does; for the tests of the clean-up
        #[arg(long, hide = true, value_enum, default_value_t)]
        ending: Ending,
    },
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum Ending {
    #[default]
    Stop,
    Panic,
    /// As a static does: no destructor runs.
    Leak,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Action::Build => build(),
        Action::Run { ending } => run(ending),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            line(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn build() -> Result<()> {
    let binaries = Binaries::ensure()?;
    let source = match binaries.source {
        Source::Assets => "from KUBEBUILDER_ASSETS",
        Source::Cache => "cached",
        Source::Built => "built",
    };
    println!("control plane binaries ({source}): {}", binaries.dir().display());
    Ok(())
}

#[expect(clippy::panic, reason = "a test asks for it")]
#[tokio::main]
async fn run(ending: Ending) -> Result<()> {
    // One listener from the beginning: what comes between two of them is lost, because nothing else hears it any more.
    let mut interrupts = signal(SignalKind::interrupt())?;
    let start = tokio::task::spawn_blocking(|| {
        Binaries::ensure()?;
        let step = Step::start("starting the control plane");
        let plane = ControlPlane::start(Options::default())?;
        step.done(&format!("control plane ready at {}", plane.url()));
        anyhow::Ok(plane)
    });
    tokio::select! {
        plane = start => {
            let plane = plane??;
            println!("export KUBECONFIG={}", plane.kubeconfig().display());
            println!("Ctrl-C ends it.");
            interrupts.recv().await;
            match ending {
                Ending::Stop => plane.stop(),
                Ending::Panic => panic!("asked to panic while {} is up", plane.url()),
                Ending::Leak => {
                    std::mem::forget(plane);
                    std::process::exit(0)
                }
            }
        }
        _ = interrupts.recv() => {
            shut_down_all();
            std::process::exit(130)
        }
    }
}
