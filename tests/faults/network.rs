//! F13: the way to ZITADEL below HTTP: certificates that are not to be believed, names that come, go and move.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path as File;
use std::process::Command;

use devkit::proxy::{Identity, TcpProxy, TlsProxy};
use libtest_mimic::{Failed, Trial};
use serde_json::json;
use zitadel_stand_in::{Generation, Options};

use crate::answers::not_ready;
use crate::arena::Arena;
use crate::judge::{judge, posts, settled};
use crate::report::{Outcome, Suite, trial};
use crate::world::{GENERATIONS, Setup, webhook};

fn address(arena: &Arena) -> SocketAddr {
    arena.remote.url().trim_start_matches("http://").parse().unwrap()
}

async fn certificates() -> Result<(), Failed> {
    let mut suite = Suite::new("F13 TLS certificate expired, of an unknown authority, of another name");
    for identity in [Identity::Expired, Identity::Unknown, Identity::Misnamed] {
        suite.each(&format!("{identity:?}"), move |generation| distrust(identity, generation));
    }
    suite.finish().await
}

/// The certificate is bad while an object is made and while it is changed, and good again without a restart.
async fn distrust(identity: Identity, generation: Generation) {
    let arena = Arena::new(generation).await;
    let tls = TlsProxy::start(address(&arena)).unwrap();
    let (url, authority) = (format!("--zitadel-url={}", tls.url()), tls.authority());
    let authority = format!("--zitadel-ca-file={}", authority.display());
    arena.start_with(&[&url, &authority]).await;
    tls.show(identity);
    arena.create("hook", webhook()).await;
    not_ready(&arena).await;
    assert_eq!(arena.zitadel.calls().len(), 0, "a call was made over a connection that is not to be believed");
    tls.show(Identity::Right);
    settled(&arena).await;
    tls.show(identity);
    arena.edit("hook", json!({"timeout": "3s"})).await;
    not_ready(&arena).await;
    tls.show(Identity::Right);
    judge(&arena, 1).await;
    assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
    arena.close().await;
}

async fn names() -> Result<(), Failed> {
    let mut suite = Suite::new("F13 DNS: the name of ZITADEL goes and comes, its address changes");
    for generation in GENERATIONS {
        suite.attempt(format!("{generation}"), renamed(generation));
    }
    suite.finish().await
}

/// The operator's own /etc/hosts is put over the system's, in a mount namespace of its own.
const OWN_HOSTS: &str = "mount --bind \"$0\" /etc/hosts && exec \"$@\"";
const NAME: &str = "zitadel.test";

async fn renamed(generation: Generation) -> Outcome {
    if let Err(why) = namespaces() {
        return Outcome::Impossible(why);
    }
    let dir = tempfile::tempdir().unwrap();
    let hosts = dir.path().join("hosts");
    let known = |address: &str| std::fs::write(&hosts, format!("127.0.0.1 localhost\n{address} {NAME}\n")).unwrap();
    known("127.0.0.1");
    let mut setup = Setup::new(generation);
    setup.stand_in = Options { external_domain: Some(NAME.to_owned()), ..Options::new(generation) };
    setup.wrapper = mounted(OWN_HOSTS, &hosts);
    let arena = Arena::with(setup).await;
    let first = TcpProxy::start(address(&arena)).unwrap();
    let port = first.port();
    arena.start_with(&[&format!("--zitadel-url=http://{NAME}:{port}"), "--zitadel-allow-http"]).await;
    arena.create("hook", webhook()).await;
    settled(&arena).await;
    // The name is gone, and so are the connections: new ones need it.
    std::fs::write(&hosts, "127.0.0.1 localhost\n").unwrap();
    drop(first);
    arena.edit("hook", json!({"timeout": "3s"})).await;
    not_ready(&arena).await;
    // It comes back, and leads elsewhere.
    let second = TcpProxy::start_at((Ipv4Addr::new(127, 0, 0, 2), port).into(), address(&arena)).unwrap();
    known("127.0.0.2");
    settled(&arena).await;
    // It moves without a gap.
    let third = TcpProxy::start_at((Ipv4Addr::LOCALHOST, port).into(), address(&arena)).unwrap();
    known("127.0.0.1");
    drop(second);
    arena.edit("hook", json!({"timeout": "4s"})).await;
    judge(&arena, 1).await;
    assert_eq!(posts(&arena), 1, "{}", arena.explain().await);
    arena.close().await;
    drop(third);
    Outcome::Struck
}

/// A wrapper that runs the operator in a mount namespace, after a script with this file as `$0`.
pub fn mounted(script: &str, file: &File) -> Vec<String> {
    let file = file.to_str().unwrap();
    ["unshare", "--map-root-user", "--mount", "sh", "-c", script, file].map(str::to_owned).to_vec()
}

/// Whether this machine lets us have a mount namespace.
pub fn namespaces() -> Result<(), String> {
    let tried = Command::new("unshare").args(["--map-root-user", "--mount", "true"]).output();
    let output = tried.map_err(|error| format!("unshare: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}

pub fn trials() -> Vec<Trial> {
    vec![trial("faults_tls_certificates", certificates), trial("faults_dns", names)]
}
