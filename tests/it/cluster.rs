//! The control plane of this test binary, its clients and its namespaces.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devkit::control_plane::{ControlPlane, Options};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::PostParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;

/// The control plane of this test binary, with the CRDs. It ends with the process, however that ends.
pub fn plane() -> &'static ControlPlane {
    static PLANE: OnceLock<ControlPlane> = OnceLock::new();
    PLANE.get_or_init(|| {
        // Both kube and the operator's own client use ring; the first one installed wins.
        devkit::host::install_crypto();
        let plane = ControlPlane::start(Options::default()).expect("the control plane starts");
        let crds = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
        let applied = kubectl(&plane, &["apply", "-f", crds.to_str().unwrap()], "");
        assert!(applied.ok, "{}", applied.err);
        let established = ["wait", "--for=condition=Established", "crd", "--all", "--timeout=30s"];
        let established = kubectl(&plane, &established, "");
        assert!(established.ok, "{}", established.err);
        // The documentation of a new kind appears a moment after the kind itself.
        let explained = || Ok(kubectl(&plane, &["explain", "target.spec"], "").ok.then_some(()));
        devkit::host::wait_for("the new kind to be explained", Duration::from_secs(30), explained).unwrap();
        plane
    })
}

/// What a kubectl call printed.
#[derive(Debug)]
pub struct Said {
    pub ok: bool,
    pub out: String,
    pub err: String,
}

pub fn kubectl(plane: &ControlPlane, arguments: &[&str], stdin: &str) -> Said {
    let mut command = plane.kubectl_command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kubectl starts");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).expect("kubectl reads its input");
    let output = child.wait_with_output().expect("kubectl ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { ok: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
}

/// A client of the control plane, for this runtime.
pub async fn client() -> Client {
    let plane = tokio::task::spawn_blocking(plane).await.expect("the control plane starts");
    client_of(plane.kubeconfig()).await
}

/// A client by this file: the cluster's, or a proxy's.
pub async fn client_of(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// A fresh namespace.
pub async fn namespace(client: &Client) -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let name = format!("t{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let body: Namespace = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &body).await.unwrap();
    name
}
