//! The house rules that a compiler does not check: who imports whom, how long a file may be, what the README promises.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use zitadel_actions_operator::api::reason::Reason;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Each room, and what must not appear in it.
#[test]
fn rooms_import_in_one_direction() {
    let rules: [(&str, &[&str]); 7] = [
        (
            "src/api",
            &["crate::zitadel", "crate::plan", "crate::controller", "crate::ops", "tokio", "reqwest", "async fn"],
        ),
        (
            "src/zitadel",
            &["kube", "k8s_openapi", "crate::plan", "crate::controller", "crate::ops", "crate::api::target"],
        ),
        (
            "src/plan",
            &[
                "crate::controller",
                "crate::ops",
                "tokio",
                "kube::",
                "reqwest",
                "async fn",
                "Timestamp::now",
                "crate::zitadel::client",
            ],
        ),
        (
            "src/controller/runtime",
            &["controller::connections", "controller::target", "controller::instrument", "crate::zitadel"],
        ),
        ("src/controller/connections", &["controller::target", "controller::instrument"]),
        ("src/ops", &["crate::plan", "crate::controller", "crate::zitadel"]),
        ("devkit", &["zitadel_actions_operator", "crate::plan"]),
    ];
    for (room, forbidden) in rules {
        for file in sources(&root().join(room)) {
            let text = std::fs::read_to_string(&file).unwrap();
            let code: String =
                text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            for word in forbidden {
                assert!(!code.contains(word), "{} must not use {word}", file.display());
            }
        }
    }
}

#[test]
fn files_stay_readable() {
    for folder in ["src", "tests", "devkit"] {
        for file in sources(&root().join(folder)) {
            let lines = std::fs::read_to_string(&file).unwrap().lines().count();
            assert!(lines <= 440, "{} has {lines} lines", file.display());
        }
    }
}

#[test]
fn every_module_says_what_lives_there() {
    for folder in ["src", "tests", "devkit"] {
        for file in sources(&root().join(folder)) {
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.starts_with("//!"), "{} has no module paragraph", file.display());
        }
    }
}

#[test]
fn the_readme_explains_every_reason() {
    let readme = std::fs::read_to_string(root().join("README.md")).unwrap();
    for reason in Reason::ALL {
        assert!(readme.contains(&format!("\n| `{reason}` |")), "{reason} is not in the README's table");
    }
}

#[test]
fn every_reason_has_a_section_on_what_to_do() {
    let text = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    for reason in Reason::ALL.into_iter().filter(|reason| !matches!(reason, Reason::Available)) {
        assert!(text.contains(&format!("\n## {reason}\n")), "{reason} is not explained");
    }
}

#[test]
fn the_chart_installs_what_is_generated() {
    let read = |folder: &str| {
        let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| (path.file_name().unwrap().to_owned(), std::fs::read(path).unwrap()))
            .collect::<BTreeMap<_, _>>()
    };
    let chart = "charts/zitadel-actions-operator";
    assert!(read("crds") == read(&format!("{chart}/files/crds")), "run: cp crds/*.yaml {chart}/files/crds/");
    let text = std::fs::read_to_string(root().join(chart).join("Chart.yaml")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    assert!(
        text.contains(&format!("\nversion: {version}\n")) && text.contains(&format!("\nappVersion: {version}\n")),
        "{text}"
    );
}

#[test]
fn the_project_stands_alone() {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    let files = String::from_utf8(listed.stdout).unwrap();
    assert!(files.len() > 100, "git lists the files");
    for file in files.split('\0').filter(|file| !file.is_empty()) {
        // A file that is being moved is listed and absent; binary ones name nothing.
        let Ok(text) = std::fs::read_to_string(root().join(file)) else { continue };
        assert!(!text.contains(&format!("../{}", "shared")), "{file}");
    }
}
