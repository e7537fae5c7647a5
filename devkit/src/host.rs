//! What tests and the demo need from the machine they run on: free loopback ports, random bytes, what a program
//! answers, and waiting for a condition with a deadline. Unix only, like the rest of this crate.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Kernels hand out ports from 32768 upwards to outgoing connections; staying below avoids meeting one of those.
const PORTS: std::ops::Range<u16> = 10_000..32_768;
const POLL: Duration = Duration::from_millis(20);

/// Made once, which is slow in the debug profile. It keeps no connection: each would belong to the runtime of one test.
static HTTP: LazyLock<reqwest::Client> = LazyLock::new(|| {
    install_crypto();
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).pool_max_idle_per_host(0);
    client.build().expect("it needs nothing that could be missing")
});

/// A TCP port on 127.0.0.1 that was free a moment ago. Somebody else may take it before you do, so whoever binds it
/// retries with another one.
pub fn free_port() -> Result<u16> {
    for _ in 0..100 {
        let span = PORTS.end - PORTS.start;
        let port = PORTS.start + u16::from_ne_bytes(random_bytes()?) % span;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port found between {} and {}", PORTS.start, PORTS.end)
}

/// The cryptography of TLS for this process. A second call changes nothing.
pub fn install_crypto() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// What a program on this machine answers: status and text, or nothing within two seconds.
pub async fn http_get(port: u16, path: &str) -> Option<(u16, String)> {
    let answer = HTTP.get(format!("http://127.0.0.1:{port}{path}")).send().await.ok()?;
    Some((answer.status().as_u16(), answer.text().await.ok()?))
}

/// Takes from a command of the operator what the environment has for its flags: a test's own are to count.
pub fn without_zitadel(command: &mut Command) -> &mut Command {
    let for_flags = |name: &str| name.starts_with("ZITADEL_") || name.starts_with("OTEL_");
    for (name, _) in std::env::vars_os().filter(|(name, _)| for_flags(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    command
}

/// 32 hexadecimal digits from the kernel's random source, good enough for a secret.
pub fn random_hex() -> Result<String> {
    Ok(format!("{:032x}", u128::from_ne_bytes(random_bytes()?)))
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

fn random_bytes<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes)).context("reading /dev/urandom")?;
    Ok(bytes)
}

/// Asks `probe` until it answers `Some`, fails, or `timeout` has passed; `what` completes "timed out waiting for".
pub fn wait_for<T>(what: &str, timeout: Duration, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = probe()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            bail!("timed out after {} s waiting for {what}", timeout.as_secs());
        }
        thread::sleep(POLL);
    }
}
