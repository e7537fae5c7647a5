//! A real Prometheus that reads operators every second and holds the chart's alerts.

use std::time::Duration;

use devkit::supervisor::{Ending, Signal};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tempfile::TempDir;
use url::Url;
use zitadel_stand_in::Generation;

use crate::cluster::plane;
use crate::helm;
use crate::world::{Setup, World};

/// The label `job` that the chart's ServiceMonitor gives the operator's series: the name of the Service.
pub const JOB: &str = "x-zitadel-actions-operator-metrics";

/// A Prometheus.
pub struct Prometheus {
    process: String,
    api: String,
    /// Made once, which is slow in the debug profile: Prometheus is asked all the time.
    client: reqwest::Client,
    _files: TempDir,
}

impl Prometheus {
    /// One that reads what answers on these ports as the pods operator-0, operator-1, ...
    pub async fn start(name: &str, rules: &Value, ports: &[u16]) -> Self {
        let files = tempfile::tempdir().unwrap();
        let port = devkit::host::free_port().unwrap();
        let process = format!("prometheus-{name}");
        let pods = ports.iter().enumerate().map(|(index, port)| {
            let labels = json!({"namespace": helm::NAMESPACE, "pod": pod(index)});
            json!({"targets": [format!("127.0.0.1:{port}")], "labels": labels})
        });
        let settings = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": JOB, "honor_labels": true, "static_configs": pods.collect::<Vec<_>>()}],
        });
        // JSON is YAML.
        std::fs::write(files.path().join("prometheus.yaml"), settings.to_string()).unwrap();
        std::fs::write(files.path().join("rules.yaml"), rules.to_string()).unwrap();
        let (folder, name) = (files.path().to_owned(), process.clone());
        tokio::task::spawn_blocking(move || {
            let mut command = devkit::tools::prometheus::ensure().unwrap().server();
            command
                .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"));
            plane().supervisor().start(&name, &command, Ending::Abrupt).expect("Prometheus starts");
        })
        .await
        .unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        Self { process, api: format!("http://127.0.0.1:{port}/api/v1"), client, _files: files }
    }

    /// What an endpoint of the API says, if it says anything.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = Url::parse_with_params(&format!("{}/{path}", self.api), parameters).unwrap();
        let text = self.client.get(url).send().await.ok()?.text().await.ok()?;
        let answer: Value = serde_json::from_str(&text).ok()?;
        assert_ne!(answer["status"], "error", "{path} {parameters:?}: {text}");
        Some(answer["data"].clone())
    }

    /// The series that a query gives, now.
    pub async fn query(&self, query: &str) -> Vec<Value> {
        let data = self.ask("query", &[("query", query)]).await;
        data.and_then(|data| data["result"].as_array().cloned()).unwrap_or_default()
    }

    /// The values of the series of a query.
    pub async fn values(&self, query: &str) -> Vec<f64> {
        let number = |one: &Value| one["value"][1].as_str()?.parse().ok();
        self.query(query).await.iter().filter_map(number).collect()
    }

    /// The alerts that fire.
    pub async fn firing(&self) -> Vec<Value> {
        let data = self.ask("alerts", &[]).await.unwrap_or_default();
        let all = data["alerts"].as_array().cloned().unwrap_or_default();
        all.into_iter().filter(|alert| alert["state"] == "firing").collect()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // The supervisor ends what is left in any case.
        let _ = plane().supervisor().signal(&self.process, Signal::Kill);
    }
}

/// Two ports on which nothing listens yet.
pub fn two_ports() -> [u16; 2] {
    [(); 2].map(|()| devkit::host::free_port().unwrap())
}

/// A replica on a port, whose Lease is in this namespace; returns its name.
pub fn replica(world: &World, port: u16, home: &str) -> String {
    let http = format!("--http-addr=127.0.0.1:{port}");
    world.spawn_operator(&[&http, &format!("--leader-elect-resource-namespace={home}")]).0
}

/// The name of a pod.
pub fn pod(index: usize) -> String {
    format!("operator-{index}")
}

/// A world whose operator is read by Prometheus.
pub struct Observed {
    pub world: World,
    pub prometheus: Prometheus,
}

impl Observed {
    /// An operator that is read.
    pub async fn start(rules: &Value, setup: Setup) -> Self {
        Self::of(World::with(setup).await, rules).await
    }

    /// An operator with everything that some metrics need: an election, and a key that expires.
    pub async fn whole(rules: &Value) -> Self {
        let world = World::with(Setup::new(Generation::V2).flag("--leader-elect", "").without_operator()).await;
        let key = write_key(&world, SignedDuration::from_hours(24));
        let home = format!("--leader-elect-resource-namespace={}", world.namespace);
        world.start_operator(&[&key, &home]).await;
        Self::of(world, rules).await
    }

    /// A world whose newest operator is read.
    pub async fn of(world: World, rules: &Value) -> Self {
        let prometheus = Prometheus::start(&world.namespace, rules, &[world.port()]).await;
        let read = || async { prometheus.values("up").await == [1.0] };
        world.until("Prometheus has read the operator", read).await;
        Self { world, prometheus }
    }
}

/// Writes a key that ends after this time, and returns the flag that names it.
pub fn write_key(world: &World, lasts: SignedDuration) -> String {
    let key = world.zitadel.machine_key_of(&world.zitadel.user_id(), Some(Timestamp::now() + lasts));
    let (file, fresh) = (world.dir.path().join("key.json"), world.dir.path().join("key.fresh"));
    std::fs::write(&fresh, key).unwrap();
    std::fs::rename(fresh, &file).unwrap();
    format!("--zitadel-key-file={}", file.display())
}

/// The chart's alerts, as a file of rules.
pub fn rules() -> Value {
    rules_with(&json!({}))
}

/// The alerts of a release with these values.
pub fn rules_with(values: &Value) -> Value {
    let rendered = helm::render(&helm::merged(values, &json!({"prometheusRule": {"enabled": true}}))).unwrap();
    let rule = rendered.iter().find(|object| object["kind"] == "PrometheusRule").expect("the chart has alerts");
    rule["spec"].clone()
}

/// The alerts among rules.
pub fn alerts(rules: &Value) -> Vec<Value> {
    let groups = rules["groups"].as_array().expect("rules come in groups");
    let all = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    all.filter(|rule| rule.get("alert").is_some()).collect()
}
