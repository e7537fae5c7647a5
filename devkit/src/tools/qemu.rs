//! QEMU's user mode, which runs a static program that was built for another processor, from Debian's package. Nothing is
//! registered with the kernel: the program is named on the command line.

use std::path::PathBuf;

use anyhow::Result;

use super::apt::Packages;

const PACKAGES: Packages<'_> = Packages { title: "qemu-user", name: "qemu-user", packages: &["qemu-user-static"] };

/// The program that runs others that were built for 64-bit ARM, downloaded if this is the first time. Blocking.
pub fn aarch64() -> Result<PathBuf> {
    Ok(PACKAGES.ensure()?.root().join("usr/bin/qemu-aarch64-static"))
}
