//! Namespaces of its own for a process that wants a node: mounts, network and process ids. Daemons find their packages
//! installed and their folders writable, no port and no address meets those of the machine, and when the process in the
//! room ends, so does everything in it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use super::{ADDRESS, Programs, cgroups};

const DIR: &str = "ZITADEL_DEVKIT_ROOM";
pub(super) const CGROUP: &str = "ZITADEL_DEVKIT_CGROUP";

/// `$1` is the room's folder, `$2` the node's address, and what follows the program. Folders that daemons insist on are
/// writable copies; only what is below /tmp and the cache is shared with the machine. The shell stays as the first
/// process, which collects the ended children of others.
const SETUP: &str = r#"
dir=$1 address=$2
shift 2
for folder in etc var; do
    mkdir -p "$dir/$folder/upper" "$dir/$folder/work"
    mount -t overlay -o "lowerdir=/$folder,upperdir=$dir/$folder/upper,workdir=$dir/$folder/work" overlay "/$folder"
done
mount -t tmpfs tmpfs /run
mount --make-rshared /
mkdir "$dir/bin"
for name in iptables iptables-save iptables-restore ip6tables ip6tables-save ip6tables-restore; do
    ln -s /usr/sbin/xtables-nft-multi "$dir/bin/$name"
done
export PATH="$dir/bin:/usr/sbin:$PATH"
ip link set lo up
ip address add "$address/32" dev lo
ip route add 10.0.0.0/24 dev lo
ip route add default dev lo src "$address"
set +e
"$@"
exit $?
"#;

/// The folder of the room that this process is in.
#[must_use]
pub fn dir() -> Option<PathBuf> {
    env::var_os(DIR).map(PathBuf::from)
}

/// Runs this very program again, with its arguments, in a new room, and gives its exit code. Nothing of the room is left
/// afterwards. Needs root. Blocking.
pub fn enter(programs: &Programs) -> Result<ExitCode> {
    // Not in /var, /etc or /usr, which are overlays in the room.
    let folder = tempfile::Builder::new().prefix("zitadel-room-").tempdir_in("/tmp")?;
    let cgroup = format!("zitadel-devkit-{}", std::process::id());
    cgroups::make(&cgroup)?;
    let flags = ["--net", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let mut command: Command = programs.packages.installed(&flags);
    command
        .args(["sh", "-eu", "-c", SETUP, "room"])
        .arg(folder.path())
        .arg(ADDRESS.to_string())
        .arg(env::current_exe()?)
        .args(env::args_os().skip(1))
        .env(DIR, folder.path())
        .env(CGROUP, &cgroup);
    let status = command.status().context("running unshare");
    // By now every process of the room is dead: the first one took them along.
    cgroups::remove(&cgroup)?;
    let code = status?.code();
    folder.close().context("removing the folder of the room")?;
    match code.map(u8::try_from) {
        Some(Ok(code)) => Ok(ExitCode::from(code)),
        _ => bail!("the process in the room was killed"),
    }
}
