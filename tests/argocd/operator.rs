//! The operator of a scene whose connections are objects that a repository holds.

use std::path::Path;
use std::process::Command;

/// It has no default connection, reads Secrets of ClusterConnections as the examples have them, and looks every second.
pub fn command(kubeconfig: &Path) -> Command {
    let port = devkit::host::free_port().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
    command
        .args(["run", "--resync-interval", "1", "--http-addr", &format!("127.0.0.1:{port}")])
        .args(["--log-format", "human", "--operator-namespace", "zitadel-actions"])
        .args(["--zitadel-allow-http", "--zitadel-timeout", "2"])
        .env("KUBECONFIG", kubeconfig);
    devkit::host::without_zitadel(&mut command);
    command
}
