//! The operator's process as the kernel of the node sees it: whatever the manifest says, this is what holds.

use std::path::PathBuf;

use devkit::image::reference;
use serde_json::Value;

use crate::argo::Argo;

/// No new privileges, and a filter of system calls.
const CONFINED: [(&str, &str); 2] = [("NoNewPrivs", "1"), ("Seccomp", "2")];
const NO_CAPABILITY: &str = "0000000000000000";

/// Fails unless exactly one operator runs, in one pod that is Ready, and is confined as the chart promises.
pub fn assert_confined(argo: &Argo) {
    let process = process();
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

    let pods = argo.kubectl(&["-n", "zitadel-actions", "get", "pods", "-o", "json"], "");
    let pods: Value = serde_json::from_str(&pods.out).unwrap();
    assert_eq!(pods["items"].as_array().map(Vec::len), Some(1), "{pods}");
    let pod = &pods["items"][0];
    assert_eq!(pod["spec"]["containers"][0]["image"], reference());
    assert_eq!(pod["spec"]["serviceAccountName"], "zitadel-actions-operator");
    assert_eq!(pod["status"]["containerStatuses"][0]["ready"], true, "the probes pass: {pod}");
    assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
    let log = argo.kubectl(&["-n", "zitadel-actions", "logs", "deployment/zitadel-actions-operator"], "");
    assert!(log.ok && log.out.starts_with('{'), "JSON lines, by way of the kubelet: {log:?}");
}

/// The folder in /proc of the one operator in this room.
fn process() -> PathBuf {
    let entries = std::fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path());
    let found: Vec<_> = entries
        .filter(|path| {
            std::fs::read(path.join("cmdline")).is_ok_and(|line| line.starts_with(b"/zitadel-actions-operator\0run"))
        })
        .collect();
    assert_eq!(found.len(), 1, "{found:?}");
    found[0].clone()
}
