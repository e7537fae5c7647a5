//! Prometheus and promtool, from Debian's package, which needs nothing but the C library. Costs 19 MB, once. Its pages for
//! people are not part of the package's files that matter here; the API is.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::apt::Packages;

const PACKAGES: Packages<'_> = Packages { title: "Prometheus", name: "prometheus", packages: &["prometheus"] };

/// An unpacked Prometheus.
#[derive(Clone, Debug)]
pub struct Prometheus {
    programs: PathBuf,
}

/// Prometheus, downloaded if this is the first time. Blocking.
///
/// # Errors
/// On other systems than Debian, or where its mirror does not answer.
pub fn ensure() -> Result<Prometheus> {
    Ok(Prometheus { programs: PACKAGES.ensure()?.root().join("usr/bin") })
}

impl Prometheus {
    /// Begins a command of the server; its arguments follow.
    #[must_use]
    pub fn server(&self) -> Command {
        Command::new(self.programs.join("prometheus"))
    }

    /// Begins a command of promtool, which checks rules and runs their unit tests; its arguments follow.
    #[must_use]
    pub fn promtool(&self) -> Command {
        Command::new(self.programs.join("promtool"))
    }
}
