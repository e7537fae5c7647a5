//! Programs that only some tests use, each installed into the [`cache`](crate::cache) when the first test asks for it:
//! one file for each tool, which says where it comes from, how it is pinned and what it costs.

pub mod actionlint;
pub mod apt;
pub mod argocd;
pub mod buildah;
pub mod crates;
pub mod flux;
pub mod helm;
pub mod kstatus;
pub mod kube_state_metrics;
pub mod kubernetes_schemas;
mod pinned;
pub mod pip;
pub mod prometheus;
pub mod prometheus_operator;
pub mod qemu;
pub mod rust_image;

use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::cache::Workshop;
use crate::progress::Step;
use crate::supervisor::Ending;

const POLL: Duration = Duration::from_millis(50);
const FAILURE_LINES: usize = 20;

/// Runs one step of an installation to its end and says how long it took; the end of its output explains a failure.
pub(crate) fn run(workshop: &Workshop, name: &str, command: &Command) -> Result<()> {
    let programs = workshop.supervisor();
    let step = Step::start(format!("installing {name}"));
    programs.start(name, command, Ending::Graceful)?;
    let code = loop {
        if let Some(code) = programs.exit_code(name) {
            break code;
        }
        programs.check_alive()?;
        step.update(format!("installing {name}: {}", programs.log_tail(name, 1).trim()));
        thread::sleep(POLL);
    };
    if code != 0 {
        bail!("installing {name} failed:\n{}", programs.log_tail(name, FAILURE_LINES));
    }
    step.done(&format!("installed {name}"));
    Ok(())
}
