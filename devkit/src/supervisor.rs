//! Programs that live exactly as long as this process wants them, and never longer than the process itself. Each
//! [`Supervisor`] is a small shell script (`supervisor.sh`) in a process group of its own, with a private working
//! directory. It holds the reading end of a pipe; when our end closes, be it by `Drop`, a panic, a static that is
//! never dropped, Ctrl-C or SIGKILL, it stops what it started and removes the directory.
//!
//! Limit: SIGKILL of the script itself leaves its programs running.

use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};

use crate::host::wait_for;

const SCRIPT: &str = include_str!("supervisor.sh");
/// Longer than the script's own patience before and after SIGKILL, a few times over: commands of other threads may be
/// in front of ours.
const COMMAND_TIMEOUT: Duration = Duration::from_mins(1);

static LIVE: Mutex<Vec<Weak<Inner>>> = Mutex::new(Vec::new());

/// A set of running programs and the directory they work in. Clones are handles to the same set.
#[derive(Clone, Debug)]
pub struct Supervisor {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    shell: Mutex<Option<Shell>>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    commands: ChildStdin,
    /// How many commands were written.
    sent: u64,
}

/// How a program is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGTERM, and SIGKILL if it has not ended after 5 s.
    Graceful,
    /// SIGKILL at once, for a program that loses nothing by it.
    Abrupt,
}

impl Ending {
    fn signal(self) -> Signal {
        match self {
            Self::Graceful => Signal::Terminate,
            Self::Abrupt => Signal::Kill,
        }
    }
}

/// What [`Supervisor::signal`] can do to a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM.
    Terminate,
    /// SIGKILL.
    Kill,
    /// SIGSTOP: the program keeps its connections but answers nothing.
    Freeze,
    /// SIGCONT, after [`Signal::Freeze`].
    Thaw,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Terminate => "TERM",
            Self::Kill => "KILL",
            Self::Freeze => "STOP",
            Self::Thaw => "CONT",
        }
    }
}

impl Supervisor {
    /// Starts with no program, in a new directory (mode 0700) under the system's temporary directory.
    pub fn new() -> Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    /// As [`Supervisor::new`], with the directory made under `parent`.
    pub fn new_in(parent: &Path) -> Result<Self> {
        let dir = tempfile::Builder::new()
            .prefix("zitadel-devkit-")
            .tempdir_in(parent)
            .with_context(|| format!("creating a working directory in {}", parent.display()))?;
        let script = dir.path().join("supervisor.sh");
        fs::write(&script, SCRIPT)?;
        let mut child = Command::new("sh")
            .arg(&script)
            .arg(dir.path())
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(fs::File::create(dir.path().join("supervisor.log"))?)
            .spawn()
            .context("starting sh")?;
        let commands = child.stdin.take().context("the supervisor has no stdin")?;
        // From here on the script removes the directory.
        let inner = Arc::new(Inner { dir: dir.keep(), shell: Mutex::new(Some(Shell { child, commands, sent: 0 })) });
        let mut live = lock(&LIVE);
        live.retain(|other| other.strong_count() > 0);
        live.push(Arc::downgrade(&inner));
        Ok(Self { inner })
    }

    /// The private working directory; gone when the supervisor has stopped.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// Runs `command` as `name` (letters, digits, `-`), or runs it again after it ended. Program, arguments, working
    /// directory and environment changes are taken from `command`, all else is ignored; output goes to
    /// [`Supervisor::log_path`]. Programs are stopped in the opposite order of their first start.
    pub fn start(&self, name: &str, command: &Command, ending: Ending) -> Result<()> {
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            bail!("{name:?} cannot name a supervised program");
        }
        if self.file(name, "pid").exists() && self.exit_code(name).is_none() {
            bail!("{name} runs already");
        }
        fs::write(self.file(name, "ending"), ending.signal().name())?;
        fs::write(self.file(name, "run"), run_script(command)).with_context(|| format!("preparing {name}"))?;
        self.tell(&format!("start {name}"))
    }

    /// Ends `name`, as was said at its start, and waits until it has ended. Nothing happens if it has, or never ran.
    pub fn stop(&self, name: &str) -> Result<()> {
        if self.pid(name).is_none() {
            return Ok(());
        }
        self.tell(&format!("stop {name}"))?;
        if self.exit_code(name).is_none() {
            bail!("{name} has not ended");
        }
        Ok(())
    }

    /// Sends one signal to `name`, without waiting for what it does.
    pub fn signal(&self, name: &str, signal: Signal) -> Result<()> {
        self.tell(&format!("signal {name} {}", signal.name()))
    }

    /// Waits until `name` has ended and gives its exit code; a shell's 128 + n where a signal ended it.
    pub fn wait_for_exit(&self, name: &str, timeout: Duration) -> Result<i32> {
        wait_for(&format!("{name} to end"), timeout, || {
            self.check_alive()?;
            Ok(self.exit_code(name))
        })
    }

    /// The process id of the running or last run of `name`.
    #[must_use]
    pub fn pid(&self, name: &str) -> Option<u32> {
        read_number(&self.file(name, "pid"))
    }

    /// The exit code of `name`, `None` while it runs; a shell's 128 + n where a signal ended it.
    #[must_use]
    pub fn exit_code(&self, name: &str) -> Option<i32> {
        read_number(&self.file(name, "exit"))
    }

    /// Where the output of `name` goes; a second run is appended.
    #[must_use]
    pub fn log_path(&self, name: &str) -> PathBuf {
        self.file(name, "log")
    }

    /// The last `lines` lines that `name` wrote.
    #[must_use]
    pub fn log_tail(&self, name: &str, lines: usize) -> String {
        let log = fs::read(self.log_path(name)).unwrap_or_default();
        tail(&String::from_utf8_lossy(&log), lines)
    }

    /// Stops every program, removes the directory and waits until that is done. Later calls do nothing.
    pub fn shut_down(&self) -> Result<()> {
        self.inner.shut_down()
    }

    fn file(&self, name: &str, kind: &str) -> PathBuf {
        self.inner.dir.join(format!("{name}.{kind}"))
    }

    /// Has one command done.
    fn tell(&self, command: &str) -> Result<()> {
        let number = self.send(&format!("{command}\n"))?;
        wait_for(&format!("the supervisor to {command}"), COMMAND_TIMEOUT, || {
            self.check_alive()?;
            Ok(read_number(&self.inner.dir.join("done")).filter(|&done: &u64| done >= number).map(drop))
        })
    }

    /// Writes one command and gives its number.
    fn send(&self, line: &str) -> Result<u64> {
        let mut shell = lock(&self.inner.shell);
        let shell = shell.as_mut().ok_or_else(|| anyhow!("the supervisor is shut down"))?;
        shell.commands.write_all(line.as_bytes()).context("the supervisor has ended")?;
        shell.sent += 1;
        Ok(shell.sent)
    }

    /// Fails once the supervisor has ended, and with it every program.
    pub(crate) fn check_alive(&self) -> Result<()> {
        match lock(&self.inner.shell).as_mut() {
            None => bail!("the supervisor is shut down"),
            Some(shell) => match shell.child.try_wait()? {
                None => Ok(()),
                Some(status) => bail!("the supervisor has ended: {status}"),
            },
        }
    }
}

impl Inner {
    fn shut_down(&self) -> Result<()> {
        let Some(Shell { mut child, commands, .. }) = lock(&self.shell).take() else {
            return Ok(());
        };
        drop(commands);
        child.wait().context("waiting for the supervisor")?;
        if self.dir.exists() {
            bail!("{} could not be removed", self.dir.display());
        }
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A destructor has nobody to tell.
        let _ = self.shut_down();
    }
}

/// Shuts down every supervisor of this process and waits until that is done: the last act of a signal handler.
pub fn shut_down_all() {
    let live: Vec<_> = lock(&LIVE).iter().filter_map(Weak::upgrade).collect();
    for inner in live {
        // The process is about to end; the pipe's end of file remains as the second try.
        let _ = inner.shut_down();
    }
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<_> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read_number<N: std::str::FromStr>(path: &Path) -> Option<N> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// `exec` keeps the process id that the supervisor knows.
fn run_script(command: &Command) -> Vec<u8> {
    let mut script = Vec::new();
    for (key, value) in command.get_envs() {
        match value {
            None => script.extend([b"unset ", key.as_bytes()].concat()),
            Some(value) => script.extend([b"export ", key.as_bytes(), b"=", &quoted(value)].concat()),
        }
        script.push(b'\n');
    }
    if let Some(dir) = command.get_current_dir() {
        script.extend([b"cd ", quoted(dir.as_os_str()).as_slice(), b" || exit\n"].concat());
    }
    script.extend(b"exec");
    for word in std::iter::once(command.get_program()).chain(command.get_args()) {
        script.push(b' ');
        script.extend(quoted(word));
    }
    script.push(b'\n');
    script
}

fn quoted(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for &byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend(br"'\''"),
            byte => quoted.push(byte),
        }
    }
    quoted.push(b'\'');
    quoted
}
