//! `check`: agrees with the API server about every form, and says where and what.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::forms;

/// Runs `check` with these arguments and this standard input.
pub fn check(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
    command.arg("check").args(arguments).env_remove("KUBECONFIG");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).expect("check reads its input");
    child.wait_with_output().expect("check ends")
}

/// The report of `--output json`.
pub fn report(arguments: &[&str], stdin: &str) -> Value {
    let output = check(&[&["--output", "json"], arguments].concat(), stdin);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let findings = report["findings"].as_array().unwrap();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())), "{output:?}");
    report
}

fn object(kind: &str, spec: &Value) -> String {
    let name = json!({"name": "a"});
    json!({"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": kind, "metadata": name, "spec": spec}).to_string()
}

/// What the API server says about these is asked in admission.rs.
#[test]
fn every_form_is_taken_or_refused_as_by_the_api_server() {
    let mut forms: Vec<(String, bool, &str)> = Vec::new();
    forms.extend(forms::accepted().iter().map(|(_, spec)| (object("Target", spec), true, "")));
    forms.extend(forms::refused().iter().map(|(_, spec, said)| (object("Target", spec), false, *said)));
    for kind in ["Connection", "ClusterConnection"] {
        let accepted = forms::accepted_connections().into_iter();
        forms.extend(accepted.map(|changes| (object(kind, &forms::connection(changes)), true, "")));
        let refused = forms::refused_connections().into_iter();
        forms.extend(refused.map(|(changes, said)| (object(kind, &forms::connection(changes)), false, said)));
    }
    for (reference, said) in forms::refused_references() {
        forms.push((object("Target", &forms::with(json!({"connectionRef": reference}))), false, said));
    }
    forms.extend(forms::documents().into_iter().map(|(text, taken)| (forms::written(text), taken, "")));
    forms.extend(forms::metadata().into_iter().map(|(text, taken)| (forms::named(text), taken, "")));
    let folder = tempfile::tempdir().unwrap();
    for (index, (manifest, ..)) in forms.iter().enumerate() {
        // Each in a namespace of its own for the rules across objects: they are not the API server's.
        std::fs::write(folder.path().join(format!("{index:03}.yaml")), manifest).unwrap();
    }
    let report = report(&[folder.path().to_str().unwrap()], "");
    let mut wrong = Vec::new();
    for (index, (manifest, taken, said)) in forms.iter().enumerate() {
        let here = |finding: &&Value| {
            finding["file"].as_str().is_some_and(|file| file.ends_with(&format!("/{index:03}.yaml")))
                && !finding["message"].as_str().unwrap().contains("in ZITADEL, which ignores case")
                && !finding["message"].as_str().unwrap().contains("has the same externalId")
        };
        let found: Vec<_> = report["findings"].as_array().unwrap().iter().filter(here).collect();
        let text = format!("{found:?}");
        // A rule's message is the same here and there; the words of a schema differ.
        let worded = !["must ", "set "].iter().any(|word| said.contains(word)) || text.contains(said);
        if found.is_empty() != *taken || !worded {
            wrong.push(format!("{manifest}\n-> {text}, expected {taken} {said}"));
        }
    }
    println!("{} forms judged by check as by the API server", forms.len() - wrong.len());
    assert!(wrong.is_empty(), "{} forms:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_finding_names_file_line_and_field_and_what_to_write() {
    let manifest = "kind: ConfigMap\n---\nkind: List\nitems:\n- apiVersion: zitadel-actions.dev/v1alpha1\n  kind: Target\n  \
                    metadata: {name: a, namespace: shop}\n  spec:\n    restWebhook: {}\n    timeout: '10'\n    endpoint: /hook\n    \
                    typo: 1\n    connectionRef: {kind: Connection, name: c}\n---\na: [\n";
    let report_of = |arguments: &[&str]| report(arguments, manifest);
    let found = report_of(&["-"]);
    let rows: Vec<_> = found["findings"].as_array().unwrap().iter().collect();
    let at = |row: &Value| (row["line"].as_u64().unwrap(), row["field"].as_str().unwrap().to_owned());
    let mut places: Vec<_> = rows.iter().map(|row| at(row)).collect();
    places.sort();
    let field = |line: u64, name: &str| (line, name.to_owned());
    assert_eq!(places[..3], [field(10, "spec.timeout"), field(11, "spec.endpoint"), field(12, "spec.typo")]);
    assert!(places.len() == 4 && places[3].1.is_empty(), "the broken document: {found:#}");
    let timeout = rows.iter().find(|row| row["field"] == "spec.timeout").unwrap();
    assert!(timeout["message"].as_str().unwrap().contains("such as 10s, 1m30s or 500ms"), "{timeout}");
    assert_eq!((&found["checked"], &found["skipped"], &found["files"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(found["notes"][0]["field"], "spec.connectionRef.name");
    let strict = report_of(&["--strict-references", "-"]);
    assert_eq!(strict["findings"].as_array().unwrap().len(), 5);
    let text = String::from_utf8(check(&["-"], manifest).stdout).unwrap();
    assert!(text.contains("-:10: Target shop/a: spec.timeout: timeout must be"), "{text}");
    assert!(
        text.contains("-:13: note: Target shop/a: spec.connectionRef.name: Connection shop/c is not among"),
        "{text}"
    );
}

#[test]
fn an_object_without_fields_says_so() {
    let manifest = forms::written("restAsync: {x: 1}\n  timeout: 10s\n  endpoint: https://h");
    let found = report(&["-"], &manifest);
    let told = found["findings"][0]["message"].as_str().unwrap();
    assert!(told.contains("this object has no fields: write {}"), "{found}");
}

/// `kubectl` takes the last of two and says nothing; the API server, given the same text, refuses it as this does.
#[test]
fn a_field_that_is_written_twice_is_a_finding() {
    let manifest = forms::written("timeout: 10s\n  endpoint: https://h\n  restAsync: {}\n  timeout: 20s");
    let found = report(&["-"], &manifest);
    assert_eq!(found["findings"][0]["line"], 8, "{found}");
}

#[test]
fn wrong_usage_and_unreadable_files_are_code_2() {
    for arguments in [&[][..], &["/nowhere.yaml"][..], &["--output", "xml", "-"][..]] {
        let output = check(arguments, "");
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(String::from_utf8(output.stderr).unwrap().lines().count(), 1);
    }
}

/// The examples that ship: the good ones pass, each wrong one has findings.
#[test]
fn the_examples_are_judged_as_they_are_meant() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for entry in std::fs::read_dir(&examples).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
    {
        let output = check(&[entry.to_str().unwrap()], "");
        assert!(output.status.success(), "{}: {output:?}", entry.display());
    }
    let mut wrong = 0;
    for entry in std::fs::read_dir(examples.join("wrong")).unwrap().map(|entry| entry.unwrap().path()) {
        assert_eq!(check(&[entry.to_str().unwrap()], "").status.code(), Some(1), "{}", entry.display());
        wrong += 1;
    }
    assert_eq!(wrong, 5);
}

#[test]
fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
        let output = command.args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && script.contains("strict-references"), "{shell}");
    }
}
