//! kube-state-metrics from the pinned Go module `devkit/kube-state-metrics`; about half a minute on two cores where the control
//! plane has been built, whose client library it is built with. That one is newer than its own and asks a store for two
//! methods more, which [`PATCH`] gives it.

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::go::{Module, Patch};

/// The release.
pub const VERSION: &str = "v2.16.0";

const MODULE: &str = "k8s.io/kube-state-metrics/v2";
/// They tell a reflector how far the store is, which it asks for nothing that is done here.
const PATCH: Patch<'_> = Patch {
    module: MODULE,
    file: "pkg/metrics_store/metrics_store.go",
    from: "// Get implements the Get method of the store interface.\n",
    to: "// Bookmark is of the newer client library.\nfunc (s *MetricsStore) Bookmark(_ string) {}\n\n\
         // LastStoreSyncResourceVersion is of the newer client library.\n\
         func (s *MetricsStore) LastStoreSyncResourceVersion() string { return \"\" }\n\n\
         // Get implements the Get method of the store interface.\n",
};

/// The program, built if it is not in the cache. Blocking.
///
/// # Errors
/// Where there is no Go, or its module proxy does not answer.
pub fn ensure() -> Result<PathBuf> {
    let module = Module {
        title: "kube-state-metrics",
        name: "kube-state-metrics",
        version: VERSION,
        dir: &Path::new(env!("CARGO_MANIFEST_DIR")).join("kube-state-metrics"),
        programs: &[("kube-state-metrics", MODULE)],
        linker_flags: "-s -w",
        patch: Some(PATCH),
        cost: "about half a minute on two cores",
        without_go: "Go 1.26 or newer is needed to build kube-state-metrics once",
    };
    Ok(module.ensure()?.0.join("kube-state-metrics"))
}
