//! What docs/backup.md says of a ZITADEL whose database is put back, or that is set up anew.

use zitadel_stand_in::Generation;

use crate::site::Site;

fn status(site: &Site, name: &str, key: &str) -> String {
    site.get("target", name).unwrap()["status"][key].as_str().unwrap_or_default().to_owned()
}

fn seconds(site: &Site, name: &str) -> u64 {
    site.zitadel.targets().iter().find(|target| target.name == name).map_or(0, |target| target.timeout.as_secs())
}

#[test]
fn a_restored_database_is_brought_up_to_date() {
    let site = Site::new(Generation::V3Alpha);
    site.install("identity", "replicas=1");
    // The one counts events, the other has dates.
    for generation in [Generation::V3Alpha, Generation::V2] {
        site.zitadel.upgrade(generation);
        let api = format!("jsonpath='{{.status.connection.api}}'={generation}");
        let own = |name: &str| format!("{name}-{}", generation.to_string().to_lowercase());
        let [kept, edited, deleted, since] = ["kept", "edited", "deleted", "since"].map(own);
        for name in [&kept, &edited, &deleted] {
            site.target(name);
            site.sh(&format!("kubectl wait --for={api} target/{name} --timeout=60s"));
        }
        let ids = [&kept, &edited].map(|name| status(&site, name, "id"));
        let backup = site.zitadel.back_up();
        site.sh(&format!(
            r#"kubectl patch target {edited} --type=merge -p '{{"spec":{{"timeout":"20s"}}}}'
               kubectl wait --for=jsonpath='{{.status.observedGeneration}}'=2 target/{edited} --timeout=60s"#
        ));
        site.until("the edit arrives", || seconds(&site, &edited) == 20);
        site.sh(&format!("kubectl delete target {deleted} --timeout=60s"));
        site.target(&since);
        let former = status(&site, &since, "id");
        site.zitadel.restore(&backup);

        // What is missing is made anew.
        site.until("it is made anew", || status(&site, &since, "id") != former);
        site.sh(&format!("kubectl wait --for=condition=Ready target/{since} --timeout=60s"));
        // What is there again belongs to nobody.
        assert!(site.zitadel.targets().iter().any(|target| target.name == deleted));
        assert!(site.get("target", &deleted).is_none());
        // What was edited since is brought up to date.
        site.until("the newer spec arrives", || seconds(&site, &edited) == 20);
        site.sh("kubectl wait --for=condition=Ready targets --all --timeout=60s");
        assert_eq!([&kept, &edited].map(|name| status(&site, name, "id")), ids);
    }
}
