//! A ServiceAccount with rights of its own, such as an installed operator has, in place of the administrator's.

use std::path::{Path, PathBuf};

use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::{Said, kubectl, namespace, plane};

/// The ServiceAccount of one operator. Its rights are given and taken by name.
pub struct Account {
    namespace: String,
    dir: TempDir,
}

impl Account {
    /// One without any rights, in a namespace of its own.
    pub async fn new(client: &Client) -> Self {
        let account = Self { namespace: namespace(client).await, dir: tempfile::tempdir().unwrap() };
        account.kubectl(&["create", "serviceaccount", "operator"], "").await;
        let token = account.kubectl(&["create", "token", "operator"], "").await.out;
        let mut kubeconfig: Value = serde_json::from_slice(&std::fs::read(plane().kubeconfig()).unwrap()).unwrap();
        kubeconfig["users"][0]["user"]["token"] = json!(token.trim());
        std::fs::write(account.kubeconfig(), kubeconfig.to_string()).unwrap();
        account
    }

    /// How this account reaches the API server.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Said {
        let all: Vec<String> =
            ["--namespace", &self.namespace].iter().chain(arguments).map(|&one| one.into()).collect();
        let stdin = stdin.to_owned();
        let run = move || kubectl(plane(), &all.iter().map(String::as_str).collect::<Vec<_>>(), &stdin);
        let said = tokio::task::spawn_blocking(run).await.unwrap();
        assert!(said.ok, "{}", said.err);
        said
    }

    /// Grants these rules in one namespace, or in all.
    pub async fn grant(&self, within: Option<&str>, rules: &Value) {
        let (role, binding) =
            if within.is_some() { ("Role", "RoleBinding") } else { ("ClusterRole", "ClusterRoleBinding") };
        let metadata = |kind: &str| match within {
            Some(namespace) => json!({"name": self.name(), "namespace": namespace, "labels": {"kind": kind}}),
            None => json!({"name": self.name(), "labels": {"kind": kind}}),
        };
        let api = "rbac.authorization.k8s.io";
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [
            {"apiVersion": format!("{api}/v1"), "kind": role, "metadata": metadata(role), "rules": rules},
            {"apiVersion": format!("{api}/v1"), "kind": binding, "metadata": metadata(binding),
             "roleRef": {"apiGroup": api, "kind": role, "name": self.name()},
             "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": self.namespace}]},
        ]});
        let path = self.dir.path().join("rights.json");
        std::fs::write(&path, list.to_string()).unwrap();
        self.apply(&path, within).await;
    }

    async fn apply(&self, path: &Path, within: Option<&str>) {
        let mut arguments = vec!["apply", "--filename", path.to_str().unwrap()];
        arguments.extend(within.into_iter().flat_map(|namespace| ["--namespace", namespace]));
        self.kubectl(&arguments, "").await;
    }

    /// Takes the binding away, as an uninstallation or the deletion of a namespace does.
    pub async fn unbind(&self, within: Option<&str>) {
        let name = self.name();
        match within {
            Some(namespace) => self.kubectl(&["delete", "rolebinding", &name, "--namespace", namespace], "").await,
            None => self.kubectl(&["delete", "clusterrolebinding", &name], "").await,
        };
    }

    /// Whether the API server, whose view of the rights is a moment behind, grants this by now.
    pub async fn may(&self, verb: &str, resource: &str, within: &str) -> bool {
        let user = format!("system:serviceaccount:{}:operator", self.namespace);
        let (verb, resource, within) = (verb.to_owned(), resource.to_owned(), within.to_owned());
        let ask = move || {
            kubectl(plane(), &["auth", "can-i", &verb, &resource, "--namespace", &within, "--as", &user], "").ok
        };
        tokio::task::spawn_blocking(ask).await.unwrap()
    }

    /// The name of its role and binding.
    fn name(&self) -> String {
        format!("operator-{}", self.namespace)
    }
}

/// The chart's rules for each watched namespace.
pub fn rules() -> Value {
    json!([
        {"apiGroups": ["zitadel-actions.dev"], "resources": ["targets"], "verbs": ["get", "list", "watch", "patch"]},
        {"apiGroups": ["zitadel-actions.dev"], "resources": ["connections"], "verbs": ["list", "watch", "patch"]},
        {"apiGroups": ["zitadel-actions.dev"], "resources": ["targets/status", "connections/status"], "verbs": ["patch"]},
        {"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"]},
    ])
}
