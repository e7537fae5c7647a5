//! Reading what a control plane's kubeconfig says, and writing one that leads to a proxy.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::host::write_private;

/// Where a kube-apiserver answers and how to be let in. Has no `Debug`: it holds a token.
pub(super) struct Access {
    pub(super) server: String,
    pub(super) authority: Vec<u8>,
    pub(super) token: String,
}

/// Reads a kubeconfig as [`crate::control_plane::ControlPlane`] writes it: JSON, one cluster, one user.
pub(super) fn read(path: &Path) -> Result<Access> {
    let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let config: Value = serde_json::from_str(&text).context("the kubeconfig is no JSON")?;
    let field = |pointer: &str| {
        let value = config.pointer(pointer).and_then(Value::as_str);
        value.map(str::to_owned).with_context(|| format!("the kubeconfig has no {pointer}"))
    };
    let authority = field("/clusters/0/cluster/certificate-authority")?;
    Ok(Access {
        server: field("/clusters/0/cluster/server")?,
        authority: fs::read(&authority).with_context(|| format!("reading {authority}"))?,
        token: field("/users/0/user/token")?,
    })
}

/// Writes a kubeconfig without any credential.
pub(super) fn write(path: &Path, server: &str) -> Result<()> {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": server}}],
        "users": [{"name": "nobody", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "nobody"}}],
        "current-context": "proxy",
    });
    write_private(path, &format!("{kubeconfig:#}\n"))
}
