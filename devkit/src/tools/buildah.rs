//! buildah, which builds images without a daemon, from Debian's packages. It runs as root in namespaces of its own, so
//! that neither mounts nor processes stay, and keeps its images in a folder that goes with the [`Store`].

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use super::apt::{Packages, Unpacked};
use crate::progress::Step;
use crate::supervisor::{Ending, Supervisor};

/// buildah, and the libraries that a small machine may lack.
const PACKAGES: Packages<'_> = Packages {
    title: "buildah",
    name: "buildah",
    packages: &[
        "buildah",
        "libassuan0",
        "libdevmapper1.02.1",
        "libgpg-error0",
        "libgpgme11",
        "libseccomp2",
        "libsubid4",
    ],
};
/// Whatever is named is taken; nothing is pulled from a registry here.
const POLICY: &str = r#"{"default": [{"type": "insecureAcceptAnything"}]}"#;
/// `$0` is a folder for what buildah would write below `/var`.
const PRIVATE_VAR: &str = r#"
mkdir -p "$0/upper" "$0/work"
mount -t overlay -o "lowerdir=/var,upperdir=$0/upper,workdir=$0/work" overlay /var
exec "$@""#;
const POLL: Duration = Duration::from_millis(100);
const FAILURE_LINES: usize = 40;

/// Images in the making; gone when it is dropped.
#[derive(Debug)]
pub struct Store {
    packages: Unpacked,
    supervisor: Supervisor,
}

impl Store {
    /// An empty store, below `parent`, which must not be an overlay file system. Blocking.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let packages = PACKAGES.ensure()?;
        let supervisor = Supervisor::new_in(parent)?;
        fs::write(supervisor.dir().join("policy.json"), POLICY)?;
        fs::write(supervisor.dir().join("registries.conf"), "")?;
        // Otherwise it makes a folder for networks in /etc.
        let networks = format!("[network]\nnetwork_config_dir = \"{}/networks\"\n", supervisor.dir().display());
        fs::write(supervisor.dir().join("containers.conf"), networks)?;
        fs::create_dir(supervisor.dir().join("tmp"))?;
        Ok(Self { packages, supervisor })
    }

    /// The folder of this store, for what is not kept.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.supervisor.dir()
    }

    /// Runs `buildah SUBCOMMAND ARGUMENTS` to its end, showing `title` meanwhile, and gives what it printed.
    pub fn run<S: AsRef<std::ffi::OsStr>>(&self, title: &str, subcommand: &str, arguments: &[S]) -> Result<String> {
        let mut command = self.command(subcommand);
        command.args(arguments);
        self.finish(title, &command)
    }

    fn command(&self, subcommand: &str) -> Command {
        let dir = self.dir().display();
        let mut command = self.packages.installed(&["--pid", "--fork", "--kill-child", "--mount-proc"]);
        command
            .args(["sh", "-euc", PRIVATE_VAR, &format!("{dir}/var")])
            .args(["buildah", "--storage-driver=overlay"])
            .args([format!("--root={dir}/images"), format!("--runroot={dir}/run")])
            .arg(format!("--registries-conf={dir}/registries.conf"))
            .arg(subcommand)
            .env("CONTAINERS_CONF", self.dir().join("containers.conf"))
            .env("TMPDIR", self.dir().join("tmp"))
            .env("BUILDAH_ISOLATION", "chroot");
        if matches!(subcommand, "build" | "from" | "pull" | "push" | "commit") {
            command.arg(format!("--signature-policy={dir}/policy.json"));
        }
        command
    }

    /// The output goes through a file, so that a long build can be watched and dies with this process.
    fn finish(&self, title: &str, command: &Command) -> Result<String> {
        let step = Step::start(title);
        let log = self.supervisor.log_path("buildah");
        if log.exists() {
            fs::remove_file(&log).context("removing the last log of buildah")?;
        }
        self.supervisor.start("buildah", command, Ending::Graceful)?;
        let code = loop {
            if let Some(code) = self.supervisor.exit_code("buildah") {
                break code;
            }
            self.supervisor.check_alive()?;
            step.update(format!("{title}: {}", self.supervisor.log_tail("buildah", 1).trim()));
            thread::sleep(POLL);
        };
        if code != 0 {
            bail!("{title} failed:\n{}", self.supervisor.log_tail("buildah", FAILURE_LINES));
        }
        step.done(title);
        Ok(String::from_utf8_lossy(&fs::read(log)?).into_owned())
    }
}
