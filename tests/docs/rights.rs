//! What docs/credentials.md says of roles: which one each use needs, on every generation of the API.

use zitadel_stand_in::{Generation, Role, TargetEdit};

use crate::site::{Site, manifest};

const GENERATIONS: [Generation; 4] =
    [Generation::V3Alpha, Generation::ResourcesV3Alpha, Generation::V2Beta, Generation::V2];

/// Waits for a reason of Ready.
fn says(site: &Site, name: &str, reason: &str) {
    let path = r#"{.status.conditions[?(@.type=="Ready")].reason}"#;
    site.sh(&format!("kubectl wait --for=jsonpath='{path}'={reason} target/{name} --timeout=90s"));
}

fn export(site: &Site) -> usize {
    let url = site.zitadel.url();
    let said = site
        .sh(&format!("zitadel-actions-operator export --zitadel-url {url} --zitadel-token-file pat.txt 2> /dev/null"));
    said.matches("externalId").count()
}

#[test]
fn each_use_has_the_role_that_it_needs() {
    let site = Site::new(Generation::V3Alpha);
    let user = site.zitadel.user_id();
    let foreign = site.zitadel.external_create("foreign", TargetEdit::default());
    site.install("identity", "replicas=1");
    let looked_at = format!(
        "  externalId: '{foreign}'\n  managementPolicy: Observe\n  name: foreign\n  # as somebody else made it\n"
    );
    let looked_at = manifest("looked-at", &looked_at)
        .replace("https://hooks.example.com/zitadel", "https://hooks.example.com/external");
    site.zitadel.set_user_role(&user, Role::IamOwnerViewer);
    site.apply(&looked_at);
    for generation in GENERATIONS {
        let own = |name: &str| format!("{name}-{}", generation.to_string().replace('/', "-"));
        site.zitadel.upgrade(generation);
        let before = site.zitadel.events().len();

        // Reading is enough to look, and to export.
        let api = format!("kubectl wait --for=jsonpath='{{.status.connection.api}}'={generation} target/looked-at");
        site.sh(&format!("{api} --timeout=60s; kubectl wait --for=condition=Ready target/looked-at --timeout=60s"));
        assert!(export(&site) > 0);
        site.apply(&manifest(&own("viewer"), ""));
        says(&site, &own("viewer"), "PermissionDenied");

        // Roles of an organisation, and none at all.
        for (role, name) in [(Role::OrgOwner, own("org-owner")), (Role::None, own("none"))] {
            site.zitadel.set_user_role(&user, role);
            site.apply(&manifest(&name, ""));
            says(&site, &name, "PermissionDenied");
        }
        assert_eq!(site.zitadel.events().len(), before, "{generation}: {}", site.zitadel.dump());

        // The events may be out of reach; only the sequence is missing where reads do not have it.
        site.zitadel.set_user_role(&user, Role::IamOwner);
        site.zitadel.set_events_readable(&user, false);
        site.apply(&manifest(&own("blind"), ""));
        for name in ["viewer", "org-owner", "none", "blind"].map(own) {
            site.sh(&format!("kubectl wait --for=condition=Ready target/{name} --timeout=90s"));
        }
        let sequence = site.get("target", &own("blind")).unwrap()["status"]["sequence"].clone();
        assert_eq!(sequence.is_null(), generation != Generation::V3Alpha, "{generation}: {sequence}");
        site.zitadel.set_events_readable(&user, true);
        site.zitadel.set_user_role(&user, Role::IamOwnerViewer);
    }
    assert_eq!(site.zitadel.targets().len(), 1 + 4 * GENERATIONS.len());
}
