//! A real Prometheus beside an operator: it reads the operator every second, and holds the chart's alerts.

use std::time::Duration;

use devkit::supervisor::Ending;
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

/// A world whose operator is read by Prometheus.
pub struct Observed {
    pub world: World,
    api: String,
    _files: TempDir,
}

impl Observed {
    /// An operator with everything that some metrics need: an election, and a key that expires.
    pub async fn start(rules: &Value) -> Self {
        let world = World::with(Setup::new(Generation::V2).flag("--leader-elect", "").without_operator()).await;
        let end = Timestamp::now() + SignedDuration::from_hours(24);
        let key = world.dir.path().join("key.json");
        std::fs::write(&key, world.zitadel.machine_key_of(&world.zitadel.user_id(), Some(end))).unwrap();
        let flags = [
            format!("--zitadel-key-file={}", key.display()),
            format!("--leader-elect-resource-namespace={}", world.namespace),
        ];
        world.start_operator(&[&flags[0], &flags[1]]).await;
        let files = tempfile::tempdir().unwrap();
        let port = devkit::host::free_port().unwrap();
        let (rules, operator) = (rules.clone(), world.port());
        let name = format!("prometheus-{}", world.namespace);
        let folder = files.path().to_owned();
        tokio::task::spawn_blocking(move || {
            let settings = json!({
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": ["rules.yaml"],
                "scrape_configs": [{"job_name": JOB, "honor_labels": true, "static_configs": [
                    {"targets": [format!("127.0.0.1:{operator}")], "labels": {"namespace": helm::NAMESPACE, "pod": "operator-0"}},
                ]}],
            });
            // JSON is YAML.
            std::fs::write(folder.join("prometheus.yaml"), settings.to_string()).unwrap();
            std::fs::write(folder.join("rules.yaml"), rules.to_string()).unwrap();
            let mut command = devkit::tools::prometheus::ensure().unwrap().server();
            command
                .arg(format!("--config.file={}", folder.join("prometheus.yaml").display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"));
            plane().supervisor().start(&name, &command, Ending::Abrupt).expect("Prometheus starts");
        })
        .await
        .unwrap();
        let observed = Self { world, api: format!("http://127.0.0.1:{port}/api/v1"), _files: files };
        let read = || async { observed.values("up").await.is_some_and(|all| all == [1.0]) };
        observed.world.until("Prometheus has read the operator", read).await;
        observed
    }

    /// What an endpoint of the API says, if it says anything.
    pub async fn ask(&self, path: &str, parameters: &[(&str, &str)]) -> Option<Value> {
        let url = Url::parse_with_params(&format!("{}/{path}", self.api), parameters).unwrap();
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build().unwrap();
        let text = client.get(url).send().await.ok()?.text().await.ok()?;
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
    async fn values(&self, query: &str) -> Option<Vec<f64>> {
        self.query(query).await.iter().map(|one| one["value"][1].as_str()?.parse().ok()).collect()
    }

    /// The names of the alerts that fire.
    pub async fn firing(&self) -> Vec<String> {
        let data = self.ask("alerts", &[]).await.unwrap_or_default();
        let all = data["alerts"].as_array().cloned().unwrap_or_default();
        let firing = all.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Observed {
    fn drop(&mut self) {
        // The supervisor ends what is left in any case.
        let _ = plane()
            .supervisor()
            .signal(&format!("prometheus-{}", self.world.namespace), devkit::supervisor::Signal::Kill);
    }
}

/// The chart's alerts, as a file of rules.
pub fn rules() -> Value {
    let rendered = helm::render(&json!({"prometheusRule": {"enabled": true}})).unwrap();
    let rule = rendered.iter().find(|object| object["kind"] == "PrometheusRule").expect("the chart has alerts");
    rule["spec"].clone()
}

/// The alerts among rules.
pub fn alerts(rules: &Value) -> Vec<Value> {
    let groups = rules["groups"].as_array().expect("rules come in groups");
    let all = groups.iter().flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default());
    all.filter(|rule| rule.get("alert").is_some()).collect()
}
