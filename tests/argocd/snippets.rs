//! What users paste is made from the scripts: the ConfigMap argocd-cm and the values of the argo-cd chart. Each file in
//! `integrations/argocd` that is made is compared with what it should be; `BLESS=1` writes it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

const KINDS: [&str; 3] = ["Target", "Connection", "ClusterConnection"];
const ACTIONS: [&str; 3] = ["reconcile", "suspend", "resume"];

/// `integrations/argocd`.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("integrations/argocd")
}

/// The folder in the layout in which Argo CD takes contributions.
pub fn scripts() -> PathBuf {
    folder().join("resource_customizations/zitadel-actions.dev")
}

/// Compares a file that is made with what it should be, or writes it.
pub fn assert_made(path: &Path, text: &str) {
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, text).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == text, "{} is out of date: run BLESS=1 cargo test --test argocd", path.display());
}

fn script(path: &str) -> String {
    std::fs::read_to_string(scripts().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("{:by$}{line}\n", "") }).collect()
}

/// The entries of argocd-cm, as YAML at the left margin.
fn entries() -> String {
    let mut entries = String::new();
    for kind in KINDS {
        let health = indented(&script("_/health.lua"), 2);
        write!(entries, "resource.customizations.health.zitadel-actions.dev_{kind}: |\n{health}").unwrap();
    }
    let mut actions =
        format!("discovery.lua: |\n{}definitions:\n", indented(&script("Target/actions/discovery.lua"), 2));
    for action in ACTIONS {
        let body = indented(&script(&format!("Target/actions/{action}/action.lua")), 4);
        write!(actions, "- name: {action}\n  action.lua: |\n{body}").unwrap();
    }
    write!(entries, "resource.customizations.actions.zitadel-actions.dev_Target: |\n{}", indented(&actions, 2))
        .unwrap();
    entries
}

#[test]
fn the_config_map_is_made_from_the_scripts() {
    let head = "# Made from resource_customizations/; add these entries to the ConfigMap argocd-cm of your Argo CD, or apply it\n\
                # with: kubectl -n argocd patch configmap argocd-cm --patch-file argocd-cm.yaml\n";
    let object = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: argocd-cm\n  namespace: argocd\n  labels:\n    \
                  app.kubernetes.io/part-of: argocd\ndata:\n";
    assert_made(&folder().join("argocd-cm.yaml"), &format!("{head}{object}{}", indented(&entries(), 2)));
}

#[test]
fn the_values_of_the_chart_are_made_from_the_scripts() {
    let head =
        "# Made from resource_customizations/; values for the chart argo-cd (https://argoproj.github.io/argo-helm).\n";
    let text = format!("{head}configs:\n  cm:\n{}", indented(&entries(), 4));
    assert_made(&folder().join("argo-cd-values.yaml"), &text);
}

/// What Argo CD allows a script: the base functions, `table`, and of `os` only the time.
#[test]
fn scripts_use_what_argo_cd_allows() {
    for path in ["_/health.lua", "Target/actions/discovery.lua"] {
        let text = script(path);
        for library in ["string.", "io.", "math.", "require", "os."] {
            assert!(!text.contains(library), "{path} uses {library}");
        }
    }
}
