//! Programs built from a pinned Go module into the [`cache`]: a folder with `go.mod` and `go.sum`, which pin
//! every version, and possibly a small main package of ours. A [`Patch`] changes a line of what they are made from. Which
//! programs there are and what they are for lives with those who use them.

use std::fs;
use std::hash::Hasher as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use crate::cache::{self, Entry, Since, Workshop};
use crate::progress::{Step, line};
use crate::supervisor::{Ending, tail};

const POLL: Duration = Duration::from_millis(200);
const FAILURE_LINES: usize = 20;

/// Environment for Go programs that end soon, such as kubectl and helm: below the limit they collect no garbage, which is a
/// quarter of their processor time otherwise.
pub const SHORT_LIVED: [(&str, &str); 2] = [("GOGC", "off"), ("GOMEMLIMIT", "512MiB")];

/// One text in a module that the programs need, replaced while they are built. The module itself is pinned as ever.
#[derive(Clone, Copy, Debug)]
pub struct Patch<'a> {
    /// The path of the module, as `go.mod` requires it.
    pub module: &'a str,
    /// The file in it.
    pub file: &'a str,
    /// What stands there, exactly once.
    pub from: &'a str,
    /// What is built instead.
    pub to: &'a str,
}

/// Programs of one Go module that are built together.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// What the programs are together, as it stands in a sentence: `the local control plane`.
    pub title: &'a str,
    /// The directory in the cache.
    pub name: &'a str,
    /// The version that matters to a person, such as `v1.36.3`; part of the directory's name.
    pub version: &'a str,
    /// The folder of the module.
    pub dir: &'a Path,
    /// Name of each program and its Go package.
    pub programs: &'a [(&'a str, &'a str)],
    /// For `go build -ldflags`.
    pub linker_flags: &'a str,
    /// What is changed before the programs are built.
    pub patch: Option<Patch<'a>>,
    /// How long the first build takes, as it stands in a sentence: `about 6 to 8 minutes on two cores`.
    pub cost: &'a str,
    /// What to do where there is no Go.
    pub without_go: &'a str,
}

impl Module<'_> {
    /// The directory with the programs, after building them if this is the first time. Blocking.
    pub fn ensure(&self) -> Result<(PathBuf, Since)> {
        let key = self.key()?;
        let entry = Entry { title: self.title, name: self.name, key: &key };
        if let Some(dir) = cache::find(entry)? {
            return Ok((dir, Since::Before));
        }
        self.check_go()?;
        cache::ensure(entry, |workshop| self.build(workshop))
    }

    /// Everything the programs depend on but the version of Go, which go.mod pins from below.
    fn key(&self) -> Result<String> {
        let mut hash = fnv::FnvHasher::default();
        for file in self.sources()? {
            hash.write(&fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
        }
        for (name, package) in self.programs {
            hash.write(format!("{name} {package}\n").as_bytes());
        }
        hash.write(self.linker_flags.as_bytes());
        if let Some(Patch { module, file, from, to }) = self.patch {
            hash.write(format!("{module} {file} {from} {to}").as_bytes());
        }
        let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
        Ok(format!("{}-{os}-{arch}-{:016x}", self.version, hash.finish()))
    }

    /// The files of the module's folder, in a fixed order.
    fn sources(&self) -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(self.dir).with_context(|| format!("reading {}", self.dir.display()))?;
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.is_file() {
                files.push(path);
            }
        }
        files.sort();
        Ok(files)
    }

    fn check_go(&self) -> Result<()> {
        let output = Command::new("go").args(["env", "GOVERSION"]).current_dir(self.dir).output();
        let output = output.map_err(|error| anyhow!(error).context(self.without_go.to_owned()))?;
        if !output.status.success() {
            bail!("{}\n{}", self.without_go, String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }

    fn build(&self, workshop: &Workshop) -> Result<()> {
        fs::create_dir(workshop.dir().join("tmp"))?;
        line(&format!("Building {} ({}) from source: once, {}.", self.title, self.version, self.cost));
        let programs = workshop.supervisor();
        let patched = self.patch.map(|patch| self.patched(workshop, patch)).transpose()?;
        let sources = patched.as_deref().unwrap_or(self.dir);
        for (index, &(name, package)) in self.programs.iter().enumerate() {
            let text = format!("{name} ({} of {})", index + 1, self.programs.len());
            let step = Step::start(format!("building {text}"));
            programs.start(name, &self.build_command(workshop, sources, name, package), Ending::Graceful)?;
            let code = loop {
                if let Some(code) = programs.exit_code(name) {
                    break code;
                }
                programs.check_alive()?;
                step.update(progress(&programs.log_path(name), &text));
                thread::sleep(POLL);
            };
            if code != 0 {
                bail!("building {name} failed:\n{}", programs.log_tail(name, FAILURE_LINES));
            }
            step.done(&format!("built {text}"));
        }
        Ok(())
    }

    /// A copy of the module's folder that takes one of the modules it requires from a changed copy. Go has no way to replace
    /// a single file: an overlay must not touch the module cache.
    fn patched(&self, workshop: &Workshop, patch: Patch<'_>) -> Result<PathBuf> {
        let (sources, copy) = (workshop.dir().join("sources"), workshop.dir().join("patched"));
        fs::create_dir(&sources)?;
        for file in self.sources()? {
            fs::copy(&file, sources.join(file.file_name().unwrap_or_default()))?;
        }
        // Without the module cache's missing right to change what is in it.
        let copied = Command::new("cp")
            .args(["--recursive", "--no-preserve=mode"])
            .args([&module_dir(self.dir, patch.module)?, &copy])
            .status()
            .context("copying a module")?;
        ensure!(copied.success(), "{} could not be copied", patch.module);
        let changed = copy.join(patch.file);
        let text = fs::read_to_string(&changed).with_context(|| format!("reading {}", changed.display()))?;
        ensure!(text.matches(patch.from).count() == 1, "{} does not say once {}", patch.file, patch.from);
        fs::write(&changed, text.replace(patch.from, patch.to))?;
        let go_mod = fs::read_to_string(sources.join("go.mod"))?;
        let replace = format!("{go_mod}\nreplace {} => {}\n", patch.module, copy.display());
        fs::write(sources.join("go.mod"), replace)?;
        Ok(sources)
    }

    /// No `-trimpath`: it would share nothing with Go's build cache as other builds fill it.
    fn build_command(&self, workshop: &Workshop, sources: &Path, name: &str, package: &str) -> Command {
        let mut go = Command::new("go");
        go.args(["build", "-v", "-ldflags", self.linker_flags, "-o"])
            .arg(workshop.result().join(name))
            .arg(package)
            .current_dir(sources)
            .env("CGO_ENABLED", "0")
            .env("GOWORK", "off")
            .env("GOTMPDIR", workshop.dir().join("tmp"));
        go
    }
}

/// Where Go keeps a module that the one in `dir` requires, downloaded if need be and checked against its sum.
pub fn module_dir(dir: &Path, module: &str) -> Result<PathBuf> {
    let mut download = Command::new("go");
    download.args(["mod", "download", module]).current_dir(dir).env("GOWORK", "off");
    let mut list = Command::new("go");
    list.args(["list", "-m", "-f", "{{.Dir}}", module]).current_dir(dir).env("GOWORK", "off");
    let mut printed = String::new();
    for command in [&mut download, &mut list] {
        let output = command.output().context("running go")?;
        ensure!(output.status.success(), "go does not find {module}: {}", String::from_utf8_lossy(&output.stderr));
        printed = String::from_utf8(output.stdout)?;
    }
    Ok(PathBuf::from(printed.trim()))
}

/// `go build -v` writes one line for each module it downloads and each package it compiles; while it links, nothing.
fn progress(log: &Path, text: &str) -> String {
    let log = fs::read_to_string(log).unwrap_or_default();
    let packages = log.lines().filter(|line| !line.starts_with("go: ")).count();
    match tail(&log, 1).as_str() {
        "" => format!("building {text}"),
        last => format!("building {text}: {packages} packages compiled, last {last}"),
    }
}
