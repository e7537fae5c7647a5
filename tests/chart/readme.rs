//! The chart's README and its metadata: the table of values is made from the comments in values.yaml, and what is said
//! a second time for Artifact Hub is what it is. `UPDATE=1 cargo test --test chart readme` writes the table.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::cluster::Right;
use crate::helm::{chart, defaults, file};
use crate::rights;
use crate::values::leaves;

const BEGIN: &str = "<!-- values: made from values.yaml by tests/chart/readme.rs -->\n";
const END: &str = "<!-- end of values -->\n";

/// One documented value: its dotted name and what its comment says.
#[derive(Debug)]
struct Documented {
    name: String,
    text: String,
}

/// The comments that begin with `# --`, each with the key below it.
fn documented(yaml: &str) -> Vec<Documented> {
    let mut found = Vec::new();
    let mut path: Vec<(usize, &str)> = Vec::new();
    let mut comment: Option<String> = None;
    for line in yaml.lines() {
        let content = line.trim_start();
        let indent = line.len() - content.len();
        if let Some(text) = content.strip_prefix("# -- ") {
            comment = Some(text.to_owned());
        } else if let (Some(text), Some(more)) = (&mut comment, content.strip_prefix("# ")) {
            text.push(' ');
            text.push_str(more);
        } else if let Some((key, _)) = content.split_once(':').filter(|(key, _)| !key.starts_with(['#', '-'])) {
            path.retain(|(depth, _)| *depth < indent);
            path.push((indent, key));
            if let Some(text) = comment.take() {
                let name = path.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
                found.push(Documented { name, text });
            }
        }
    }
    found
}

/// The table, in the order of values.yaml.
fn table() -> String {
    let defaults = defaults();
    let mut lines = vec!["| value | default | meaning |".to_owned(), "|---|---|---|".to_owned()];
    for Documented { name, text } in documented(&file("values.yaml")) {
        let default = defaults.pointer(&format!("/{}", name.replace('.', "/"))).unwrap();
        lines.push(format!("| `{name}` | `{default}` | {} |", text.replace('|', "\\|")));
    }
    lines.join("\n") + "\n"
}

#[test]
fn the_readme_has_the_values_as_they_are() {
    let readme = file("README.md");
    let (before, rest) = readme.split_once(BEGIN).expect("the README marks where the values begin");
    let (_, after) = rest.split_once(END).expect("the README marks where the values end");
    let fresh = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(chart().join("README.md"), fresh).unwrap();
        return;
    }
    assert!(fresh == readme, "the README is not up to date: UPDATE=1 cargo test --test chart readme");
}

#[test]
fn every_value_is_documented() {
    let known: BTreeSet<String> = documented(&file("values.yaml")).into_iter().map(|one| one.name).collect();
    let told = |leaf: &str| known.iter().any(|name| leaf == name || leaf.starts_with(&format!("{name}.")));
    let silent: Vec<_> = leaves().into_iter().map(|(leaf, _)| leaf).filter(|leaf| !told(leaf)).collect();
    assert!(silent.is_empty(), "{silent:?}");
    assert!(known.len() > 90, "{known:?}");
}

/// An annotation of Chart.yaml that is YAML itself.
pub fn annotation(name: &str) -> Value {
    let chart: Value = serde_saphyr::from_str(&file("Chart.yaml")).unwrap();
    let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str().expect(name).to_owned();
    serde_saphyr::from_str(&text).unwrap()
}

#[test]
fn artifact_hub_is_told_what_the_chart_has() {
    let about: Value = serde_saphyr::from_str(&file("Chart.yaml")).unwrap();
    let crds = annotation("crds");
    let of = |value: &Value, key: &str| value[key].as_str().unwrap().to_owned();
    let mut told: Vec<_> =
        crds.as_array().unwrap().iter().map(|crd| (of(crd, "name"), of(crd, "kind"), of(crd, "version"))).collect();
    let mut there: Vec<_> = std::fs::read_dir(chart().join("files/crds"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .map(|text| serde_saphyr::from_str::<Value>(&text).unwrap())
        .map(|crd| {
            (of(&crd["metadata"], "name"), of(&crd["spec"]["names"], "kind"), of(&crd["spec"]["versions"][0], "name"))
        })
        .collect();
    told.sort();
    there.sort();
    assert_eq!(told, there);

    let image = annotation("images")[0]["image"].as_str().unwrap().to_owned();
    let repository = defaults()["image"]["repository"].as_str().unwrap().to_owned();
    assert_eq!(image, format!("{repository}:{}", about["appVersion"].as_str().unwrap()));

    let kinds = |value: &Value| -> BTreeSet<String> {
        value.as_array().unwrap().iter().map(|object| object["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(kinds(&annotation("crdsExamples")), kinds(&crds));
    for change in annotation("changes").as_array().unwrap() {
        let kind = change["kind"].as_str().unwrap();
        assert!(["added", "changed", "deprecated", "removed", "fixed", "security"].contains(&kind), "{change}");
        assert!(!change["description"].as_str().unwrap().is_empty());
    }
    for plain in ["license", "category", "operator", "operatorCapabilities", "links", "recommendations"] {
        assert!(about["annotations"][format!("artifacthub.io/{plain}")].is_string(), "{plain}");
    }
}

/// README.md of the repository has a table of rights; what each is for is its own.
#[test]
fn the_rights_that_the_readme_lists_are_those_of_the_roles() {
    const VERBS: [&str; 6] = ["get", "list", "watch", "create", "update", "patch"];
    let text = std::fs::read_to_string(chart().join("../../README.md")).unwrap();
    let rows = text.split("| resource | verbs | for |").nth(1).unwrap().split("\n\n").next().unwrap();
    let mut told = BTreeSet::new();
    for row in rows.lines().skip(2) {
        let cells: Vec<&str> = row.split('|').collect();
        // A name with dots is that of a group, or of an object.
        let resources = cells[1].split('`').skip(1).step_by(2).filter(|name| !name.contains('.'));
        for resource in resources.map(str::to_owned) {
            let words = cells[2].split(|c: char| !c.is_ascii_alphabetic());
            told.extend(words.filter(|word| VERBS.contains(word)).map(|verb| (resource.clone(), verb.to_owned())));
        }
    }
    let rights: BTreeSet<Right> =
        rights::all().map(|(verb, resource)| (resource.to_owned(), verb.to_owned())).collect();
    assert_eq!(told, rights);
}
