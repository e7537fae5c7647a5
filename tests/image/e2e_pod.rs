//! The operator's process as the kernel of the node sees it: whatever the manifest says, this is what holds.

use std::path::{Path, PathBuf};

use devkit::image::reference;
use serde_json::Value;

use crate::argo::Argo;

/// No new privileges, and a filter of system calls.
const CONFINED: [(&str, &str); 2] = [("NoNewPrivs", "1"), ("Seccomp", "2")];
const NO_CAPABILITY: &str = "0000000000000000";

/// Fails unless as many operators run as the Deployment asks for, each in a pod of its own that is Ready, and each confined
/// as the chart promises.
pub fn assert_confined(argo: &Argo) {
    let told = |kind: &str| -> Value {
        let said = argo.kubectl(&["-n", "zitadel-actions", "get", kind, "-o", "json"], "");
        serde_json::from_str(&said.out).unwrap()
    };
    let wanted = told("deployment/zitadel-actions-operator")["spec"]["replicas"].as_u64().unwrap();
    let processes = processes();
    assert_eq!(processes.len() as u64, wanted, "{processes:?}");
    for process in &processes {
        assert_process_confined(process);
    }
    let pods = told("pods")["items"].as_array().cloned().unwrap();
    assert_eq!(pods.len() as u64, wanted, "{pods:#?}");
    for pod in &pods {
        assert_eq!(pod["spec"]["containers"][0]["image"], reference());
        assert_eq!(pod["spec"]["serviceAccountName"], "zitadel-actions-operator");
        assert_eq!(pod["status"]["containerStatuses"][0]["ready"], true, "the probes pass: {pod}");
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    }
    let log = argo.kubectl(&["-n", "zitadel-actions", "logs", "deployment/zitadel-actions-operator"], "");
    assert!(log.ok && log.out.starts_with('{'), "JSON lines, by way of the kubelet: {log:?}");
}

fn assert_process_confined(process: &Path) {
    let status = std::fs::read_to_string(process.join("status")).unwrap();
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("no {name} in {status}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    assert_eq!(field("Uid"), "65532 65532 65532 65532");
    assert_eq!(field("Gid"), "65532 65532 65532 65532");
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(field(set), NO_CAPABILITY, "{set}");
    }
    for (name, value) in CONFINED {
        assert_eq!(field(name), value, "{name}");
    }
    let mounts = std::fs::read_to_string(process.join("mounts")).unwrap();
    let root = mounts.lines().find(|line| line.split(' ').nth(1) == Some("/")).unwrap();
    assert!(root.split(' ').nth(3).unwrap().split(',').any(|option| option == "ro"), "{root}");
}

/// The folders in /proc of the operators in this room.
fn processes() -> Vec<PathBuf> {
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    entries
        .filter(|path| {
            std::fs::read(path.join("cmdline")).is_ok_and(|line| line.starts_with(b"/zitadel-actions-operator\0run"))
        })
        .collect()
}
