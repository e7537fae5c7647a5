//! The election: its flags, under the names that Kubernetes' own components have (kube-controller-manager), and how the
//! work of the process hangs on it.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use kube::Client;
use tokio_util::sync::CancellationToken;

use crate::ops::Metrics;
use crate::ops::election::{Election, End, Leadership};
use crate::ops::lease::{Candidate, Timing};

/// How long a leader that is stopping finishes its passes before it gives the lease back all the same, and goes on
/// finishing: whoever leads next need not wait for a slow ZITADEL. Claims keep the two apart, not the lease.
const HAND_OVER: Duration = Duration::from_millis(300);

#[derive(Debug, Args)]
pub(super) struct ElectionArgs {
    /// Whether several replicas elect one that works, by a Lease; the others stand by with their caches filled
    #[arg(long = "leader-elect", env = "LEADER_ELECT")]
    enabled: bool,

    /// How long the others wait for a sign of life of the leader before one takes over, in seconds
    #[arg(long = "leader-elect-lease-duration", env = "LEADER_ELECT_LEASE_DURATION", value_name = "SECONDS", default_value = "15", value_parser = clap::value_parser!(u64).range(1..=3600))]
    lease_duration: u64,

    /// How long a leader works on without reaching the API server, in seconds; shorter than the lease duration
    #[arg(long = "leader-elect-renew-deadline", env = "LEADER_ELECT_RENEW_DEADLINE", value_name = "SECONDS", default_value = "10", value_parser = clap::value_parser!(u64).range(1..=3600))]
    renew_deadline: u64,

    /// How often the leader gives a sign of life, in seconds; shorter than the renew deadline
    #[arg(long = "leader-elect-retry-period", env = "LEADER_ELECT_RETRY_PERIOD", value_name = "SECONDS", default_value = "2", value_parser = clap::value_parser!(u64).range(1..=3600))]
    retry_period: u64,

    /// Name of the Lease; replicas that share their work by labels or namespaces need one for each share
    #[arg(
        long = "leader-elect-resource-name",
        env = "LEADER_ELECT_RESOURCE_NAME",
        value_name = "NAME",
        default_value = "zitadel-actions-operator"
    )]
    resource_name: String,

    /// Namespace of the Lease; that of the operator by default
    #[arg(long = "leader-elect-resource-namespace", env = "LEADER_ELECT_RESOURCE_NAMESPACE", value_name = "NAME", value_parser = super::namespace)]
    resource_namespace: Option<String>,
}

impl ElectionArgs {
    /// Whether the flags fit each other.
    pub(super) fn check(&self) -> Result<(), String> {
        self.timing().map(drop).map_err(|why| format!("error: {why} (see --help)"))
    }

    fn timing(&self) -> Result<Timing, String> {
        Timing::new(
            Duration::from_secs(self.lease_duration),
            Duration::from_secs(self.renew_deadline),
            Duration::from_secs(self.retry_period),
        )
    }

    /// The election, if there is one.
    pub(super) fn election(
        &self,
        kube: &Client,
        home: &str,
        metrics: &Arc<Metrics>,
    ) -> anyhow::Result<(Option<Election>, Leadership)> {
        if !self.enabled {
            return Ok((None, Leadership::alone()));
        }
        let timing = self.timing().map_err(anyhow::Error::msg)?;
        let namespace = self.resource_namespace.as_deref().unwrap_or(home);
        let candidate = Candidate::new(identity(), timing);
        let (election, leadership) =
            Election::new(kube.clone(), namespace, &self.resource_name, candidate, Arc::clone(metrics));
        Ok((Some(election), leadership))
    }
}

/// The pod's name, which no other pod has; elsewhere host and process.
fn identity() -> String {
    std::env::var("POD_NAME").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        format!("{}_{}", host.trim(), std::process::id())
    })
}

/// Works until `stop`, under an election if there is one.
///
/// # Errors
/// When the lease is lost: a process that does not lead any more ends, and stands by after its restart.
pub(super) async fn led(
    election: Option<Election>,
    work: impl Future<Output = ()>,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    let Some(election) = election else {
        work.await;
        return Ok(());
    };
    let give_back = CancellationToken::new();
    let (stopping, asked) = (stop.clone(), give_back.clone());
    let handing_over = tokio::spawn(async move {
        stopping.cancelled().await;
        tokio::time::sleep(HAND_OVER).await;
        asked.cancel();
    });
    let asked = give_back.clone();
    let keeping = tokio::spawn(async move {
        let end = election.run(asked).await;
        stop.cancel();
        end
    });
    work.await;
    give_back.cancel();
    handing_over.abort();
    anyhow::ensure!(keeping.await? == End::Stopped, "the lease is lost");
    Ok(())
}
