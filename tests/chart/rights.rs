//! The chart's roles hold what the operator needs and nothing else. A life of Targets and connections uses every right
//! and is refused none; and for each right, the same life without it fails at the step that is named here.
//!
//! The API server's audit says what was used and what was refused. Only the step that is expected to fail is given up
//! early, and only once the missing right was asked for: no slowness is taken for a failure.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use zitadel_stand_in::{Effect, Op, Times};

use crate::cluster::{Cluster, PATIENCE, Right, shared};
use crate::helm::{merged, render_in};
use crate::installation::{Installation, condition, is_ready, target};

/// How long the step that is expected to fail may still take after the right was asked for in vain. Without the right
/// nothing but another way to the same end could bring it.
const GRACE: Duration = Duration::from_secs(5);

/// Lives in namespaces of one control plane at the same time: they mostly wait.
const LANES: usize = 9;

/// Control planes for lives that change what is cluster-scoped.
const PLANES: usize = 2;

/// Each right of a Role in a namespace, and the step that fails without it.
const NAMESPACED: [(&str, &str, &str); 17] = [
    ("list", "targets", "the operator becomes ready"),
    ("watch", "targets", "a Target is created in ZITADEL"),
    ("patch", "targets", "a Target is created in ZITADEL"),
    ("get", "targets", "a Target that moved meanwhile becomes Ready"),
    ("patch", "targets/status", "a Target that moved meanwhile becomes Ready"),
    ("create", "events", "an Event tells of it"),
    ("patch", "events", "an Event that repeats is counted"),
    ("list", "connections", "a Connection becomes Ready"),
    ("watch", "connections", "a Connection becomes Ready"),
    ("patch", "connections", "a Connection becomes Ready"),
    ("patch", "connections/status", "a Connection becomes Ready"),
    ("get", "secrets", "a Connection becomes Ready"),
    ("get", "leases", "a Target is created in ZITADEL"),
    ("create", "leases", "a Target is created in ZITADEL"),
    ("list", "leases", "another pod takes over"),
    ("watch", "leases", "another pod takes over"),
    ("update", "leases", "another pod takes over"),
];

/// The same for what the ClusterRole has beyond that.
const CLUSTER: [(&str, &str, &str); 6] = [
    ("list", "clusterconnections", "a ClusterConnection becomes Ready"),
    ("watch", "clusterconnections", "a ClusterConnection becomes Ready"),
    ("patch", "clusterconnections", "a ClusterConnection becomes Ready"),
    ("patch", "clusterconnections/status", "a ClusterConnection becomes Ready"),
    ("get", "namespaces", "a Target in a selected namespace becomes Ready"),
    ("get", "customresourcedefinitions", "a deleted Target goes"),
];

/// Verb and resource of every right.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    NAMESPACED.iter().chain(&CLUSTER).map(|(verb, resource, _)| (*verb, *resource))
}

/// What the operator asks for where it has no right to, and does without: in a namespaced installation nothing
/// cluster-scoped is granted.
const WITHOUT: [(&str, &str); 1] = [("customresourcedefinitions", "get")];

/// One life of an operator, with all rights but at most one.
struct Life<'a> {
    site: Installation<'a>,
    missing: Option<Missing>,
    refused_at: Cell<Option<Instant>>,
}

/// A right that is taken away, and the step that is expected to fail.
#[derive(Debug, Clone)]
struct Missing {
    right: Right,
    step: &'static str,
}

/// A step that could not be done.
#[derive(Debug, PartialEq, Eq)]
struct Failed(String);

type Step = Result<(), Failed>;

/// Takes one right out of the rules of all roles. A rule for two resources keeps the verb for the other one.
fn without(objects: &mut [Value], (resource, verb): &Right) {
    for rules in objects.iter_mut().filter_map(|object| object.get_mut("rules")?.as_array_mut()) {
        for rule in rules.iter_mut().filter(|rule| has(rule, "resources", resource) && has(rule, "verbs", verb)) {
            let alone = rule["resources"].as_array().map(Vec::len) == Some(1);
            let (list, item) = if alone { ("verbs", verb) } else { ("resources", resource) };
            rule[list].as_array_mut().unwrap().retain(|one| one != item);
        }
        rules.retain(|rule| rule["verbs"] != json!([]));
    }
}

fn has(rule: &Value, list: &str, item: &str) -> bool {
    rule[list].as_array().is_some_and(|all| all.iter().any(|one| one == item))
}

/// The rights of the operator's own roles; those that are for people are left out.
fn granted(objects: &[Value]) -> BTreeSet<Right> {
    let people =
        |object: &&Value| object["metadata"]["labels"].get("rbac.authorization.k8s.io/aggregate-to-edit").is_none();
    let texts = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let mut all = BTreeSet::new();
    for rule in objects.iter().filter(people).filter_map(|object| object["rules"].as_array()).flatten() {
        for resource in texts(&rule["resources"]) {
            all.extend(texts(&rule["verbs"]).into_iter().map(|verb| (resource.clone(), verb)));
        }
    }
    all
}

impl<'a> Life<'a> {
    /// The chart as rendered, applied but for one right, and its operator started.
    fn begin(cluster: &'a Cluster, namespace: &str, values: &Value, missing: Option<Missing>) -> Self {
        let mut site = Installation::new(cluster, namespace.to_owned());
        // The lease is looked at once in a while only: it is the watch of it that shows its release.
        let seldom = json!({"leaseDurationSeconds": 3600, "renewDeadlineSeconds": 3000, "retryPeriodSeconds": 2000});
        let values = merged(values, &json!({"leaderElection": seldom}));
        let mut objects = render_in(namespace, &merged(&site.values(), &values));
        if let Some(Missing { right, .. }) = &missing {
            let before = granted(&objects);
            without(&mut objects, right);
            let gone: Vec<_> = before.difference(&granted(&objects)).cloned().collect();
            assert!(gone == std::slice::from_ref(right), "one right, and no other, is taken away");
        }
        objects.retain(|object| object["kind"] != "CustomResourceDefinition");
        cluster.apply(&objects);
        site.secret("iam-admin-pat", json!({"pat": site.zitadel.token()}));
        site.start();
        Self { site, missing, refused_at: Cell::new(None) }
    }

    /// Waits for a step. The one that is expected to fail has failed when the missing right was asked for in vain, and
    /// time enough has passed.
    fn step(&self, what: &str, holds: impl Fn() -> bool) -> Step {
        let begun = Instant::now();
        let refused = || self.site.cluster.asked(&self.site.namespace).1;
        let expected = self.missing.as_ref().filter(|missing| missing.step == what);
        while !holds() {
            if let Some(missing) = expected {
                if self.refused_at.get().is_none() && refused().contains(&missing.right) {
                    self.refused_at.set(Some(Instant::now()));
                }
                if self.refused_at.get().is_some_and(|at| at.max(begun).elapsed() > GRACE) {
                    return Err(Failed(what.to_owned()));
                }
            }
            let explain =
                || format!("{:?} {:?}\n{}\n{}", self.missing, refused(), self.site.log(), self.site.zitadel.dump());
            assert!(begun.elapsed() < PATIENCE, "{what}: waited {PATIENCE:?} in vain\n{}", explain());
            std::thread::sleep(Duration::from_millis(150));
        }
        Ok(())
    }

    fn apply(&self, namespace: &str, objects: &[Value]) {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        self.site.cluster.kubectl(&["apply", "--namespace", namespace, "--filename", "-"], &list).unwrap();
    }

    fn ready(&self, namespace: &str, kind: &str, name: &str) -> bool {
        self.site.cluster.look(namespace, kind, name).is_some_and(|object| is_ready(&object))
    }

    fn delete(&self, namespace: &str, kind: &str, name: &str) {
        let delete = ["delete", "--namespace", namespace, "--wait=false", kind, name];
        self.site.cluster.kubectl(&delete, "").unwrap();
    }

    fn gone(&self, namespace: &str, kind: &str, name: &str) -> bool {
        self.site.cluster.look(namespace, kind, name).is_none()
    }

    /// The Event with this reason on an object: how often it has been seen, if at all.
    fn event(&self, name: &str, reason: &str) -> Option<u64> {
        let all = self.site.events();
        let fits = |event: &&Value| event["regarding"]["name"] == name && event["reason"] == reason;
        let event = all.iter().find(fits)?;
        Some(event["series"]["count"].as_u64().unwrap_or(1))
    }

    /// All that happens in a namespace.
    fn in_a_namespace(&mut self) -> Step {
        self.first_pod()?;
        let (cluster, namespace) = (self.site.cluster, self.site.namespace.clone());
        self.site.relieve(|| {
            let (used, refused) = cluster.asked(&namespace);
            let right = |verb: &str| ("leases".to_owned(), verb.to_owned());
            used.contains(&right("watch")) || refused.contains(&right("watch")) || refused.contains(&right("list"))
        });
        let (site, ns) = (&self.site, self.site.namespace.as_str());
        self.apply(ns, &[target("plain", json!({"timeout": "30s"}))]);
        self.step("another pod takes over", || self.ready(ns, "target", "plain"))?;
        for name in ["hook", "plain"] {
            self.delete(ns, "target", name);
            self.step("a deleted Target goes", || self.gone(ns, "target", name))?;
        }
        self.step("a deleted Connection goes", || self.gone(ns, "connection", "mine"))?;
        self.step("nothing is left in ZITADEL", || site.zitadel.targets().is_empty())
    }

    /// What one pod does.
    fn first_pod(&self) -> Step {
        let (site, ns) = (&self.site, self.site.namespace.as_str());
        self.step("the operator becomes ready", || site.is_ready())?;

        // The object moves while its create call is under way: is it still the same one?
        let held = site.zitadel.fault(Op::Create, Effect::HoldReply, Times::ONCE);
        self.apply(ns, &[target("plain", json!({}))]);
        self.step("a Target is created in ZITADEL", || !site.zitadel.targets().is_empty())?;
        site.kubectl(&["annotate", "target", "plain", "example.com/moved=yes"], "").unwrap();
        held.release();
        self.step("a Target that moved meanwhile becomes Ready", || self.ready(ns, "target", "plain"))?;
        self.step("an Event tells of it", || self.event("plain", "Created").is_some())?;

        // The same loss twice is one Event, counted.
        for times in 1..=2 {
            site.zitadel.external_delete(&site.zitadel.targets()[0].id);
            self.step("a lost target is created anew", || !site.zitadel.targets().is_empty())?;
            self.step("an Event that repeats is counted", || self.event("plain", "ExternallyDeleted") == Some(times))?;
            self.step("the Target is Ready again", || self.ready(ns, "target", "plain"))?;
        }

        self.apply(ns, &[connection("Connection", "mine", &site.zitadel.url(), json!({}))]);
        self.step("a Connection becomes Ready", || self.ready(ns, "connection", "mine"))?;
        self.apply(ns, &[target("hook", json!({"connectionRef": {"kind": "Connection", "name": "mine"}}))]);
        self.step("a Target by a Connection becomes Ready", || self.ready(ns, "target", "hook"))?;
        self.apply(ns, &[target("plain", json!({"timeout": "20s"}))]);
        self.step("a changed spec becomes Ready", || self.ready(ns, "target", "plain"))?;
        self.delete(ns, "connection", "mine");
        self.step("a Connection in use waits for its Targets", || {
            site.get("connection", "mine").is_some_and(|object| object["metadata"].get("deletionTimestamp").is_some())
        })
    }

    /// What needs a ClusterRole: ClusterConnections, and the deletion of the definitions themselves.
    fn in_the_cluster(&self, team: &str) -> Step {
        let site = &self.site;
        self.step("the operator becomes ready", || site.is_ready())?;
        let select = json!({"allowedNamespaces": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": team}}}});
        self.apply(team, &[connection("ClusterConnection", "company", &site.zitadel.url(), select)]);
        self.step("a ClusterConnection becomes Ready", || self.ready(team, "clusterconnection", "company"))?;
        let by = json!({"connectionRef": {"kind": "ClusterConnection", "name": "company"}});
        self.apply(team, &[target("hook", by)]);
        self.step("a Target in a selected namespace becomes Ready", || self.ready(team, "target", "hook"))?;
        self.delete(team, "target", "hook");
        self.step("a deleted Target goes", || self.gone(team, "target", "hook"))?;
        self.delete(team, "clusterconnection", "company");
        self.step("a deleted ClusterConnection goes", || self.gone(team, "clusterconnection", "company"))?;

        self.apply(team, &[target("kept", json!({}))]);
        self.step("a Target becomes Ready", || self.ready(team, "target", "kept"))?;
        self.delete(team, "crd", "targets.zitadel-actions.dev");
        self.step("a deleted definition goes", || self.gone(team, "crd", "targets.zitadel-actions.dev"))?;
        if site.zitadel.targets().len() == 1 {
            return Ok(());
        }
        Err(Failed("the targets of a deleted definition stay in ZITADEL".to_owned()))
    }
}

fn connection(kind: &str, name: &str, url: &str, more: Value) -> Value {
    let credentials = json!({"personalAccessToken": {"secretRef": {"name": "iam-admin-pat", "key": "pat"}}});
    let spec = merged(&json!({"url": url, "credentials": credentials}), &more);
    json!({"apiVersion": "zitadel-actions.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn namespaced(namespace: &str) -> Value {
    json!({"watchNamespaces": [namespace], "connections": {"secretNamespaces": [namespace], "secretNames": ["iam-admin-pat"]}})
}

/// Lives a life without each of these rights, some at a time, and prints what failed. Needless rights are told all at
/// once. Each lane has something of its own for its lives.
fn each_removed<L>(
    title: &str,
    rights: &[(&str, &str, &'static str)],
    lanes: Vec<L>,
    live: impl Fn(&L, Option<Missing>) -> Step + Sync,
) where
    L: Send,
{
    let missing = |(verb, resource, step): &(&str, &str, &'static str)| Missing {
        right: ((*resource).to_owned(), (*verb).to_owned()),
        step,
    };
    let queue: Mutex<Vec<Missing>> = Mutex::new(rights.iter().rev().map(missing).collect());
    let ended = Mutex::new(BTreeMap::new());
    std::thread::scope(|threads| {
        for lane in lanes {
            threads.spawn(|| {
                let lane = lane;
                loop {
                    let Some(missing) = queue.lock().unwrap().pop() else { return };
                    let step = live(&lane, Some(missing.clone()));
                    ended.lock().unwrap().insert(missing.right, step);
                }
            });
        }
    });
    let ended = ended.into_inner().unwrap();
    let mut table = format!("{title}: all used, none refused; each removed in turn\n{:34} | what failed\n", "removed");
    for (verb, resource, step) in rights {
        let result = &ended[&((*resource).to_owned(), (*verb).to_owned())];
        let failed = result.as_ref().err().map_or("nothing: THE RIGHT IS NEEDLESS", |failed| &failed.0);
        let _ = writeln!(table, "{:34} | {failed}", format!("{verb} {resource}"));
        assert!(result.is_ok() || failed == *step, "{verb} {resource}: {failed}");
    }
    println!("{table}");
    assert!(ended.values().all(Result::is_err), "{table}");
}

/// The rights that are granted, and in which the table says what fails without them.
fn assert_all_told(granted: &BTreeSet<Right>, told: &[(&str, &str, &str)]) {
    let told: BTreeSet<Right> =
        told.iter().map(|(verb, resource, _)| ((*resource).to_owned(), (*verb).to_owned())).collect();
    assert_eq!(*granted, told, "the table says of each right what fails without it");
}

#[test]
fn every_right_in_a_namespace_is_used_and_needed() {
    let live = |missing: Option<Missing>| {
        let namespace = shared().namespace(json!({}));
        let mut life = Life::begin(shared(), &namespace, &namespaced(&namespace), missing);
        let ended = life.in_a_namespace();
        life.site.stop_hard();
        (ended, shared().asked(&namespace))
    };
    let all = granted(&render_in("a", &namespaced("a")));
    assert_all_told(&all, &NAMESPACED);
    let (ended, (used, refused)) = live(None);
    assert_eq!(ended, Ok(()));
    assert!(used.is_superset(&all), "granted and not used: {:?}", all.difference(&used));
    let known = WITHOUT.map(|(resource, verb)| (resource.to_owned(), verb.to_owned()));
    assert!(refused.iter().all(|right| known.contains(right)), "{refused:?}");
    each_removed("Rights of the Role in a namespace", &NAMESPACED, vec![(); LANES], |(), missing| live(missing).0);
}

#[test]
fn every_right_of_the_cluster_role_is_used_and_needed() {
    let values = |home: &str| json!({"connections": {"secretNamespaces": [home]}});
    let live = |cluster: &Cluster, missing: Option<Missing>| {
        cluster.define();
        let (home, team) = (cluster.namespace(json!({})), cluster.namespace(json!({})));
        let mut life = Life::begin(cluster, &home, &values(&home), missing);
        let ended = life.in_the_cluster(&team);
        life.site.stop_hard();
        cleared(cluster);
        (ended, cluster.asked(&home))
    };
    let here = granted(&render_in("a", &namespaced("a")));
    let only: BTreeSet<Right> = granted(&render_in("a", &values("a"))).difference(&here).cloned().collect();
    assert_all_told(&only, &CLUSTER);
    let first = Cluster::start();
    let (ended, (used, refused)) = live(&first, None);
    assert_eq!((ended, refused), (Ok(()), BTreeSet::new()));
    assert!(used.is_superset(&only), "granted and not used: {:?}", only.difference(&used));
    let lanes = std::iter::once(first).chain((1..PLANES).map(|_| Cluster::start())).collect();
    let title = "Rights of the ClusterRole beyond those";
    each_removed(title, &CLUSTER, lanes, |cluster, missing| live(cluster, missing).0);
}

/// What can be narrowed to a name is.
#[test]
fn rights_on_one_object_name_it() {
    let rendered = render_in("a", &json!({"connections": {"secretNamespaces": ["a"], "secretNames": ["s"]}}));
    let rules = rendered.iter().filter_map(|object| object["rules"].as_array()).flatten();
    let (named, unnamed): (Vec<&Value>, Vec<&Value>) = rules.partition(|rule| rule.get("resourceNames").is_some());
    let named: BTreeMap<String, Value> = named
        .into_iter()
        .map(|rule| (rule["resources"][0].as_str().unwrap().to_owned(), rule["resourceNames"].clone()))
        .collect();
    let expected = [
        ("customresourcedefinitions", "targets.zitadel-actions.dev"),
        ("leases", "x-zitadel-actions-operator"),
        ("secrets", "s"),
    ];
    assert_eq!(named, expected.map(|(resource, name)| (resource.to_owned(), json!([name]))).into());
    let leases = unnamed.into_iter().filter(|rule| has(rule, "resources", "leases"));
    assert_eq!(leases.map(|rule| &rule["verbs"]).collect::<Vec<_>>(), [&json!(["create"])]);
}

/// Secrets need a value of their own: the connection says so, and works as soon as the release is upgraded with it.
#[test]
fn a_connection_tells_which_right_its_secret_needs() {
    let namespace = shared().namespace(json!({}));
    let without = json!({"watchNamespaces": [namespace]});
    let mut life = Life::begin(shared(), &namespace, &without, None);
    let (site, ns) = (&life.site, namespace.as_str());
    life.apply(ns, &[connection("Connection", "mine", &site.zitadel.url(), json!({}))]);
    let told =
        || condition(&site.get("connection", "mine")?, "Ready").filter(|ready| ready.1 == "CredentialsUnavailable");
    let (_, _, message) = site.until("the Connection says what it lacks", told);
    assert!(message.contains("may not read the Secret iam-admin-pat"), "{message}");
    site.cluster
        .apply(&render_in(ns, &merged(&merged(&site.values(), &namespaced(ns)), &json!({"crds": {"enabled": false}}))));
    assert_eq!(life.step("it works", || life.ready(ns, "connection", "mine")), Ok(()));
    life.delete(ns, "connection", "mine");
    assert_eq!(life.step("it goes", || life.gone(ns, "connection", "mine")), Ok(()));
    life.site.stop_hard();
}

/// What a life left behind goes: the next one begins with nothing of it.
fn cleared(cluster: &Cluster) {
    for kind in ["targets", "connections", "clusterconnections"] {
        let Some(left) = cluster.get(&["--all-namespaces", kind]) else { continue };
        for object in left["items"].as_array().into_iter().flatten() {
            let name = object["metadata"]["name"].as_str().unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
            let patch = r#"{"metadata": {"finalizers": null}}"#;
            // It may go by itself meanwhile.
            let _ =
                cluster.kubectl(&["patch", "--namespace", namespace, kind, name, "--type=merge", "--patch", patch], "");
            let _ = cluster.kubectl(&["delete", "--namespace", namespace, "--ignore-not-found", kind, name], "");
        }
    }
    let gone = ["delete", "clusterrole,clusterrolebinding", "--selector=app.kubernetes.io/managed-by=Helm"];
    cluster.kubectl(&gone, "").unwrap();
    let _ = cluster.kubectl(&["wait", "--for=delete", "crd/targets.zitadel-actions.dev", "--timeout=5s"], "");
}
