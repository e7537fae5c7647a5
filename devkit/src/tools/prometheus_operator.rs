//! The definitions of the Prometheus operator's monitors and rules, from its Go module, which is pinned by the hash that Go itself
//! uses for modules. The operator itself is not built. Costs 10 MB, once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cache::{self, Entry, Workshop};

/// The version whose definitions these are.
pub const VERSION: &str = "v0.85.0";

const MODULE: &str = "github.com/prometheus-operator/prometheus-operator";
const SUM: &str = "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=";
const DEFINITIONS: [&str; 3] = [
    "monitoring.coreos.com_podmonitors.yaml",
    "monitoring.coreos.com_prometheusrules.yaml",
    "monitoring.coreos.com_servicemonitors.yaml",
];

/// A folder with the CustomResourceDefinitions of ServiceMonitor, PodMonitor and PrometheusRule. Blocking.
///
/// # Errors
/// Where there is no Go, or its module proxy does not answer.
pub fn definitions() -> Result<PathBuf> {
    let key = format!("{VERSION}-{}", DEFINITIONS.len());
    let entry = Entry { title: "the Prometheus operator's definitions", name: "prometheus-operator", key: &key };
    Ok(cache::ensure(entry, download)?.0)
}

fn download(workshop: &Workshop) -> Result<()> {
    fs::write(workshop.dir().join("go.mod"), "module definitions\n")?;
    let module = format!("{MODULE}@{VERSION}");
    let mut go = Command::new("go");
    go.args(["mod", "download", "-json", &module]).current_dir(workshop.dir()).env("GOWORK", "off");
    let output = go.output().context("go is needed to get the Prometheus operator's definitions")?;
    let told: Value = serde_json::from_slice(&output.stdout).context("reading what go says of the module")?;
    let of = |key: &str| told.get(key).and_then(Value::as_str).unwrap_or_default();
    ensure!(of("Sum") == SUM, "{module} is not what was pinned: {} instead of {SUM} {}", of("Sum"), of("Error"));
    let folder = Path::new(of("Dir")).join("example/prometheus-operator-crd");
    for name in DEFINITIONS {
        let text = fs::read(folder.join(name)).with_context(|| format!("reading {name}"))?;
        fs::write(workshop.result().join(name), text)?;
    }
    Ok(())
}
