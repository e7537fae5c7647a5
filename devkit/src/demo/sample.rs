//! The sample Target: applied, awaited, shown as kubectl shows it, and checked.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::shell::output_of;
use super::zitadel::Zitadel;
use crate::control_plane::ControlPlane;
use crate::host::{random_hex, write_private};
use crate::progress::Step;

const MANIFEST: &str = include_str!("target.yaml");
const NAME: &str = "audit-webhook";

/// A manifest on disk.
#[derive(Debug)]
pub(super) struct Sample {
    pub(super) name: String,
    file: PathBuf,
}

impl Sample {
    /// Writes the manifest to `dir`. On a real instance the name must not meet a target that is there already.
    pub(super) fn prepare(dir: &Path, zitadel: &Zitadel) -> Result<Self> {
        let name = match zitadel {
            Zitadel::StandIn { .. } => NAME.to_owned(),
            Zitadel::Real { .. } => format!("{NAME}-demo-{}", &random_hex()?[..8]),
        };
        let file = dir.join("target.yaml");
        write_private(&file, &MANIFEST.replace(NAME, &name))?;
        Ok(Self { name, file })
    }

    /// Applies the manifest, waits until the operator has made a target of it, and gives kubectl's table.
    pub(super) async fn apply(&self, plane: &ControlPlane) -> Result<String> {
        let step = Step::start(format!("waiting for the sample Target {} to be ready", self.name));
        let mut apply = plane.kubectl_command();
        output_of(apply.arg("apply").arg("--filename").arg(&self.file)).await?;
        // The newer generations answer without a sequence; the operator reads it a moment later.
        for condition in ["condition=Ready", "jsonpath={.status.sequence}"] {
            let mut wait = plane.kubectl_command();
            wait.args(["wait", "target", &self.name, "--timeout=60s"]).arg(format!("--for={condition}"));
            if let Err(error) = output_of(&wait).await {
                return Err(error.context(self.conditions(plane).await));
            }
        }
        let mut get = plane.kubectl_command();
        let object = output_of(get.args(["get", "target", &self.name, "--output=json"])).await?;
        check(&serde_json::from_str(&object).context("reading the Target")?)?;
        let mut get = plane.kubectl_command();
        let table = output_of(get.args(["get", "targets"])).await?;
        step.done(&format!("sample Target {} is ready", self.name));
        Ok(table)
    }

    /// Deletes the Target and waits until it is gone in ZITADEL too.
    pub(super) async fn delete(&self, plane: &ControlPlane) -> Result<()> {
        let step = Step::start(format!("deleting the sample Target {} from ZITADEL", self.name));
        let mut delete = plane.kubectl_command();
        delete.args(["delete", "target", &self.name, "--ignore-not-found", "--timeout=30s"]);
        output_of(&delete).await.with_context(|| format!("the target {} may be left in ZITADEL", self.name))?;
        step.done(&format!("sample Target {} deleted from ZITADEL", self.name));
        Ok(())
    }

    async fn conditions(&self, plane: &ControlPlane) -> String {
        let mut get = plane.kubectl_command();
        get.args(["get", "target", &self.name, "--output=jsonpath={.status}"]);
        let status = output_of(&get).await.unwrap_or_default();
        format!("the sample Target did not become ready, its status is {status}")
    }
}

/// The promise of the table, checked on the object itself.
fn check(object: &Value) -> Result<()> {
    let status = &object["status"];
    let conditions = status["conditions"].as_array().map_or(&[][..], Vec::as_slice);
    if !conditions.iter().any(|condition| condition["type"] == "Ready" && condition["status"] == "True") {
        bail!("the sample Target is not ready: {status}");
    }
    for field in ["id", "sequence"] {
        if status[field].as_str().is_none_or(str::is_empty) {
            bail!("the sample Target has no {field}: {status}");
        }
    }
    Ok(())
}
