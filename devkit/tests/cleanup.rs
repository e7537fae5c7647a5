//! However the process that started a control plane ends, the control plane ends too and its directory disappears.

#![allow(clippy::unwrap_used, reason = "a test stops where its expectation fails")]

mod support;

use std::path::{Path, PathBuf};
use std::process::Stdio;

use support::{Process, control_plane, pids, wait_until_gone};

#[test]
fn after_sigkill_nothing_is_left() {
    let (mut process, dir) = running(&["run"]);
    let pids = pids(&dir);
    process.signal("KILL");
    assert!(!process.success());
    wait_until_gone(&pids, &dir);
}

#[test]
fn after_sigint_nothing_is_left() {
    let (mut process, dir) = running(&["run"]);
    let pids = pids(&dir);
    process.signal("INT");
    assert!(process.success(), "Ctrl-C is the way to end it");
    assert!(!dir.exists(), "it waits for its own clean-up");
    wait_until_gone(&pids, &dir);
}

#[test]
fn after_a_panic_nothing_is_left() {
    let (mut process, dir) = running(&["run", "--ending=panic"]);
    let pids = pids(&dir);
    process.signal("INT");
    assert!(!process.success());
    wait_until_gone(&pids, &dir);
}

#[test]
fn without_destructors_nothing_is_left() {
    let (mut process, dir) = running(&["run", "--ending=leak"]);
    let pids = pids(&dir);
    process.signal("INT");
    assert!(process.success());
    wait_until_gone(&pids, &dir);
}

fn running(arguments: &[&str]) -> (Process, PathBuf) {
    let mut process = Process::spawn(control_plane().args(arguments).stderr(Stdio::null()));
    let kubeconfig = process.line_after("export KUBECONFIG=");
    (process, Path::new(&kubeconfig).parent().unwrap().to_owned())
}
