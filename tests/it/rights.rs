//! The operator with exactly the rights that the chart grants: they suffice, and no Secret is read without its own.

use std::path::{Path, PathBuf};

use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use zitadel_stand_in::Generation;

use crate::cluster::{client, namespace, plane};
use crate::connections::{by, connect, connections, says, secret, setup, to};
use crate::world::{World, condition, webhook};

/// The rules of a template of the chart, which are plain YAML but for a condition.
fn rules(template: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/zitadel-actions-operator/templates/_helpers.tpl");
    let text = std::fs::read_to_string(path).unwrap();
    let (_, rest) = text.split_once(&format!("{{{{- define \"{template}\" -}}}}")).unwrap();
    let (body, _) = rest.split_once("{{- end -}}").unwrap();
    // The condition on names, which the test sets itself.
    let kept = |line: &&str| !line.contains("{{") && !line.contains("resourceNames");
    let plain: Vec<&str> = body.lines().filter(kept).collect();
    serde_saphyr::from_str(&plain.join("\n")).unwrap()
}

/// Grants rules in the namespace of the world to the operator's account, which lives elsewhere.
async fn grant(world: &World, home: &str, name: &str, rules: Value) {
    let granted = json!({"metadata": {"name": name}, "rules": rules});
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": home}],
    });
    let granting: Api<Role> = Api::namespaced(world.client.clone(), &world.namespace);
    granting.create(&PostParams::default(), &serde_json::from_value(granted).unwrap()).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(world.client.clone(), &world.namespace);
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

/// A kubeconfig that acts as the operator's service account.
fn restricted(home: &str, folder: &Path) -> PathBuf {
    let mut config = Kubeconfig::read_from(plane().kubeconfig()).unwrap();
    for user in &mut config.auth_infos {
        let account = format!("system:serviceaccount:{home}:operator");
        user.auth_info.as_mut().unwrap().impersonate = Some(account);
    }
    let path = folder.join("restricted.yaml");
    let text = serde_saphyr::to_string(&serde_json::to_value(config).unwrap()).unwrap();
    std::fs::write(&path, text).unwrap();
    path
}

#[tokio::test]
async fn the_rights_of_the_chart_suffice_and_secrets_need_their_own() {
    let home = namespace(&client().await).await;
    let folder = tempfile::tempdir().unwrap();
    let mut setup = setup(Generation::V2).without_operator();
    setup.kubeconfig = Some(restricted(&home, folder.path()));
    let world = World::with(setup).await;
    let ns = world.namespace.clone();
    grant(&world, &home, "operator", rules("zao.rules")).await;
    world.start_operator(&[]).await;
    world.create("plain", webhook()).await;
    world.ready("plain").await;
    world.note("Created").await;

    secret(&world, &ns, "admin", json!({"pat": world.zitadel.token()})).await;
    connect(&world, &ns, "mine", to(&world.zitadel.url(), "admin")).await;
    world.create("hook", by("mine")).await;
    let target = world.reason("hook", "CredentialsUnavailable").await;
    assert!(condition(&target, "Reconciling").unwrap().2.contains("may not read the Secret admin"));
    says(&world, &ns, "mine", "False", "CredentialsUnavailable").await;

    let mut secrets = rules("zao.secretRules");
    assert_eq!(secrets[0]["verbs"], json!(["get"]), "no list, no watch");
    secrets[0]["resourceNames"] = json!(["admin"]);
    grant(&world, &home, "operator-secrets", secrets).await;
    world.ready("hook").await;
    says(&world, &ns, "mine", "True", "Available").await;
    connections(&world, &ns).delete("mine", &DeleteParams::default()).await.unwrap();
    for name in ["hook", "plain"] {
        world.delete(name).await;
        world.gone(name).await;
    }
    let api = connections(&world, &ns);
    world.until("the connection is gone", || async { matches!(api.get_opt("mine").await, Ok(None)) }).await;
    assert!(world.zitadel.targets().is_empty());
    world.finish().await;
}
