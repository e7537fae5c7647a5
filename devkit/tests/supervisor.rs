//! The supervisor runs programs exactly as they were described, and ends them in order.

#![allow(clippy::unwrap_used, reason = "a test stops where its expectation fails")]

mod support;

use std::collections::HashSet;
use std::fs;
use std::process::Command;

use devkit::supervisor::{Ending, Signal, Supervisor};
use support::{PATIENCE, wait_until_gone};

#[test]
fn words_and_environment_arrive_unchanged() {
    let supervisor = Supervisor::new().unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", r#"printf '<%s>' "$@" "$KEY" "$PWD"; echo "${GONE-unset}""#, "sh"]);
    command.args(["it's", "", "two\nlines", "$HOME `id` \\ \"", "é"]);
    command.env("KEY", "a 'b'\nc").env_remove("GONE").current_dir("/");
    supervisor.start("words", &command, Ending::Graceful).unwrap();
    assert_eq!(supervisor.wait_for_exit("words", PATIENCE).unwrap(), 0);
    let log = fs::read_to_string(supervisor.log_path("words")).unwrap();
    assert_eq!(log, "<it's><><two\nlines><$HOME `id` \\ \"><é><a 'b'\nc></>unset\n");
}

#[test]
fn exit_codes_signals_and_second_runs() {
    let supervisor = Supervisor::new().unwrap();
    supervisor.start("fails", Command::new("/bin/sh").args(["-c", "exit 7"]), Ending::Graceful).unwrap();
    assert_eq!(supervisor.wait_for_exit("fails", PATIENCE).unwrap(), 7);

    let mut sleeper = Command::new("sleep");
    sleeper.arg("600");
    supervisor.start("sleeps", &sleeper, Ending::Graceful).unwrap();
    let first = supervisor.pid("sleeps").unwrap();
    assert_eq!(supervisor.exit_code("sleeps"), None);
    assert!(supervisor.start("sleeps", &sleeper, Ending::Graceful).is_err(), "one at a time");
    supervisor.signal("sleeps", Signal::Kill).unwrap();
    assert_eq!(supervisor.wait_for_exit("sleeps", PATIENCE).unwrap(), 128 + 9);

    supervisor.start("sleeps", &sleeper, Ending::Graceful).unwrap();
    assert_ne!(supervisor.pid("sleeps"), Some(first));
    supervisor.stop("sleeps").unwrap();
    assert_eq!(supervisor.exit_code("sleeps"), Some(128 + 15));
    supervisor.stop("sleeps").unwrap();
    supervisor.stop("never-started").unwrap();
}

#[test]
fn many_quick_restarts() {
    let supervisor = Supervisor::new().unwrap();
    let mut sleeper = Command::new("sleep");
    sleeper.arg("600");
    let mut seen = HashSet::new();
    for _ in 0..20 {
        supervisor.start("sleeps", &sleeper, Ending::Abrupt).unwrap();
        assert!(seen.insert(supervisor.pid("sleeps").unwrap()), "each run is a new process");
        assert_eq!(supervisor.exit_code("sleeps"), None);
        supervisor.stop("sleeps").unwrap();
        assert_eq!(supervisor.exit_code("sleeps"), Some(128 + 9));
    }
}

#[test]
fn the_last_program_ends_first() {
    let supervisor = Supervisor::new().unwrap();
    let record = tempfile::NamedTempFile::new().unwrap();
    for name in ["first", "second", "third"] {
        let script = format!("trap 'echo {name} >>\"$1\"; exit' TERM; : >ready-{name}; while :; do sleep 0.02; done");
        let mut command = Command::new("/bin/sh");
        supervisor.start(name, command.args(["-c", &script, "sh"]).arg(record.path()), Ending::Graceful).unwrap();
        let ready = supervisor.dir().join(format!("ready-{name}"));
        devkit::host::wait_for("the trap", PATIENCE, || Ok(ready.exists().then_some(()))).unwrap();
    }
    supervisor.shut_down().unwrap();
    assert_eq!(fs::read_to_string(record.path()).unwrap(), "third\nsecond\nfirst\n");
    assert!(supervisor.start("fourth", &Command::new("true"), Ending::Graceful).is_err(), "it is shut down");
}

#[test]
fn a_program_that_ignores_sigterm_is_killed() {
    let supervisor = Supervisor::new().unwrap();
    let mut stubborn = Command::new("/bin/sh");
    supervisor
        .start("stubborn", stubborn.args(["-c", "trap '' TERM; while :; do sleep 0.1; done"]), Ending::Graceful)
        .unwrap();
    let (pid, dir) = (supervisor.pid("stubborn").unwrap(), supervisor.dir().to_owned());
    drop(supervisor);
    wait_until_gone(&[pid], &dir);
}
