//! Running other programs, and blocking code, without holding up Ctrl-C: a dropped future ends its program.

use std::process::Stdio;

use anyhow::{Context as _, Result, bail};

/// What `command` wrote to stdout; its stderr is the error if it failed.
pub(super) async fn output_of(command: &std::process::Command) -> Result<String> {
    let shown = format!("{} {}", command.get_program().display(), words(command));
    let mut command = to_async(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await;
    let output = output.with_context(|| format!("running {shown}"))?;
    if !output.status.success() {
        bail!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `work` on a thread where it may block.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn to_async(command: &std::process::Command) -> tokio::process::Command {
    let mut copy = tokio::process::Command::new(command.get_program());
    copy.args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => copy.env(key, value),
            None => copy.env_remove(key),
        };
    }
    copy
}

fn words(command: &std::process::Command) -> String {
    command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
