//! From the Dockerfile to targets in ZITADEL, every part of it real but ZITADEL: `cargo test --test e2e`.
//!
//! buildah builds the image, containerd imports it, Argo CD synchronises a Git repository that holds the chart and the
//! example Applications, and the pod runs on a real kubelet under the chart's own security settings, ServiceAccount and
//! rights. Needs root, for namespaces, and about 25 minutes the first time on two cores, most of it builds; prints a
//! table of steps with the time that each took.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

#[path = "../argocd/argo.rs"]
#[allow(dead_code, reason = "shared with the tests of Argo CD")]
mod argo;
#[path = "../it/cluster.rs"]
#[allow(dead_code, reason = "shared with the integration tests")]
mod cluster;
mod e2e_pod;
mod e2e_story;
#[path = "../argocd/git.rs"]
mod git;
#[path = "../argocd/snippets.rs"]
#[allow(dead_code, reason = "shared with the tests of Argo CD")]
mod snippets;

use std::process::ExitCode;
use std::time::Instant;

use devkit::control_plane::Binaries;
use devkit::image::{Architecture, Image};
use devkit::node::{Programs, room};
use devkit::tools::helm;

/// What `argo.rs` asks its neighbours for.
mod judges {
    use std::sync::OnceLock;

    use devkit::tools::argocd::ArgoCd;

    pub fn argo_cd() -> &'static ArgoCd {
        static ARGO_CD: OnceLock<ArgoCd> = OnceLock::new();
        ARGO_CD.get_or_init(|| ArgoCd::ensure().expect("Argo CD is built"))
    }
}

/// One row of the table.
pub fn row(step: &str, began: Instant) {
    println!("| {step:<84} | {:>7.1} s |", began.elapsed().as_secs_f32());
}

/// Does one step and tells how long it took.
pub fn step<T>(name: &str, action: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = action();
    row(name, began);
    done
}

/// The network is outside of the room: what has to be built or downloaded comes first.
fn prepare() -> Programs {
    println!("| {:<84} | {:>9} |\n|{:-<86}|{:->10}:|", "step", "time", "", "");
    step("etcd, kube-apiserver, kube-controller-manager and kubectl are there", || Binaries::ensure().unwrap());
    step("helm is there", || helm::ensure().unwrap());
    step("Argo CD is there", || _ = judges::argo_cd());
    let programs = step("kubelet, kube-proxy, kube-scheduler, containerd, runc and plugins are there", || {
        Programs::ensure().unwrap()
    });
    step("buildah has built the image from the Dockerfile (or OPERATOR_IMAGE names one)", || {
        Image::ensure(Architecture::Amd64).unwrap()
    });
    programs
}

fn main() -> ExitCode {
    if room::dir().is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(e2e_story::tell());
        return ExitCode::SUCCESS;
    }
    let began = Instant::now();
    let code = room::enter(&prepare()).unwrap();
    let outcome = if code == ExitCode::SUCCESS { "ok. 1 passed; 0 failed" } else { "FAILED. 0 passed; 1 failed" };
    row("all of it, and nothing is left", began);
    let time = began.elapsed().as_secs_f32();
    println!("\ntest result: {outcome}; 0 ignored; 0 measured; 0 filtered out; finished in {time:.2}s");
    code
}
