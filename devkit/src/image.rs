//! The operator's own image, built from the Dockerfile as a release builds it, but with a base image that this machine
//! can make ([`rust_image`]). What does not change the binary does not build it anew: the
//! image is kept in the [`cache`] under a hash of its sources.

use std::env;
use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::cache::{self, Entry, Workshop};
use crate::tools::buildah::Store;
use crate::tools::rust_image;

/// The name of the image in its archive, as the chart's defaults name it.
pub const REPOSITORY: &str = "ghcr.io/zitadel-actions/zitadel-actions-operator";
/// The revision that its label tells.
pub const REVISION: &str = "built-by-a-test";
/// The base image in the store of a build.
const BASE: &str = "localhost/rust:base";
/// A folder with an `image.tar` for amd64 that was built elsewhere, to be used in place of building one.
const OWN: &str = "OPERATOR_IMAGE";
const DOCKERFILE: &str = "Dockerfile";
/// All that the image depends on beside the Dockerfile; manifests and sources of the other workspace members are only read by cargo.
const SOURCES: [&str; 5] = [".ci/build-static", "Cargo.toml", "Cargo.lock", "LICENSE", "src"];

/// For which processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// x86-64.
    Amd64,
    /// 64-bit ARM.
    Arm64,
}

impl Architecture {
    /// As images name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }
}

/// A built image.
#[derive(Clone, Debug)]
pub struct Image {
    dir: PathBuf,
}

impl Image {
    /// Builds the image, or finds it built (about 8 minutes on two cores; the base image comes before). Needs root.
    /// Blocking.
    pub fn ensure(architecture: Architecture) -> Result<Self> {
        if let Some(dir) = env::var_os(OWN).filter(|_| architecture == Architecture::Amd64) {
            return Ok(Self { dir: dir.into() });
        }
        Self::of(architecture, &fs::read_to_string(root().join(DOCKERFILE)).context("reading the Dockerfile")?)
    }

    /// As [`Image::ensure`], with the sources in another folder than the Dockerfile's, and those of the crates too: to
    /// show that it makes no difference.
    pub fn ensure_elsewhere(architecture: Architecture, sources: &str, cargo_home: &str) -> Result<Self> {
        let usual = fs::read_to_string(root().join(DOCKERFILE)).context("reading the Dockerfile")?;
        let workdir = "\nWORKDIR /source\n";
        ensure!(usual.contains(workdir), "the Dockerfile builds in another folder");
        let elsewhere = usual.replace(workdir, &format!("\nENV CARGO_HOME={cargo_home}\nWORKDIR {sources}\n"));
        Self::of(architecture, &elsewhere)
    }

    fn of(architecture: Architecture, dockerfile: &str) -> Result<Self> {
        let title = format!("the operator's image for {}", architecture.name());
        let key = format!("{}-{:016x}", architecture.name(), hash_of_sources(dockerfile)?);
        let entry = Entry { title: &title, name: "image", key: &key };
        let (dir, _) = cache::ensure(entry, |workshop| build(workshop, architecture, dockerfile))?;
        Ok(Self { dir })
    }

    /// The image as `docker save` writes it.
    #[must_use]
    pub fn archive(&self) -> PathBuf {
        self.dir.join("image.tar")
    }

    /// What buildah printed while building.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("build.log")
    }
}

/// `ghcr.io/...:VERSION`, with the version of this workspace.
#[must_use]
pub fn reference() -> String {
    format!("{REPOSITORY}:{}", env!("CARGO_PKG_VERSION"))
}

fn build(workshop: &Workshop, architecture: Architecture, dockerfile: &str) -> Result<()> {
    let file = workshop.dir().join(DOCKERFILE);
    fs::write(&file, dockerfile)?;
    let base = rust_image::ensure()?;
    let store = Store::new_in(workshop.dir())?;
    let pulled = store.run("unpacking the base image", "pull", &["--quiet", &format!("dir:{}", base.display())])?;
    name_base(&store, pulled.lines().last().unwrap_or_default().trim(), architecture)?;
    let log = store.run(
        &format!("building the image for {}", architecture.name()),
        "build",
        &[
            &format!("--build-arg=RUST_IMAGE={BASE}"),
            &format!("--build-arg=REVISION={REVISION}"),
            &format!("--platform=linux/{}", architecture.name()),
            "--network=host",
            // Every layer and the image have one date, and it is not today's.
            "--timestamp=0",
            &format!("--file={}", file.display()),
            &format!("--tag={}", reference()),
            &root().display().to_string(),
        ],
    )?;
    fs::write(workshop.result().join("build.log"), log)?;
    let archive = format!("docker-archive:{}:{}", workshop.result().join("image.tar").display(), reference());
    store.run("keeping the image", "push", &[&reference(), &archive])?;
    Ok(())
}

/// Gives the base image its name. buildah 1.28 looks every base image up for the platform that is built for, also where the
/// Dockerfile says `FROM --platform=$BUILDPLATFORM`. So that it finds this one, a copy says that it is for that platform;
/// its programs stay those of this machine and run as they are.
fn name_base(store: &Store, id: &str, architecture: Architecture) -> Result<()> {
    const COPY: &str = "base";
    store.run("copying the base image", "from", &["--pull-never", &format!("--name={COPY}"), id])?;
    store.run("labelling the base image", "config", &[&format!("--arch={}", architecture.name()), COPY])?;
    store.run("naming the base image", "commit", &["--quiet", "--rm", COPY, BASE])?;
    Ok(())
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/")).to_owned()
}

fn hash_of_sources(dockerfile: &str) -> Result<u64> {
    let mut hash = fnv::FnvHasher::default();
    hash.write(dockerfile.as_bytes());
    for source in SOURCES {
        add(&root().join(source), &mut hash)?;
    }
    Ok(hash.finish())
}

fn add(path: &Path, hash: &mut fnv::FnvHasher) -> Result<()> {
    hash.write(path.strip_prefix(root())?.as_os_str().as_encoded_bytes());
    if path.is_file() {
        hash.write(&fs::read(path).with_context(|| format!("reading {}", path.display()))?);
        return Ok(());
    }
    let mut entries = fs::read_dir(path)
        .with_context(|| format!("reading {}", path.display()))?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| add(entry, hash))
}
