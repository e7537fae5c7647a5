//! What the tests of this crate share: child processes that never outlive a test, and looking at processes by id.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use devkit::host::wait_for;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// The binary `control-plane` of this crate.
pub fn control_plane() -> Command {
    Command::new(env!("CARGO_BIN_EXE_control-plane"))
}

/// A child process, killed when the test is done with it.
pub struct Process {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }

    /// Reads stdout up to the line with this prefix and gives the rest of it.
    pub fn line_after(&mut self, prefix: &str) -> String {
        loop {
            let mut line = String::new();
            let read = self.stdout.read_line(&mut line).unwrap();
            assert!(read > 0, "the child ended without saying {prefix:?}");
            if let Some(rest) = line.strip_prefix(prefix) {
                return rest.trim_end().to_owned();
            }
        }
    }

    pub fn signal(&self, signal: &str) {
        let status = shell(&format!("kill -s {signal} {}", self.child.id()));
        assert!(status, "kill failed");
    }

    pub fn success(&mut self) -> bool {
        self.child.wait().unwrap().success()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The ids that a supervisor wrote into its directory.
pub fn pids(dir: &Path) -> Vec<u32> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.filter(|path| path.extension().is_some_and(|extension| extension == "pid"));
    files.map(|path| fs::read_to_string(path).unwrap().trim().parse().unwrap()).collect()
}

/// Whether the process runs; a zombie that nobody has waited for does not.
pub fn runs(pid: u32) -> bool {
    let zombie = fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    !zombie && shell(&format!("kill -0 {pid} 2>/dev/null"))
}

/// Waits until neither the processes nor the directory are there.
pub fn wait_until_gone(pids: &[u32], dir: &Path) {
    let gone = wait_for(&format!("{pids:?} to end and {} to disappear", dir.display()), PATIENCE, || {
        Ok((!pids.iter().any(|&pid| runs(pid)) && !dir.exists()).then_some(()))
    });
    gone.unwrap();
}

/// The entries of a directory.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn shell(script: &str) -> bool {
    Command::new("sh").args(["-c", script]).status().unwrap().success()
}
