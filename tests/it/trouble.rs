//! Bad settings at start and files that change: the operator starts, stays alive, is ready, says so on the objects, and
//! recovers without a restart.

use zitadel_stand_in::{Generation, Role};

use crate::world::{Setup, World, condition, log, webhook};

#[tokio::test]
async fn an_unreachable_url_is_told_and_survived() {
    let world = World::new(Generation::V2).await;
    world.zitadel.pause().await;
    world.terminate(&world.operator()).await;
    world.start_operator(&[]).await;
    world.create("hook", webhook()).await;
    let target = world.reason("hook", "ZitadelUnavailable").await;
    assert!(condition(&target, "Reconciling").is_some());
    assert!(world.note("ZitadelUnavailable").await.contains("cannot connect"));
    assert_eq!(world.http("/livez").await.unwrap().0, 200);
    assert_eq!(world.http("/readyz").await.unwrap().0, 200);
    world.zitadel.resume().await.unwrap();
    world.ready("hook").await;
    world.finish().await;
}

#[tokio::test]
async fn a_wrong_ca_file_is_told_and_may_be_replaced() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let ca = world.dir.path().join("ca.pem");
    world.start_operator(&[&format!("--zitadel-ca-file={}", ca.display())]).await;
    world.create("hook", webhook()).await;
    let says =
        |part: &'static str| move |t: &_| condition(t, "Ready").is_some_and(|(_, _, message)| message.contains(part));
    world.until_target("hook", "told of a missing CA file", says("cannot be read")).await;
    std::fs::write(&ca, "no certificate").unwrap();
    world.until_target("hook", "told of a useless CA file", says("holds no PEM certificates")).await;
    // The stand-in speaks http, so any certificate will do from here on.
    std::fs::copy(crate::cluster::plane().dir().join("certificates/apiserver.crt"), &ca).unwrap();
    world.ready("hook").await;
    world.finish().await;
}

/// TLS to a server whose certificate the given CA did not sign, and then to one that it did.
#[tokio::test]
async fn tls_is_verified_against_the_given_ca() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let ca = world.dir.path().join("ca.pem");
    // kube-apiserver is the one TLS server at hand. It knows no token of ours, which is told apart from a failed
    // handshake.
    let url = crate::cluster::plane().url();
    std::fs::write(&ca, include_str!("testdata/unrelated-ca.pem")).unwrap();
    let flags = [format!("--zitadel-url={url}"), format!("--zitadel-ca-file={}", ca.display())];
    world.start_operator(&[&flags[0], &flags[1]]).await;
    world.create("hook", webhook()).await;
    world.reason("hook", "ZitadelUnavailable").await;
    let note = world.note("ZitadelUnavailable").await;
    assert!(note.contains("cannot connect") && note.to_lowercase().contains("certificate"), "{note}");
    std::fs::copy(crate::cluster::plane().dir().join("certificates/apiserver.crt"), &ca).unwrap();
    world
        .until("the handshake succeeds", || async {
            let log = log(&world.operator());
            log.contains("HTTP 401")
        })
        .await;
    world.finish().await;
}

#[tokio::test]
async fn the_token_file_is_replaced_while_running() {
    let world = World::new(Generation::V3Alpha).await;
    world.create("one", webhook()).await;
    world.ready("one").await;
    let fresh = world.zitadel.issue_token(Role::IamOwner);
    world.write_token(&fresh);
    world.zitadel.revoke_token(&world.zitadel.token());
    world.create("two", webhook()).await;
    world.ready("two").await;
    let target = world.get("one").await;
    assert!(crate::world::is_ready(&target), "the change went unnoticed by the objects");
    world.finish().await;
}
