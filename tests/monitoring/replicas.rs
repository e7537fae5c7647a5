//! Two replicas that one Prometheus reads: nothing is counted twice, and the alerts about leadership tell a hand-over from a loss.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use zitadel_stand_in::{Generation, TargetEdit};

use crate::live::{end, fire, hurried};
use crate::prometheus::{Prometheus, pod, replica, two_ports};
use crate::reading::{metrics, panels};
use crate::world::{Setup, World, webhook};

/// The alert that is fired here.
pub const NO_LEADER: &str = "ZitadelActionsNoLeader";
/// Beginnings of the gauges that both replicas read from their caches and so show alike.
const ALIKE: [&str; 3] = ["zitadel_targets", "zitadel_target_oldest_", "zitadel_target_status_condition"];
/// For how long a cause must last here: a hand-over is seen for two readings, of which there is one a second.
const PATIENCE: &str = "3s";

struct Pair {
    world: World,
    prometheus: Prometheus,
    ports: [u16; 2],
}

impl Pair {
    /// Two replicas, of which the first leads.
    async fn start() -> Self {
        let setup = Setup::new(Generation::V2)
            .flag("--leader-elect", "")
            .flag("--leader-elect-lease-duration", "8")
            .flag("--leader-elect-renew-deadline", "5")
            .flag("--leader-elect-retry-period", "1");
        let world = World::with(setup.without_operator()).await;
        let ports = two_ports();
        let prometheus = Prometheus::start(&world.namespace, &hurried(PATIENCE), &ports).await;
        Self { world, prometheus, ports }
    }

    fn replica(&self, index: usize) -> String {
        replica(&self.world, self.ports[index], &self.world.namespace)
    }

    /// Waits until Prometheus has read this of a replica's standing: 1 leads, 0 stands by.
    async fn stands(&self, index: usize, standing: f64) {
        let query = format!(r#"leader_election_master_status{{pod="{}"}}"#, pod(index));
        let told = || async { self.prometheus.values(&query).await == [standing] };
        self.world.until(&format!("{} stands at {standing}", pod(index)), told).await;
    }

    /// The series of a query at a moment, without an order.
    async fn at(&self, query: &str, moment: &str) -> BTreeSet<String> {
        let data = self.prometheus.ask("query", &[("query", query), ("time", moment)]).await.unwrap();
        data["result"].as_array().unwrap().iter().map(|one| format!("{} {}", one["metric"], one["value"][1])).collect()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_replicas_count_once_and_a_hand_over_is_no_loss() {
    let pair = Pair::start().await;
    let world = &pair.world;
    let leader = pair.replica(0);
    pair.stands(0, 1.0).await;
    let other = pair.replica(1);
    pair.stands(1, 0.0).await;
    world.zitadel.external_create("taken", TargetEdit::default());
    for name in ["taken", "one", "two"] {
        world.create(name, webhook()).await;
    }
    nothing_is_counted_twice(&pair).await;

    // Told to stop, the leader hands over.
    assert_eq!(world.terminate(&leader).await, 0);
    pair.stands(1, 1.0).await;
    let again = pair.replica(0);
    pair.stands(0, 0.0).await;
    let told = r#"ALERTS{alertname=~"ZitadelActionsNoLeader|ZitadelActionsSeveralLeaders",alertstate="firing"}[5m]"#;
    assert_eq!(pair.prometheus.query(told).await, Vec::<Value>::new(), "a hand-over fires nothing");

    // Killed, it leaves a Lease that has to run out.
    world.kill(&other).await;
    let shown = fire(world, &pair.prometheus, &[NO_LEADER]).await;
    pair.stands(0, 1.0).await;
    end(world, &pair.prometheus, &shown).await;
    world.kill(&again).await;
    pair.world.finish().await;
}

fn is_alike(metric: &str) -> bool {
    !metric.ends_with("_total") && ALIKE.iter().any(|beginning| metric.starts_with(beginning))
}

/// Alerts and panels show of two replicas what they show of each.
async fn nothing_is_counted_twice(pair: &Pair) {
    let summary = || async {
        let firing = pair.prometheus.firing().await;
        let stalled =
            firing.into_iter().find(|alert| alert["labels"]["alertname"] == "ZitadelActionsTargetsStalled")?;
        Some(stalled["annotations"]["summary"].clone())
    };
    let summary = pair.world.until_some("the alert of stalled Targets fires", summary).await;
    assert_eq!(summary, json!("1 Targets are stalled: a person has to mend something."));
    let ready = || async {
        let all = pair.prometheus.values(r#"zitadel_targets{ready="True"}"#).await;
        all == [2.0, 2.0]
    };
    pair.world.until("both replicas see two ready Targets", ready).await;
    let moment = pair.prometheus.values("vector(time())").await[0].to_string();
    let mut compared = 0;
    for (title, queries) in panels() {
        for query in queries {
            if !metrics(&query).iter().all(|name| is_alike(name)) {
                continue;
            }
            let both = pair.at(&query, &moment).await;
            for index in 0..2 {
                let one = query.replace("{job=", &format!(r#"{{pod="{}",job="#, pod(index)));
                assert_ne!(one, query, "{title:?} selects by job");
                assert_eq!(pair.at(&one, &moment).await, both, "{title:?} with and without the other replica: {query}");
            }
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared} queries were compared");
    // What a replica has done by itself is summed.
    let counted = pair.prometheus.values("sum(zitadel_target_apply_to_ready_seconds_count)").await;
    assert_eq!(counted, [2.0], "each Target becomes ready once");
    println!("{compared} queries of the dashboard show of two replicas what they show of one");
}
