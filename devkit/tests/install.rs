//! Building the control plane, with a stand-in for Go: who builds, who waits, and what a failure leaves behind.

#![allow(clippy::unwrap_used, reason = "a test stops where its expectation fails")]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use devkit::host::wait_for;
use support::{PATIENCE, Process, control_plane, entries, pids, wait_until_gone};
use tempfile::TempDir;

/// Notes each call of `go build` in `builds` and makes its output once the file `release` is there.
const GO: &str = r#"#!/bin/sh
[ "$1" = build ] || exit 0
while [ "$1" != -o ]; do shift; done
echo "$3" >>"$SCENE/builds"
until [ -e "$SCENE/release" ]; do sleep 0.02; done
echo compiling "$3"
[ -e "$SCENE/broken" ] && exit 1
echo binary >"$2"
"#;

/// An empty cache and a `go` that does what the test wants.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(scene.path("bin")).unwrap();
        fs::write(scene.path("bin/go"), GO).unwrap();
        fs::set_permissions(scene.path("bin/go"), fs::Permissions::from_mode(0o755)).unwrap();
        scene
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn touch(&self, name: &str) {
        File::create(self.path(name)).unwrap();
    }

    fn cache(&self) -> PathBuf {
        self.path("cache/zitadel-actions-operator/control-plane")
    }

    fn command(&self) -> Command {
        let mut command = control_plane();
        let path = format!("{}:/usr/bin:/bin", self.path("bin").display());
        command.arg("build").env("XDG_CACHE_HOME", self.path("cache")).env("PATH", path).env("SCENE", self.dir.path());
        command.env_remove("KUBEBUILDER_ASSETS");
        command
    }

    /// Begins a build and returns when it is under way, with the directory it happens in.
    fn building(&self) -> (Process, PathBuf) {
        let process = Process::spawn(self.command().stderr(Stdio::null()));
        let workshop = wait_for("a build", PATIENCE, || {
            if !self.path("builds").exists() {
                return Ok(None);
            }
            let workshop = entries(&self.cache()).into_iter().find(|path| path.is_dir()).unwrap();
            // A program runs a moment before its process id is noted.
            Ok((!pids(&workshop).is_empty()).then_some(workshop))
        });
        (process, workshop.unwrap())
    }
}

#[test]
fn of_two_processes_one_builds_and_the_other_waits() {
    let scene = Scene::new();
    let (mut first, _) = scene.building();
    let stderr = scene.path("second.err");
    let mut second = Process::spawn(scene.command().stderr(File::create(&stderr).unwrap()));
    let waiting = wait_for("the second process to wait", PATIENCE, || {
        Ok(fs::read_to_string(&stderr)?.contains("Another process is building").then_some(()))
    });
    waiting.unwrap();
    scene.touch("release");

    assert!(first.line_after("control plane binaries (").starts_with("built): "));
    assert!(second.line_after("control plane binaries (").starts_with("cached): "));
    assert!(first.success() && second.success());
    let builds = fs::read_to_string(scene.path("builds")).unwrap();
    assert_eq!(builds.lines().count(), 4, "each program is built once: {builds}");
    assert_eq!(left_in(&scene.cache()), 1, "only the finished directory is left");
}

#[test]
fn a_killed_build_leaves_nothing_and_does_not_block_the_next() {
    let scene = Scene::new();
    let (mut killed, workshop) = scene.building();
    let pids = pids(&workshop);
    assert!(!pids.is_empty());
    killed.signal("KILL");
    assert!(!killed.success());
    wait_until_gone(&pids, &workshop);

    scene.touch("release");
    assert!(run(&mut scene.command()).status.success());
}

#[test]
fn a_failed_build_shows_the_end_of_its_output() {
    let scene = Scene::new();
    scene.touch("release");
    scene.touch("broken");
    let output = run(&mut scene.command());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("building etcd failed:\ncompiling go.etcd.io/etcd/server/v3"), "{stderr}");
    assert_eq!(left_in(&scene.cache()), 0);
}

#[test]
fn without_go_the_message_says_what_to_do() {
    let scene = Scene::new();
    fs::remove_file(scene.path("bin/go")).unwrap();
    let output = run(scene.command().env("PATH", scene.path("bin")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("Go 1.26 or newer is needed to build the local control plane once"), "{stderr}");
    assert!(stderr.contains("KUBEBUILDER_ASSETS"), "{stderr}");
}

#[test]
fn assets_come_before_the_cache() {
    let scene = Scene::new();
    let output = run(scene.command().env("KUBEBUILDER_ASSETS", scene.path("bin")));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("KUBEBUILDER_ASSETS: there is no etcd in"), "{stderr}");

    for name in ["etcd", "kube-apiserver", "kubectl"] {
        fs::write(scene.path("bin").join(name), "").unwrap();
    }
    let output = run(scene.command().env("KUBEBUILDER_ASSETS", scene.path("bin")));
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("(from KUBEBUILDER_ASSETS)"), "{stdout}");
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Directories in the cache, finished or not.
fn left_in(cache: &Path) -> usize {
    entries(cache).iter().filter(|path| path.is_dir()).count()
}
