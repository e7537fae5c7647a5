//! actionlint, which knows the syntax of GitHub's workflows, from a pinned Go module.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::go;

/// The program, built if this is the first time (about 20 seconds on two cores). Blocking.
pub fn ensure() -> Result<PathBuf> {
    let module = go::Module {
        title: "actionlint",
        name: "actionlint",
        version: "v1.7.12",
        dir: &Path::new(env!("CARGO_MANIFEST_DIR")).join("actionlint"),
        programs: &[("actionlint", "github.com/rhysd/actionlint/cmd/actionlint")],
        linker_flags: "-s -w",
        patch: None,
        cost: "about 20 seconds on two cores",
        without_go: "Go 1.26 or newer is needed to build actionlint once",
    };
    Ok(module.ensure()?.0.join("actionlint"))
}
