//! The scenes of the documents: what a reader is presumed to have when the first block begins, what stands for the
//! placeholders, and what happens between the blocks because the text says so.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::Instant;

use zitadel_stand_in::{Generation, TargetEdit};

use crate::play::play;
use crate::site::{Site, manifest};

/// How many documents are played at once: each has a control plane, and they mostly wait.
const AT_ONCE: usize = 3;

/// Something that happens between two commands.
pub type Hook = fn(&mut Site);

/// A document and its scene.
pub struct Scene {
    pub document: &'static str,
    pub generation: Generation,
    /// The folder below the repository's files in which commands run.
    pub folder: &'static str,
    pub prepare: Hook,
    /// Each has to be used. Whole words only.
    pub substitutions: fn(&Site) -> Vec<(String, String)>,
    /// Before the next command that contains this, in the order of the document.
    pub before: &'static [(&'static str, Hook)],
    /// What has to hold at the end.
    pub after: Hook,
    /// Commands of its running text that no block has, written out. They are run at the end.
    pub spoken: &'static [&'static str],
}

/// Nothing special.
const PLAIN: Scene = Scene {
    document: "",
    generation: Generation::V2,
    folder: "",
    prepare: |site| {
        site.install("zitadel-actions", "replicas=1");
        site.target("audit-webhook");
    },
    substitutions: |_| vec![],
    before: &[],
    after: |_| {},
    spoken: &[],
};

fn url(site: &Site) -> Vec<(String, String)> {
    // What the chart asks for besides where the URL is not https.
    let value = format!("zitadel.url={},zitadel.allowHttp=true", site.zitadel.url());
    vec![("zitadel.url=https://auth.example.com".into(), value)]
}

fn name() -> (String, String) {
    ("NAME".into(), "audit-webhook".into())
}

/// A connection by the token in a Secret of its name.
fn connection(kind: &str, name: &str, url: &str) -> String {
    format!(
        "apiVersion: zitadel-actions.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec:\n  url: {url}\n  \
         credentials: {{personalAccessToken: {{secretRef: {{name: {name}, key: pat}}}}}}\n"
    )
}

/// What Argo CD's definition of its Applications is to kubectl.
const APPLICATIONS: &str = "apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: applications.argoproj.io}
spec:
  group: argoproj.io
  scope: Namespaced
  names: {kind: Application, plural: applications, singular: application}
  versions:
  - {name: v1alpha1, served: true, storage: true, schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}}
";

/// An Application whose sync is under way.
const APPLICATION: &str = "apiVersion: argoproj.io/v1alpha1
kind: Application
metadata: {name: targets, namespace: argocd}
operation: {sync: {}}
";

/// One command that ends in Stalled: the API v2 takes at most 270 s.
const STALLED: (&str, Hook) = ("condition=Stalled", |site| {
    site.sh(r#"kubectl patch target audit-webhook --type=merge -p '{"spec":{"timeout":"300s"}}'"#);
});

/// Every document with commands. Those of one group are played one after the other in one place.
pub const SCENES: &[&[Scene]] = &[
    &[Scene {
        document: "docs/uninstall.md",
        prepare: |site| {
            site.install("identity", "replicas=1");
            site.target("first");
        },
        substitutions: |_| vec![name()],
        before: &[
            ("kubectl delete targets --all", |site| {
                assert_eq!(site.zitadel.targets().len(), 1, "the operator alone was uninstalled");
                assert!(site.get("target", "first").is_some());
                site.install("identity", "replicas=1");
                site.target("second");
                site.sh("kubectl wait --for=condition=Ready target/first --timeout=60s");
                assert_eq!(site.zitadel.events().len(), 2, "nothing is made twice: {}", site.zitadel.dump());
            }),
            // Not the block before, in which the line goes on.
            ("crd targets.zitadel-actions.dev\n", |site| {
                assert!(site.zitadel.targets().is_empty(), "everything is deleted in ZITADEL too");
                // An operator that helm has taken its roles from cannot give its Lease back: a new one waits for it.
                site.renew();
                site.install("identity", "replicas=1");
                site.target("third");
            }),
            ("targets,connections", |site| {
                site.until("the Target has gone", || site.get("target", "third").is_none());
                assert_eq!(site.zitadel.targets().len(), 1, "but not in ZITADEL");
                site.renew();
                site.sh("kubectl create namespace team-a");
                site.install("identity", "replicas=1,watchNamespaces={team-a}");
                site.write("fourth.yaml", &manifest("fourth", ""));
                site.sh("kubectl apply --namespace team-a --filename fourth.yaml
                         kubectl wait --namespace team-a --for=condition=Ready target/fourth --timeout=60s");
            }),
            ("finalizers", |site| {
                assert_eq!(site.zitadel.targets().len(), 1, "the namespace's own target is deleted in ZITADEL");
                site.renew();
                site.install("identity", "replicas=1");
                site.target("audit-webhook");
                site.sh("helm uninstall zitadel-actions --namespace identity");
                site.sh("kubectl delete target audit-webhook --wait=false");
            }),
        ],
        after: |site| {
            site.until("the Target has gone", || site.get("target", "audit-webhook").is_none());
            assert_eq!(site.zitadel.targets().len(), 2, "and its target stays in ZITADEL");
            let another = "helm install another charts/zitadel-actions-operator --namespace identity";
            assert_ne!(site.run(another, "").code, 0, "the definitions are those of the former release");
        },
        spoken: &["helm install another charts/zitadel-actions-operator --namespace identity --take-ownership"],
        ..PLAIN
    }],
    &[Scene {
        document: "docs/backup.md",
        prepare: |site| {
            site.install("identity", "replicas=1");
            site.target("audit-webhook");
        },
        substitutions: |site| {
            let id = site.zitadel.targets()[0].id.clone();
            vec![("https://auth.example.com".into(), site.zitadel.url()), name(), ("ID".into(), id)]
        },
        before: &[
            ("externalId", |site| {
                site.renew();
                site.install("identity", "replicas=1");
                site.apply(&manifest("audit-webhook", ""));
                site.sh("kubectl wait --for=condition=Stalled target/audit-webhook --timeout=60s");
            }),
            ("export", |site| {
                site.sh("kubectl wait --for=condition=Ready target/audit-webhook --timeout=60s");
            }),
            ("> objects.yaml", |site| {
                site.sh("kubectl wait --for=condition=Ready target/audit-webhook --timeout=60s");
                site.renew();
                site.install("identity", "replicas=1");
            }),
            ("replicas=0", |site| {
                site.sh("kubectl wait --for=condition=Ready target/audit-webhook --timeout=60s");
                site.sh(r#"kubectl patch target audit-webhook --type=merge -p '{"spec":{"deletionPolicy":"Retain"}}'
                           kubectl delete target audit-webhook"#);
            }),
            ("rollout restart", |site| {
                site.sh("kubectl wait --for=condition=Ready target/audit-webhook --timeout=60s");
            }),
        ],
        after: |site| {
            assert_eq!(site.zitadel.events().len(), 1, "nothing is written in ZITADEL: {}", site.zitadel.dump());
        },
        ..PLAIN
    }],
    &[Scene {
        document: "README.md",
        generation: Generation::V3Alpha,
        prepare: |site| site.install("zitadel-actions", "replicas=1"),
        substitutions: url,
        before: &[
            ("kubectl events", |site| {
                let id = site.zitadel.targets()[0].id.clone();
                let endpoint = Some("https://other.example.com".to_owned());
                site.zitadel.external_update(&id, TargetEdit { endpoint, ..TargetEdit::default() });
                site.until("drift is corrected", || site.sh("kubectl get events").contains("DriftCorrected"));
            }),
            ("kubectl create namespace zitadel-actions", |site| {
                assert!(site.zitadel.targets().is_empty(), "deleted with its object");
                site.renew();
                site.zitadel.upgrade(Generation::V2);
            }),
            ("condition=Ready", |site| {
                site.sh("kubectl --namespace zitadel-actions rollout status deployment/zitadel-actions-operator");
                site.apply(&manifest("audit-webhook", ""));
            }),
            STALLED,
        ],
        spoken: &[
            "kubectl explain target.spec",
            r#"kubectl annotate --overwrite target audit-webhook zitadel-actions.dev/reconcile-requested-at="$(date)""#,
            "mkdir written; zitadel-actions-operator crds --write written && diff --recursive written crds",
            "source <(zitadel-actions-operator completions bash)",
            "zitadel-actions-operator completions zsh",
        ],
        ..PLAIN
    }],
    &[Scene {
        document: "docs/troubleshooting.md",
        prepare: |site| {
            site.install("zitadel-actions", "replicas=1");
            site.target("audit-webhook");
            site.write("target.yaml", &manifest("audit-webhook", ""));
            site.write("new-pat.txt", &site.zitadel.issue_token(zitadel_stand_in::Role::IamOwner));
        },
        substitutions: |site| {
            let url = ("https://auth.example.com".to_owned(), site.zitadel.url());
            vec![url, name(), ("NAMESPACE".into(), "default".into())]
        },
        before: &[
            ("kubectl patch target NAME --type=json", |site| {
                site.sh(r#"kubectl patch target audit-webhook --type=merge -p '{"spec":{"payloadType":"JSON"}}'"#);
            }),
            ("zitadel PUT /v2beta/features/instance", |site| {
                site.zitadel.upgrade(Generation::V3Alpha);
                site.zitadel.set_actions_feature(false);
            }),
            ("--from-file=pat=new-pat.txt", |site| site.zitadel.upgrade(Generation::V2)),
            ("--from-file=pat=pat.txt", |site| {
                site.sh("kubectl --namespace zitadel-actions delete secret iam-admin-pat");
            }),
            ("kubectl patch clusterconnection", |site| {
                site.apply(&connection("ClusterConnection", "audit-webhook", "https://auth.example.com"));
            }),
            ("grep 'watch of Targets failed'", |site| {
                site.sh("kubectl delete clusterrolebinding zitadel-actions-operator
                         kubectl --namespace zitadel-actions rollout restart deployment zitadel-actions-operator");
                let told = || site.sh("kubectl -n zitadel-actions logs deployment/zitadel-actions-operator");
                site.until("the operator says so", || told().contains("watch of Targets failed"));
            }),
        ],
        ..PLAIN
    }],
    &[Scene {
        document: "docs/runbooks.md",
        substitutions: |_| vec![name()],
        after: |site| assert_eq!(site.get("target", "audit-webhook").unwrap()["spec"]["deletionPolicy"], "Retain"),
        spoken: &["helm upgrade zitadel-actions charts/zitadel-actions-operator --namespace $NS --reuse-values --wait"],
        ..PLAIN
    }],
    &[
        Scene {
            document: "docs/export.md",
            prepare: |site| {
                site.install("identity", "replicas=2");
                site.write("token", &site.zitadel.token());
                site.sh("kubectl create namespace zitadel");
                for name in ["audit", "My Hook"] {
                    site.zitadel.external_create(name, TargetEdit::default());
                }
            },
            substitutions: |site| vec![("https://auth.example.com".into(), site.zitadel.url())],
            after: |site| {
                site.sh("kubectl --namespace zitadel wait --for=condition=Ready targets --all --timeout=60s");
                assert_eq!(site.zitadel.events().len(), 2, "adopted, and nothing written: {}", site.zitadel.dump());
            },
            ..PLAIN
        },
        Scene {
            document: "docs/connections.md",
            prepare: |site| {
                site.install("identity", "replicas=2,connections.secretNamespaces={default}");
                site.sh("kubectl create secret generic staging --from-file=pat=pat.txt");
                site.apply(&connection("Connection", "staging", &site.zitadel.url()));
            },
            spoken: &["kubectl wait --for=condition=Ready connection/staging --timeout=60s"],
            ..PLAIN
        },
        Scene {
            document: "docs/flux.md",
            prepare: |site| site.target("audit-webhook"),
            before: &[STALLED],
            after: |site| {
                site.target("audit-webhook");
                site.write("target.yaml", &manifest("audit-webhook", ""));
            },
            spoken: &[
                "kubectl diff --filename target.yaml",
                "kubectl diff --server-side --field-manager=argocd-controller --force-conflicts --filename target.yaml",
            ],
            ..PLAIN
        },
        Scene { document: "docs/high-availability.md", prepare: |_| {}, ..PLAIN },
        Scene {
            document: "docs/argocd.md",
            prepare: |site| {
                site.sh("kubectl create namespace argocd; kubectl -n argocd create configmap argocd-cm");
            },
            substitutions: |_| vec![name()],
            after: |site| {
                site.apply(APPLICATIONS);
                site.sh("kubectl wait --for=condition=Established crd/applications.argoproj.io --timeout=30s");
                site.apply(APPLICATION);
            },
            spoken: &[
                r#"kubectl -n argocd patch application targets --type=json -p '[{"op": "remove", "path": "/operation"}]'"#,
                "kubectl get target audit-webhook -o jsonpath={.status.id}",
            ],
            ..PLAIN
        },
    ],
    &[Scene {
        document: "docs/upgrade.md",
        generation: Generation::V2Beta,
        prepare: |site| {
            let url = site.zitadel.url();
            let values = format!("zitadel: {{url: '{url}', allowHttp: true}}\nresyncIntervalSeconds: 1\n");
            site.write("values.yaml", &values);
            site.install("identity", "replicas=1");
            site.target("audit-webhook");
        },
        before: &[("jsonpath='{.status.connection.api}'", |site| site.zitadel.upgrade(Generation::V2))],
        after: |site| {
            assert_eq!(site.zitadel.events().len(), 1, "nothing is written in ZITADEL: {}", site.zitadel.dump());
        },
        ..PLAIN
    }],
    &[Scene {
        document: "docs/install.md",
        prepare: |site| {
            let url = site.zitadel.url();
            site.write("values.yaml", &format!("zitadel: {{url: '{url}', allowHttp: true, timeoutSeconds: 20}}\n"));
        },
        substitutions: url,
        after: |site| site.target("audit-webhook"),
        spoken: &[
            "helm template zitadel-actions charts/zitadel-actions-operator --namespace identity --values values.yaml",
        ],
        ..PLAIN
    }],
    &[
        Scene {
            document: "docs/check.md",
            prepare: |site| {
                let audit = manifest("audit", "");
                for file in ["targets/audit.yaml", "a.yaml"] {
                    site.write(file, &audit);
                }
                let other = r#"{"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": "Target", "metadata": {"name": "b"},
                    "spec": {"restAsync": {}, "timeout": "10s", "endpoint": "https://hooks.example.com/b"}}"#;
                site.write("b.json", other);
                site.write("kustomization.yaml", "resources: [a.yaml]\n");
            },
            ..PLAIN
        },
        Scene { document: "docs/verify.md", prepare: |_| {}, ..PLAIN },
        Scene {
            document: "charts/zitadel-actions-operator/README.md",
            folder: "charts/zitadel-actions-operator",
            prepare: |_| {},
            substitutions: url,
            after: |site| {
                let rollout = "kubectl --namespace zitadel-actions rollout";
                let operator = "deployment/zitadel-actions-operator";
                site.sh(&format!(
                    "{rollout} status {operator}; {rollout} restart {operator}; {rollout} status {operator}"
                ));
            },
            spoken: &[
                "kubectl get targets -l shard=a",
                "kubectl --namespace zitadel-actions rollout undo deployment/zitadel-actions-operator",
            ],
            ..PLAIN
        },
    ],
];

/// Plays them all, some at once, and tells which fail. `DOC=docs/install.md` plays the group of one.
#[test]
fn every_command_does_what_the_documents_say() {
    let only = std::env::var("DOC").ok();
    let chosen =
        |group: &&&[Scene]| only.as_deref().is_none_or(|only| group.iter().any(|scene| scene.document == only));
    let queue: Mutex<VecDeque<&[Scene]>> = Mutex::new(SCENES.iter().filter(chosen).copied().collect());
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(group) = queue.lock().unwrap().pop_front() else { return };
                    let mut site = Site::new(group[0].generation);
                    for scene in group {
                        let begun = Instant::now();
                        let played = catch_unwind(AssertUnwindSafe(|| play(scene, &mut site)));
                        results.lock().unwrap().push((scene.document, begun.elapsed(), played.is_ok()));
                    }
                }
            });
        }
    });
    let results = results.into_inner().unwrap();
    for (document, time, ok) in &results {
        println!("{:5.1} s  {document}{}", time.as_secs_f64(), if *ok { "" } else { "  FAILED" });
    }
    assert!(!results.is_empty(), "no such document: {only:?}");
    let failed: Vec<_> = results.iter().filter(|(.., ok)| !ok).map(|(document, ..)| document).collect();
    assert!(failed.is_empty(), "{failed:?}, see above");
}
