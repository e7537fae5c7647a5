//! What the released binary and image are, shown by building them: `cargo test --test supply`, about 25 minutes the
//! first time on two cores, and not part of plain `cargo test`. Needs root, for the namespaces in which buildah works.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

#[path = "archive.rs"]
mod archive;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use devkit::image::{Architecture, Image, REVISION, reference};
use devkit::tools::{crates, qemu};
use serde_json::{Value, json};

use crate::archive::Archive;

/// The most that the image may weigh where it is downloaded.
const COMPRESSED: u64 = 15 << 20;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Runs a command to its end and gives what it printed.
fn output(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{}{error}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).unwrap()
}

/// A cargo that finds further subcommands.
fn cargo_with(tool: &crates::Tool) -> Command {
    let folder = tool.ensure().unwrap();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = [folder].into_iter().chain(std::env::split_paths(&path));
    let mut cargo = Command::new("cargo");
    cargo.env("PATH", std::env::join_paths(folders).unwrap());
    cargo
}

/// A copy of what is in the repository, as it stands in the working tree.
fn export(to: &Path) {
    let listed = output(Command::new("git").args(["ls-files", "-z"]).current_dir(root()));
    for name in listed.split('\0').filter(|name| !name.is_empty()) {
        // A file that is being moved is listed and absent.
        let Ok(bytes) = std::fs::read(root().join(name)) else { continue };
        let copy = to.join(name);
        std::fs::create_dir_all(copy.parent().unwrap()).unwrap();
        std::fs::write(&copy, bytes).unwrap();
        std::fs::set_permissions(&copy, std::fs::metadata(root().join(name)).unwrap().permissions()).unwrap();
    }
}

/// Advisories need the RustSec database of github.com; the workflow checks them.
#[test]
fn licences_bans_and_sources_are_in_order() {
    let mut deny = cargo_with(&crates::CARGO_DENY);
    deny.args(["deny", "--locked", "check", "bans", "licenses", "sources"]).current_dir(root());
    output(&mut deny);
}

/// The bill of materials names every crate that is in the binary, with licence and checksum.
#[test]
fn the_bill_of_materials_is_complete() {
    let copy = tempfile::tempdir().unwrap();
    export(copy.path());
    let mut cyclonedx = cargo_with(&crates::CARGO_CYCLONEDX);
    cyclonedx.args(["cyclonedx", "--format=json", "--spec-version=1.5", "--target=x86_64-unknown-linux-musl"]);
    output(cyclonedx.args(["--override-filename=sbom", "--manifest-path"]).arg(copy.path().join("Cargo.toml")));
    let bill: Value = serde_json::from_slice(&std::fs::read(copy.path().join("sbom.json")).unwrap()).unwrap();
    assert_eq!(bill["bomFormat"], "CycloneDX");
    assert_eq!(bill["metadata"]["component"]["name"], "zitadel-actions-operator");
    let components = bill["components"].as_array().unwrap();
    for component in components {
        let name = &component["name"];
        assert!(component["licenses"].is_array(), "{name} has no licence");
        assert!(component["hashes"].is_array(), "{name} has no checksum");
    }
    let named =
        |package: &Value| format!("{} {}", package["name"].as_str().unwrap(), package["version"].as_str().unwrap());
    let listed: BTreeSet<String> = components.iter().map(named).collect();

    let image = Archive::open(&Image::ensure(Architecture::Amd64).unwrap());
    let carried = image.dependencies();
    let inside: BTreeSet<String> = carried.iter().filter(|package| package["source"] != "local").map(named).collect();
    println!("{} crates in the bill of materials, {} in the binary", listed.len(), inside.len());
    assert!(inside.len() > 100);
    let missing: Vec<_> = inside.difference(&listed).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_image_holds_one_program_and_no_shell() {
    let image = Archive::open(&Image::ensure(Architecture::Amd64).unwrap());
    assert_eq!(
        image.files(),
        [
            "etc/group",
            "etc/passwd",
            "etc/ssl/certs/ca-certificates.crt",
            "licenses/LICENSE",
            "zitadel-actions-operator"
        ]
    );
    let config = &image.config()["config"];
    assert_eq!(config["User"], "65532:65532");
    assert_eq!(config["Entrypoint"], json!(["/zitadel-actions-operator"]));
    assert_eq!(config["ExposedPorts"], json!({"8080/tcp": {}}));
    let label = |name: &str| config["Labels"][format!("org.opencontainers.image.{name}")].as_str().unwrap_or_default();
    assert_eq!(label("title"), "zitadel-actions-operator");
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("revision"), REVISION);
    assert_eq!(label("licenses"), "Apache-2.0");
    assert_eq!(label("source"), env!("CARGO_PKG_REPOSITORY"));
    assert_eq!(image.repository_tag(), reference());
    let size = std::fs::metadata(image.root().join("zitadel-actions-operator")).unwrap().len();
    println!("binary {} KiB, image {} KiB", size / 1024, image.size() / 1024);
    assert!(image.size() < 40 << 20, "{} bytes", image.size());
}

/// What a registry stores and a node downloads: the one layer, compressed.
#[test]
fn the_layers_are_small() {
    let image = Archive::open(&Image::ensure(Architecture::Amd64).unwrap());
    let sizes: Vec<u64> = image.layers().iter().map(|layer| compressed(layer)).collect();
    println!("layers of {sizes:?} bytes, compressed");
    assert_eq!(sizes.len(), 1);
    assert!(sizes[0] < COMPRESSED, "{} bytes", sizes[0]);
}

/// Bytes after gzip, as registries get layers by default.
fn compressed(layer: &Path) -> u64 {
    let gzip = Command::new("gzip").args(["--no-name", "--to-stdout"]).arg(layer).output().unwrap();
    assert!(gzip.status.success(), "{}", layer.display());
    gzip.stdout.len() as u64
}

/// With the image as its root, as the image's user, nothing else in sight.
#[test]
fn the_program_of_the_image_runs_alone() {
    let image = Archive::open(&Image::ensure(Architecture::Amd64).unwrap());
    let run = |program: &str, arguments: &[&str]| {
        let mut chroot = Command::new("/usr/sbin/chroot");
        chroot.arg("--userspec=65532:65532").arg(image.root()).arg(program).args(arguments).env_clear();
        chroot.output().unwrap()
    };
    let version = run("/zitadel-actions-operator", &["--version"]);
    let printed = String::from_utf8(version.stdout).unwrap();
    assert_eq!(printed.trim(), format!("zitadel-actions-operator {}", env!("CARGO_PKG_VERSION")));
    for shell in ["/bin/sh", "/bin/bash", "/busybox/sh"] {
        assert_eq!(run(shell, &["-c", "true"]).status.code(), Some(127), "{shell}");
    }
}

#[test]
fn arm64_is_built_without_emulation() {
    let image = Archive::open(&Image::ensure(Architecture::Arm64).unwrap());
    assert_eq!(image.config()["architecture"], "arm64");
    let binary = std::fs::read(image.root().join("zitadel-actions-operator")).unwrap();
    assert_eq!(archive::machine(&binary), archive::AARCH64);
    assert!(!archive::has_interpreter(&binary), "static");
    // Built without emulation, and run with it: that much of it works.
    let mut run = Command::new(qemu::aarch64().unwrap());
    let printed = output(run.arg(image.root().join("zitadel-actions-operator")).arg("--version").env_clear());
    assert_eq!(printed.trim(), format!("zitadel-actions-operator {}", env!("CARGO_PKG_VERSION")));
}

/// Built in `/source` as the Dockerfile says, and in another folder, with the sources of the crates elsewhere too.
#[test]
fn binary_and_image_are_the_same_from_another_folder() {
    const ELSEWHERE: &str = "/home/somebody/else/checkout";
    let first = Archive::open(&Image::ensure(Architecture::Amd64).unwrap());
    let again = Image::ensure_elsewhere(Architecture::Amd64, ELSEWHERE, "/opt/cargo-home").unwrap();
    let again = Archive::open(&again);
    let hash = |image: &Archive| {
        let printed = output(Command::new("sha256sum").arg(image.root().join("zitadel-actions-operator")));
        printed.split_whitespace().next().unwrap().to_owned()
    };
    println!("{:30} {}\n{ELSEWHERE:30} {}", "/source", hash(&first), hash(&again));
    assert_eq!(hash(&first), hash(&again));
    assert_eq!(first.config()["rootfs"], again.config()["rootfs"], "the layers");
}
