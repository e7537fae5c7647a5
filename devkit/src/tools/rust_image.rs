//! A stand-in for Docker's official image of Rust, for machines that reach no image registry: Debian by debootstrap, a
//! C compiler, and the toolchain by rustup, where that image has them. Its certificate authorities are the machine's.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::apt::{Packages, Unpacked};
use super::buildah::Store;
use super::run;
use crate::cache::{self, Entry, Workshop};

/// That of the Dockerfile.
const RUST: &str = "1.95.0";
const DEBIAN: &str = "bookworm";
const MIRROR: &str = "http://deb.debian.org/debian";
const DEBOOTSTRAP: Packages<'_> =
    Packages { title: "debootstrap", name: "debootstrap", packages: &["debootstrap", "debian-archive-keyring"] };
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";
const CONTAINERFILE: &str = "\
FROM scratch
COPY root /
ENV RUSTUP_HOME=/usr/local/rustup CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
";

/// A folder for buildah's transport `dir:` with the image, made if this is the first time (about 2 minutes). Needs
/// root. Blocking.
pub fn ensure() -> Result<PathBuf> {
    let key = format!("{RUST}-{DEBIAN}-{}", std::env::consts::ARCH);
    let entry = Entry { title: "a base image with Rust", name: "rust-image", key: &key };
    let (dir, _) = cache::ensure(entry, fill)?;
    Ok(dir)
}

fn fill(workshop: &Workshop) -> Result<()> {
    let store = Store::new_in(workshop.dir())?;
    let root = workshop.dir().join("context/root");
    debian(workshop, &DEBOOTSTRAP.ensure()?, &root)?;
    rust(workshop, &root)?;
    let context = workshop.dir().join("context");
    fs::write(context.join("Containerfile"), CONTAINERFILE)?;
    let context = context.display().to_string();
    store.run("putting the base image together", "build", &["--tag=localhost/rust", &context])?;
    let kept = format!("dir:{}", workshop.result().display());
    store.run("keeping the base image", "push", &["--disable-compression", "localhost/rust", &kept])?;
    Ok(())
}

fn debian(workshop: &Workshop, debootstrap: &Unpacked, root: &Path) -> Result<()> {
    let script = debootstrap.root().join("usr/sbin/debootstrap");
    let keyring = debootstrap.root().join("usr/share/keyrings/debian-archive-keyring.gpg");
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--"])
        .arg("sh")
        .arg(script)
        .args(["--variant=minbase", "--include=ca-certificates,gcc,libc6-dev"])
        .arg(format!("--keyring={}", keyring.display()))
        .args([DEBIAN, &root.display().to_string(), MIRROR])
        .env("DEBOOTSTRAP_DIR", debootstrap.root().join("usr/share/debootstrap"));
    run(workshop, "debootstrap", &command)?;
    fs::copy(Path::new("/").join(AUTHORITIES), root.join(AUTHORITIES)).context("copying certificate authorities")?;
    Ok(())
}

fn rust(workshop: &Workshop, root: &Path) -> Result<()> {
    let cargo_bin = root.join("usr/local/cargo/bin");
    fs::create_dir_all(&cargo_bin)?;
    let rustup = Command::new("sh").args(["-c", "command -v rustup"]).output()?;
    let rustup = PathBuf::from(String::from_utf8(rustup.stdout)?.trim());
    if !rustup.is_file() {
        bail!("rustup is needed to make a base image");
    }
    fs::copy(&rustup, cargo_bin.join("rustup")).context("copying rustup")?;
    // One program under many names, as rustup installs itself.
    for name in ["cargo", "rustc"] {
        std::os::unix::fs::symlink("rustup", cargo_bin.join(name))?;
    }
    let mut install = Command::new(rustup);
    install
        .args(["toolchain", "install", RUST, "--profile=minimal", "--no-self-update"])
        .env("RUSTUP_HOME", root.join("usr/local/rustup"))
        .env("CARGO_HOME", root.join("usr/local/cargo"));
    run(workshop, "rust", &install)?;
    let settings = root.join("usr/local/rustup/settings.toml");
    let toolchain = format!("{RUST}-{}-unknown-linux-gnu", std::env::consts::ARCH);
    fs::write(settings, format!("version = \"12\"\ndefault_toolchain = \"{toolchain}\"\nprofile = \"minimal\"\n"))?;
    Ok(())
}
