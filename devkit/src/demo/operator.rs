//! The operator of the demo: built from this checkout by cargo, run by the control plane's supervisor so that it ends
//! when the demo does, and before the control plane.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::ChildStdout;
use tokio::time::{Instant, sleep};

use super::zitadel::Zitadel;
use super::{LOG_LINES, repository};
use crate::control_plane::ControlPlane;
use crate::host::{free_port, http_get};
use crate::progress::Step;
use crate::supervisor::{Ending, tail};

/// The name under which the supervisor runs it.
pub(super) const NAME: &str = "operator";
const BINARY: &str = "zitadel-actions-operator";
const READY_TIMEOUT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);
const PORT_ATTEMPTS: usize = 3;

/// Builds the operator and gives the path of its binary.
pub(super) async fn build() -> Result<PathBuf> {
    let step = Step::start("building the operator (cargo build)");
    let mut cargo = tokio::process::Command::from(cargo());
    cargo.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = cargo.spawn().context("running cargo build")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut stderr = child.stderr.take().context("cargo has no stderr")?;
    let mut words = Vec::new();
    let (built, read) = tokio::join!(follow(stdout, &step), stderr.read_to_end(&mut words));
    read?;
    if !child.wait().await?.success() {
        bail!("building the operator failed:\n{}", tail(&String::from_utf8_lossy(&words), LOG_LINES));
    }
    let Built { executable, compiled } = built?;
    let executable = executable.context("cargo built no operator")?;
    step.done(&match compiled {
        0 => "operator is built already".to_owned(),
        crates => format!("operator built ({crates} crates compiled)"),
    });
    Ok(executable)
}

/// Starts the operator and waits until it says it is ready.
pub(super) async fn start(plane: &ControlPlane, binary: &Path, zitadel: &Zitadel) -> Result<()> {
    let step = Step::start("starting the operator");
    for _ in 0..PORT_ATTEMPTS {
        let port = free_port()?;
        plane.supervisor().start(NAME, &command(plane, binary, zitadel, port), Ending::Graceful)?;
        if until_ready(plane, port).await? == Readiness::Ready {
            step.done(&format!("operator is ready (http://127.0.0.1:{port}/readyz)"));
            return Ok(());
        }
    }
    bail!("the operator found no free port in {PORT_ATTEMPTS} attempts")
}

/// Returns only when the operator has ended, which it should not.
pub(super) async fn watch(plane: &ControlPlane) -> Result<()> {
    loop {
        if let Some(code) = plane.supervisor().exit_code(NAME) {
            bail!("the operator ended with exit code {code}");
        }
        sleep(POLL).await;
    }
}

fn command(plane: &ControlPlane, binary: &Path, zitadel: &Zitadel, port: u16) -> Command {
    let mut operator = Command::new(binary);
    operator.arg("run").arg("--http-addr").arg(format!("127.0.0.1:{port}"));
    zitadel.configure(&mut operator);
    operator.env("KUBECONFIG", plane.kubeconfig()).env_remove("WATCH_NAMESPACES").env("LOG_FORMAT", "human");
    operator
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Ready,
    PortTaken,
}

async fn until_ready(plane: &ControlPlane, port: u16) -> Result<Readiness> {
    let deadline = Instant::now() + READY_TIMEOUT;
    while Instant::now() < deadline {
        if let Some(code) = plane.supervisor().exit_code(NAME) {
            if plane.supervisor().log_tail(NAME, LOG_LINES).contains("in use") {
                return Ok(Readiness::PortTaken);
            }
            bail!("the operator ended with exit code {code}");
        }
        // Until it listens, connections are refused.
        if http_get(port, "/readyz").await.is_some_and(|(status, _)| status == 200) {
            return Ok(Readiness::Ready);
        }
        sleep(POLL).await;
    }
    bail!("the operator was not ready after {} s", READY_TIMEOUT.as_secs())
}

fn cargo() -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut cargo = Command::new(program);
    cargo
        .args(["build", "--package", BINARY, "--bin", BINARY, "--message-format=json-render-diagnostics"])
        .current_dir(repository());
    // `cargo run` sets these for us; build scripts that look at them would compile again for nothing.
    for (key, _) in env::vars_os() {
        let name = key.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&key);
        }
    }
    cargo
}

#[derive(Debug, Default)]
struct Built {
    executable: Option<PathBuf>,
    compiled: usize,
}

/// Reads cargo's messages, one JSON object a line.
async fn follow(stdout: ChildStdout, step: &Step) -> Result<Built> {
    let mut lines = BufReader::new(stdout).lines();
    let mut built = Built::default();
    while let Some(line) = lines.next_line().await? {
        let message: Value = serde_json::from_str(&line).context("reading cargo's messages")?;
        if message["reason"] != "compiler-artifact" {
            continue;
        }
        if message["fresh"] == false {
            built.compiled += 1;
            step.update(format!("building the operator (cargo build): {} crates compiled", built.compiled));
        }
        if let (Some(path), true) = (message["executable"].as_str(), message["target"]["name"] == BINARY) {
            built.executable = Some(PathBuf::from(path));
        }
    }
    Ok(built)
}
