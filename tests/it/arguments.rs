//! The binary's face to a shell: exit codes, one clear line, definitions on standard output.

use std::process::{Command, Output};

fn operator(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()
        .expect("the binary starts")
}

#[test]
fn wrong_arguments_are_one_line_and_exit_code_2() {
    for arguments in [
        &["--frobnicate"][..],
        &["run", "--zitadel-token-file", "/t"][..],
        &["run", "--zitadel-url", "auth.example.com", "--zitadel-token-file", "/t"][..],
        &["run", "--zitadel-url", "ftp://auth.example.com", "--zitadel-token-file", "/t"][..],
        &["run", "--zitadel-url", "http://auth.example.com", "--zitadel-token-file", "/t"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-api", "v1"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--log-level", "a=b=c"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-timeout", "0"][..],
        &["run", "--zitadel-url", "https://a"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-token-file", "/t", "--zitadel-key-file", "/k"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-client-id-file", "/i"][..],
        &["run", "--zitadel-url", "https://a", "--zitadel-client-secret-file", "/s"][..],
    ] {
        let output = operator(arguments);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{arguments:?}: {said}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn help_and_version_succeed() {
    for arguments in [&["--help"][..], &["run", "--help"][..], &["--version"][..]] {
        let output = operator(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(!output.stdout.is_empty());
    }
}

#[test]
fn crds_are_printed() {
    let output = operator(&["crds"]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text, zitadel_actions_operator::api::crd::yaml().unwrap());
}

/// Flags and variables are the same thing, also where they contradict each other.
#[test]
fn credentials_of_two_kinds_are_refused_wherever_they_are_given() {
    let output = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"))
        .args(["run", "--zitadel-url", "https://a", "--zitadel-key-file", "/k"])
        .env("ZITADEL_TOKEN_FILE", "/t")
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--zitadel-key-file") && said.contains("--zitadel-token-file"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
