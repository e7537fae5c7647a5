//! kstatus: what sigs.k8s.io/cli-utils, and with it Flux and Helm, makes of an object's status. A small program from the
//! pinned Go module `devkit/kstatus`; about 1 minute on two cores, once.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::go::Module;

/// The program, built if it is not in the cache. For each line with an object as JSON on its standard input it writes a
/// line `{"status": ..., "message": ...}`. Blocking.
pub fn ensure() -> Result<PathBuf> {
    let module = Module {
        title: "kstatus",
        name: "kstatus",
        version: "v0.37.2",
        dir: &Path::new(env!("CARGO_MANIFEST_DIR")).join("kstatus"),
        programs: &[("kstatus", ".")],
        linker_flags: "-s -w",
        patch: None,
        cost: "about a minute on two cores",
        without_go: "Go 1.26 or newer is needed to build kstatus once",
    };
    Ok(module.ensure()?.0.join("kstatus"))
}
