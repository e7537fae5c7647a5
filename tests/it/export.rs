//! `export`: what it prints adopts every target, and changes nothing in ZITADEL.

use std::process::{Command, Output};
use std::time::Duration;

use kube::api::ListParams;
use zitadel_stand_in::{Generation, TargetEdit, TargetKind};

use crate::check::{check, report};
use crate::world::{Setup, World, is_ready};

/// Runs `export` on a world's ZITADEL.
async fn export(world: &World, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
    devkit::host::without_zitadel(&mut command).args(["export", "--zitadel-url", &world.zitadel.url()]);
    command.args(["--zitadel-token-file", world.token_file().to_str().unwrap()]).args(arguments);
    tokio::task::spawn_blocking(move || command.output().expect("the binary starts")).await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Targets of every kind, under names that Kubernetes takes and under ones that it does not.
fn seed(world: &World) -> usize {
    let names = [
        "audit-webhook",
        "My Hook",
        "my-hook",
        "Über Hook",
        "日本",
        "CAPITALS",
        "a.b/c",
        "yes",
        "010",
        "  spaces  ",
        "quote \" and: colon #",
        "-dash-",
        "y",
        "null",
        "~",
        "0x1F",
        "1e3",
        "1_0",
        "<<",
        ".inf",
        "true",
    ];
    for (index, name) in names.iter().enumerate() {
        let kind = [TargetKind::Webhook, TargetKind::Call, TargetKind::Async][index % 3];
        let edit = TargetEdit {
            kind: Some(kind),
            interrupt_on_error: Some(index % 2 == 0 && kind != TargetKind::Async),
            timeout: Some([Duration::from_millis(500), Duration::from_secs(10)][index % 2]),
            endpoint: Some(format!("https://hooks.example.com/{index}?a=b#c")),
            ..TargetEdit::default()
        };
        world.zitadel.external_create(name, edit);
    }
    world.zitadel.external_create(&"long ".repeat(40), TargetEdit::default());
    names.len() + 1
}

#[tokio::test]
async fn an_export_is_checked_applied_and_adopted_without_a_write() {
    for generation in [Generation::V3Alpha, Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2] {
        let world = World::with(Setup::new(generation)).await;
        let count = seed(&world);
        let before = world.zitadel.events().len();
        let exported = export(&world, &["--namespace", &world.namespace]).await;
        let manifests = text(&exported.stdout);
        assert!(exported.status.success(), "{exported:?}");
        assert_eq!(text(&exported.stderr), format!("{count} targets exported, 0 left out\n"));
        assert!(!manifests.to_lowercase().contains("signing"), "{manifests}");

        let findings = report(&["-"], &manifests)["findings"].as_array().unwrap().len();
        assert_eq!(findings, 0, "{:?}", check(&["-"], &manifests));
        let applied = world.kubectl(&["apply", "-f", "-"], &manifests).await;
        assert!(applied.ok, "{applied:?}");
        let ready =
            async || world.targets().list(&ListParams::default()).await.unwrap().iter().filter(|t| is_ready(t)).count();
        world.until("every Target is Ready", || async { ready().await == count }).await;
        world.resyncs(2).await;
        let (ready, writes) = (ready().await, world.zitadel.events().len() - before);
        println!("{generation}: {count} targets exported, {findings} findings, {ready} Ready, {writes} remote writes");
        assert_eq!((ready, writes), (count, 0));

        let again = export(&world, &["--namespace", &world.namespace]).await;
        assert_eq!(text(&again.stdout), manifests, "two exports of the same targets are equal");
        world.finish().await;
    }
}

/// Another target neither moves nor renames those that were there, even where both make the same name.
#[tokio::test]
async fn a_new_target_changes_nothing_but_its_own_document() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let ids: Vec<_> =
        ["My Hook", "audit"].map(|name| world.zitadel.external_create(name, TargetEdit::default())).into();
    let documents =
        |output: &Output| text(&output.stdout).split("---\n").skip(1).map(str::to_owned).collect::<Vec<_>>();
    let before = documents(&export(&world, &[]).await);
    for name in ["my-hook", "MY  HOOK", "zzz"] {
        world.zitadel.external_create(name, TargetEdit::default());
    }
    let output = export(&world, &["--connection-ref", "ClusterConnection/main"]).await;
    assert!(text(&output.stdout).contains("kind: ClusterConnection"), "{output:?}");
    let after = documents(&export(&world, &[]).await);
    assert_eq!((before.len(), after.len()), (2, 5));
    assert!(before.iter().all(|document| after.contains(document)), "{before:#?}\n{after:#?}");
    assert!(after.iter().any(|document| document.contains(&format!("name: my-hook-{}\n", ids[0]))), "{after:#?}");
}

#[tokio::test]
async fn what_no_manifest_can_say_is_left_out_and_told() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    let id = world.zitadel.external_create(&"x".repeat(201), TargetEdit::default());
    world.zitadel.external_create("fine", TargetEdit::default());
    let output = export(&world, &[]).await;
    assert!(output.status.success() && !text(&output.stdout).contains(&id), "{output:?}");
    let told = text(&output.stderr);
    assert!(told.starts_with(&format!("left out: {id} \"xxx")), "{told}");
    assert!(told.contains("spec.name: write at most 200 characters"), "{told}");
    assert!(told.ends_with("\n1 targets exported, 1 left out\n"), "{told}");
}

#[tokio::test]
async fn an_export_that_cannot_read_says_why() {
    let world = World::with(Setup::new(Generation::V2).without_operator()).await;
    world.write_token("wrong");
    let output = export(&world, &[]).await;
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{output:?}");
    assert!(text(&output.stderr).starts_with("error: cannot read the targets of http://127.0.0.1"), "{output:?}");
    assert_eq!(export(&world, &["--connection-ref", "Secret/x"]).await.status.code(), Some(2));
    let bare =
        Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator")).arg("export").env_remove("ZITADEL_URL").output();
    assert_eq!(bare.unwrap().status.code(), Some(2));
}
