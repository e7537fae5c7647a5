//! Every value of the chart, set and installed by the real helm: the cases of `cases.yaml`, as many in one release as go
//! together, one upgrade after the other.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::helm::{NAMESPACE, RELEASE, chart, merged, render, text};
use crate::installation::Installation;
use crate::lifecycle::of_release;
use crate::values::{Case, cases, leaves, leaves_of};

/// Values that hold for several cases at once.
struct Together {
    values: Value,
    cases: Vec<Case>,
}

impl Together {
    /// As many of these as go together, in their order; the others stay.
    fn taken_from(rest: &mut Vec<Case>) -> Self {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        let mut values = json!({});
        for case in rest.drain(..) {
            if disagree(&values, &case.values()) {
                left.push(case);
            } else {
                values = merged(&values, &case.values());
                taken.push(case);
            }
        }
        *rest = left;
        loop {
            let values = taken.iter().fold(json!({}), |all, case: &Case| merged(&all, &case.values()));
            let before = taken.len();
            match render(&values) {
                Ok(objects) => {
                    // The first one stays as long as another one may be why it does not show.
                    let others = taken.extract_if(1.., |case| !case.holds(&objects)).collect::<Vec<_>>();
                    if others.is_empty() && taken.first().is_some_and(|case| !case.holds(&objects)) {
                        rest.push(taken.remove(0));
                    }
                    rest.extend(others);
                }
                // The last one of those that helm complains of.
                Err(said) => {
                    let named = taken.iter().rposition(|case| sets_any_of(case, &said));
                    rest.push(taken.remove(named.unwrap_or_else(|| panic!("{said}"))));
                }
            }
            if taken.len() == before {
                return Self { values, cases: taken };
            }
        }
    }
}

/// Whether a complaint names a value of this case.
fn sets_any_of(case: &Case, complaint: &str) -> bool {
    leaves_of(&case.values()).iter().any(|(leaf, _)| complaint.contains(leaf.as_str()))
}

/// Whether two sets of values have something else at the same place.
fn disagree(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            one.iter().any(|(key, value)| other.get(key).is_some_and(|other| disagree(value, other)))
        }
        _ => one != other,
    }
}

/// The first place where the API server does not have what was rendered; it adds defaults.
fn lacking(live: &Value, rendered: &Value, at: &str) -> Option<String> {
    // What Kubernetes leaves out of an object that has it.
    let empty = |value: &Value| [json!(null), json!({}), json!([]), json!(0), json!(false), json!("")].contains(value);
    let differs = match (live, rendered) {
        (Value::Object(live), Value::Object(rendered)) => {
            let none = Value::Null;
            let within = |(key, value)| lacking(live.get(key).unwrap_or(&none), value, &format!("{at}/{key}"));
            return rendered.iter().find_map(within);
        }
        (Value::Array(live), Value::Array(rendered)) if live.len() == rendered.len() => {
            let within = |(number, (live, rendered))| lacking(live, rendered, &format!("{at}/{number}"));
            return live.iter().zip(rendered).enumerate().find_map(within);
        }
        (Value::Null, rendered) => !empty(rendered),
        (Value::Number(live), Value::Number(rendered)) => live.as_f64() != rendered.as_f64(),
        _ => live != rendered,
    };
    differs.then(|| format!("{at}: {live} is not {rendered}"))
}

#[test]
fn every_value_is_installed() {
    let cluster = Cluster::start();
    cluster.define_monitors();
    let namespaces = [NAMESPACE, "a", "b", "monitoring"];
    cluster.apply(&namespaces.map(|name| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})));
    let site = Installation::new(&cluster, NAMESPACE.to_owned());
    let (chart, mut rest) = (chart(), cases());
    // What takes objects away goes last: it would take the effect of others with it.
    rest.sort_by_key(Case::takes_away);
    let all = rest.len();
    let mut seen = BTreeSet::new();
    let mut releases = 0;
    while !rest.is_empty() {
        let set = Together::taken_from(&mut rest);
        assert!(!set.cases.is_empty(), "goes with nothing: {:?}", rest.first());
        let command = ["upgrade", "--install", RELEASE, chart.to_str().unwrap(), "--reset-values", "--values", "-"];
        site.helm(&command, &set.values).unwrap_or_else(|said| panic!("{}: {said}", set.values));
        let rendered = render(&set.values).unwrap();
        let list = json!({"apiVersion": "v1", "kind": "List", "items": rendered.as_slice()}).to_string();
        let live = cluster.kubectl(&["get", "--output=json", "--filename", "-"], &list).unwrap();
        let live: Value = serde_json::from_str(&live).unwrap();
        assert_eq!(lacking(&live["items"], &json!(rendered.as_slice()), ""), None, "{}", set.values);
        assert_eq!(text(&set.values, &[]), text(&set.values, &[]), "the same values give the same bytes");
        println!("revision {}: {} cases in {} objects", releases + 1, set.cases.len(), rendered.len());
        seen.extend(set.cases.into_iter().map(|case| case.leaf));
        releases += 1;
    }
    let known: BTreeSet<String> = leaves().into_iter().map(|(name, _)| name).collect();
    assert_eq!(seen, known, "a value was never installed");
    site.helm(&["rollback", RELEASE], &json!({})).unwrap();
    site.helm(&["uninstall", RELEASE], &json!({})).unwrap();
    site.until("nothing is left", || of_release(&site).is_empty().then_some(()));
    println!("{} values in {all} cases, installed in {releases} revisions of one release", known.len());
}
