//! What a kubelet makes of the operator's pod, on this machine: the binary in place of the image, a folder for each volume,
//! and a free port on loopback in place of the addresses.

use std::path::{Path, PathBuf};
use std::process::Command;

use devkit::control_plane::ControlPlane;
use kube::config::Kubeconfig;
use serde_json::{Value, json};

/// The spec of a pod, and the folder of its volumes.
pub struct PodOnDesk<'a> {
    pub spec: &'a Value,
    pub volumes: &'a Path,
}

impl PodOnDesk<'_> {
    /// Its operator, with this port and this kubeconfig; `field` says what a fieldRef stands for.
    pub fn command<'a>(
        &self,
        plane: &ControlPlane,
        http: u16,
        kubeconfig: &Path,
        field: impl Fn(&str) -> &'a str,
    ) -> Command {
        let container = &self.spec["containers"][0];
        let mut command = Command::new(env!("CARGO_BIN_EXE_zitadel-actions-operator"));
        for argument in container["args"].as_array().unwrap() {
            command.arg(self.translated(argument.as_str().unwrap(), http));
        }
        devkit::host::without_zitadel(&mut command);
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some(path) => field(path),
                None => variable["value"].as_str().unwrap_or_default(),
            };
            command.env(variable["name"].as_str().unwrap(), value);
        }
        // Reading the system's authorities is half of a start in the debug profile.
        let authorities = plane.dir().join("certificates/apiserver.crt");
        command.env("KUBECONFIG", kubeconfig).env("SSL_CERT_FILE", authorities).env("SSL_CERT_DIR", "");
        command
    }

    /// The folder of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.volumes.join(name)
    }

    /// An argument with the paths and the addresses of this machine.
    fn translated(&self, argument: &str, http: u16) -> String {
        if argument.starts_with("--http-addr=") {
            return format!("--http-addr=127.0.0.1:{http}");
        }
        if argument.starts_with("--admin-addr=") {
            return "--admin-addr=127.0.0.1:0".to_owned();
        }
        for mount in self.spec["containers"][0]["volumeMounts"].as_array().into_iter().flatten() {
            let (path, name) = (mount["mountPath"].as_str().unwrap(), mount["name"].as_str().unwrap());
            if argument.contains(&format!("={path}/")) {
                return argument.replace(path, self.volume(name).to_str().unwrap());
            }
        }
        argument.to_owned()
    }
}

/// Gives a file of a volume another content: by a rename, so that nobody reads half of it.
pub fn write(file: &Path, content: &[u8]) {
    let mut fresh = file.as_os_str().to_owned();
    fresh.push(".fresh");
    std::fs::write(&fresh, content).unwrap();
    std::fs::rename(fresh, file).unwrap();
}

/// Writes the control plane's kubeconfig with the token of a ServiceAccount in place of its own credential.
pub fn write_kubeconfig(plane: &ControlPlane, token: &str, path: &Path) {
    let mut config = Kubeconfig::read_from(plane.kubeconfig()).unwrap();
    for user in &mut config.auth_infos {
        user.auth_info = Some(serde_json::from_value(json!({"token": token})).unwrap());
    }
    std::fs::write(path, serde_json::to_value(config).unwrap().to_string()).unwrap();
}
