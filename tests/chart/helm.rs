//! Runs the real helm on the chart. What is rendered with it and asserted lives in the other files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};

use devkit::go::SHORT_LIVED;
use serde_json::Value;
use tempfile::TempDir;

/// The release that the renders are of, and its namespace.
pub const RELEASE: &str = "x";
pub const NAMESPACE: &str = "identity";

/// The folder of the chart.
pub fn chart() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("charts/zitadel-actions-operator")
}

/// The text of one of its files.
pub fn file(name: &str) -> String {
    std::fs::read_to_string(chart().join(name)).unwrap()
}

/// values.yaml.
pub fn defaults() -> Value {
    serde_saphyr::from_str(&file("values.yaml")).unwrap()
}

/// A helm that uses nothing of the person who runs the test, and leaves nothing behind.
pub fn command() -> Command {
    static HELM: OnceLock<(PathBuf, TempDir)> = OnceLock::new();
    let (helm, home) = HELM.get_or_init(|| (devkit::tools::helm::ensure().unwrap(), tempfile::tempdir().unwrap()));
    let mut command = Command::new(helm);
    for (name, folder) in [("CACHE", "cache"), ("CONFIG", "config"), ("DATA", "data")] {
        command.env(format!("HELM_{name}_HOME"), home.path().join(folder));
    }
    command.env_remove("KUBECONFIG").envs(SHORT_LIVED);
    command
}

/// What it printed, or its complaint. `values` goes to its standard input, for `--values -`.
pub fn run(command: &mut Command, values: &Value) -> Result<String, String> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It may end before it has read everything.
    let _ = child.stdin.take().unwrap().write_all(values.to_string().as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// The rendered text with these values.
pub fn text(values: &Value, arguments: &[&str]) -> Result<String, String> {
    let mut helm = command();
    helm.args(["template", RELEASE]).arg(chart()).args(["--namespace", NAMESPACE, "--values", "-"]).args(arguments);
    run(&mut helm, values)
}

/// The rendered objects with these values. Each set of values is rendered once in a run.
pub fn render(values: &Value) -> Result<Arc<Vec<Value>>, String> {
    type Rendered = Result<Arc<Vec<Value>>, String>;
    static KNOWN: Mutex<BTreeMap<String, Arc<OnceLock<Rendered>>>> = Mutex::new(BTreeMap::new());
    let cell = Arc::clone(KNOWN.lock().unwrap().entry(values.to_string()).or_default());
    cell.get_or_init(|| Ok(Arc::new(objects(&text(values, &[])?)))).clone()
}

/// The rendered objects of a release in another namespace.
pub fn render_in(namespace: &str, values: &Value) -> Vec<Value> {
    let mut helm = command();
    helm.args(["template", RELEASE]).arg(chart()).args(["--namespace", namespace, "--values", "-"]);
    objects(&run(&mut helm, values).unwrap())
}

/// The documents of a YAML stream.
pub fn objects(text: &str) -> Vec<Value> {
    serde_saphyr::from_multiple::<Value>(text).unwrap().into_iter().filter(|object| !object.is_null()).collect()
}

/// The first object of this kind, or kind/name.
pub fn find<'a>(objects: &'a [Value], wanted: &str) -> Option<&'a Value> {
    let (kind, name) = wanted.split_once('/').map_or((wanted, None), |(kind, name)| (kind, Some(name)));
    objects.iter().find(|object| object["kind"] == kind && name.is_none_or(|name| object["metadata"]["name"] == name))
}

/// One set of values over another, as helm merges them.
pub fn merged(base: &Value, over: &Value) -> Value {
    let (Value::Object(base), Value::Object(over)) = (base, over) else { return over.clone() };
    let mut all = base.clone();
    for (key, value) in over {
        let value = all.get(key).map_or_else(|| value.clone(), |known| merged(known, value));
        all.insert(key.clone(), value);
    }
    Value::Object(all)
}
