//! A started control plane is a Kubernetes API as operators know it, survives a restart of its apiserver, and is gone
//! without a trace when stopped.

#![allow(clippy::unwrap_used, reason = "a test stops where its expectation fails")]

mod support;

use std::os::unix::fs::PermissionsExt as _;

use devkit::control_plane::{ControlPlane, ETCD, Options};
use support::{pids, runs};

#[test]
fn serves_the_api_and_leaves_nothing() {
    let plane = ControlPlane::start(Options::default()).unwrap();

    assert_eq!(kubectl(&plane, &["get", "--raw=/readyz"]), "ok");
    assert!(kubectl(&plane, &["get", "namespaces"]).contains("kube-system"));
    assert!(kubectl(&plane, &["version"]).contains("Server Version: v1."));
    let mode = plane.kubeconfig().metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "the kubeconfig holds a token");

    kubectl(&plane, &["create", "namespace", "short-lived"]);
    kubectl(&plane, &["delete", "namespace", "short-lived", "--wait=false"]);
    kubectl(&plane, &["create", "configmap", "kept"]);
    let url = plane.url();
    plane.restart_apiserver().unwrap();
    assert_eq!(plane.url(), url);
    assert!(kubectl(&plane, &["get", "configmaps"]).contains("kept"));
    // It takes a kube-controller-manager to finish this.
    kubectl(&plane, &["wait", "namespace/short-lived", "--for=delete", "--timeout=30s"]);

    let (dir, pids) = (plane.dir().to_owned(), pids(plane.dir()));
    assert!(pids.len() >= 2 && pids.iter().all(|&pid| runs(pid)), "{pids:?}");
    drop(plane);
    assert!(!pids.iter().any(|&pid| runs(pid)), "{pids:?}");
    assert!(!dir.exists());
}

#[test]
fn a_failed_start_says_why_and_leaves_nothing() {
    let options = Options { apiserver_args: vec!["--no-such-flag".to_owned()], ..Options::default() };
    let error = format!("{:#}", ControlPlane::start(options).unwrap_err());
    assert!(error.contains("kube-apiserver ended with exit code 1"), "{error}");
    assert!(error.contains("unknown flag: --no-such-flag"), "{error}");
    assert!(error.contains(ETCD), "{error}");
}

fn kubectl(plane: &ControlPlane, arguments: &[&str]) -> String {
    let output = plane.kubectl_command().args(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {stderr}\n{}", plane.logs_tail());
    String::from_utf8(output.stdout).unwrap()
}
