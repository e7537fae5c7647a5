//! Arguments, and the wiring of the process.
//!
//! Every flag is also an environment variable. A wrong one is told in one line and ends the process with code 2;
//! anything that may change while the process runs (files, reachability) is never fatal.

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::{ArgAction, Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

mod check;
mod completions;
mod election;
mod export;
mod policy;
mod scope;
mod traces;
mod zitadel;

use crate::api::crd;
use crate::controller::connections::connection::LiveConnection;
use crate::controller::connections::health::ConnectionHealth;
use crate::controller::connections::registry::ConnectionRegistry;
use crate::controller::connections::resource::{ClientFactory, ClusterConnections, PlainHttp};
use crate::controller::runtime::kube_client;
use crate::controller::runtime::scope::{Reach, Scope};
use crate::controller::target::context::Context;
use crate::controller::{self, CONCURRENCY, PASS_DEADLINE, instrument};
use crate::ops::http::{Health, serve};
use crate::ops::metrics::PerTarget;
use crate::ops::telemetry::{self, Level, LogFormat};
use crate::ops::traces::Traces;
use crate::ops::{Metrics, admin, shutdown};
use crate::zitadel::Client;
use crate::zitadel::transport::Settings;
use check::Check;
use completions::Completions;
use election::ElectionArgs;
use export::Export;
use policy::PolicyArgs;
use scope::ScopeArgs;
use traces::TraceArgs;
use zitadel::ZitadelArgs;

/// Kubernetes operator for ZITADEL Actions: a Target in the cluster becomes a target in ZITADEL.
#[derive(Debug, Parser)]
#[command(name = "zitadel-actions-operator", version, about)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What the URL means to `run`; to `export` it is just where to read.
const DEFAULT_CONNECTION: &str = "Where ZITADEL answers, for Targets that name no connection: scheme, host and port only, such as \
                                  https://auth.example.com. Without it every Target has to name one";

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the operator (the default)
    #[command(mut_arg("zitadel_url", |url| url.help(DEFAULT_CONNECTION)))]
    Run(Box<Run>),
    /// Print the CustomResourceDefinitions
    Crds(Crds),
    /// Check manifests without a cluster
    ///
    /// Says what the API server and the operator would have against Targets, Connections and ClusterConnections: file,
    /// line, field, and what to write instead. Other kinds are skipped. Needs no cluster and no ZITADEL. Exit code 0
    /// without findings, 1 with findings, 2 when the arguments are wrong or a file cannot be read.
    Check(Check),
    /// Print the targets that a ZITADEL instance has, as manifests that take them over
    ///
    /// One Target per target, with externalId: applied to a cluster, each is adopted and nothing changes in ZITADEL. The
    /// output has no secrets, and two exports of the same targets are equal. What cannot be a Target is left out and
    /// named on standard error. Reads only; say which instance as for `run`.
    Export(Box<Export>),
    /// Print a script that completes commands and flags in a shell
    ///
    /// For example: source <(zitadel-actions-operator completions bash)
    Completions(Completions),
}

#[derive(Debug, Args)]
struct Crds {
    /// Write one file per definition into this folder instead of printing
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Run {
    #[command(flatten)]
    zitadel: ZitadelArgs,

    #[command(flatten)]
    policy: PolicyArgs,

    /// How often every Target is compared with ZITADEL, in seconds
    #[arg(long, env = "RESYNC_INTERVAL", value_name = "SECONDS", default_value = "60", value_parser = clap::value_parser!(u64).range(1..=86400))]
    resync_interval: u64,

    /// How long ZITADEL may take to show a target that it has acknowledged, in seconds; then it is reported and replaced
    #[arg(long, env = "GHOST_GRACE", value_name = "SECONDS", default_value = "120", value_parser = clap::value_parser!(u64).range(1..=86400))]
    ghost_grace: u64,

    /// Namespace of the operator: where the Secrets of ClusterConnections are; that of its service account by default
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAME", value_parser = namespace)]
    operator_namespace: Option<String>,

    /// Whether ClusterConnections are served; by default while all namespaces are watched. One operator of a cluster may
    #[arg(long, env = "CLUSTER_CONNECTIONS", value_name = "BOOL")]
    cluster_connections: Option<bool>,

    #[command(flatten)]
    scope: ScopeArgs,

    #[command(flatten)]
    election: ElectionArgs,

    /// Address for /startupz, /livez, /readyz and /metrics
    #[arg(long, env = "HTTP_ADDR", value_name = "ADDRESS", default_value = "0.0.0.0:8080")]
    http_addr: SocketAddr,

    /// Loopback address for /log-level, which shows and changes what is logged (GET and PUT); none by default
    #[arg(long, env = "ADMIN_ADDR", value_name = "ADDRESS", value_parser = loopback)]
    admin_addr: Option<SocketAddr>,

    /// Whether each Target has series of its own in the metrics; the totals are always there
    #[arg(long, env = "METRICS_PER_TARGET", value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    metrics_per_target: bool,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", default_value_t = LogFormat::Json)]
    log_format: LogFormat,

    /// What is logged: a level, or a filter such as `info,zitadel_actions_operator=debug`
    #[arg(long, env = "LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    log_level: String,

    #[command(flatten)]
    traces: TraceArgs,
}

/// Parses the process's arguments and does what they say.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse_from(with_default_command(std::env::args().collect())) {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => {
            // Help and version are no errors; a closed pipe is none of ours.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Err(error) => return usage(&one_line(&error.to_string())),
    };
    match cli.command {
        Command::Crds(crds) => report(print_crds(&crds)),
        Command::Check(check) => check.run(),
        Command::Export(export) => match export.settings() {
            Ok(settings) => report(export.run(settings)),
            Err(why) => usage(&why),
        },
        Command::Completions(completions) => report(completions.print()),
        Command::Run(run) => match run.settings() {
            Ok(settings) => report(start(&run, settings)),
            Err(why) => usage(&why),
        },
    }
}

/// `run` is what the image does without arguments.
fn with_default_command(mut arguments: Vec<String>) -> Vec<String> {
    let first = arguments.get(1).map(String::as_str);
    let global = matches!(first, Some("-h" | "--help" | "-V" | "--version"));
    if !global && first.is_none_or(|first| first.starts_with('-')) {
        arguments.insert(1, "run".to_owned());
    }
    arguments
}

fn usage(why: &str) -> ExitCode {
    // Standard error may be closed; the exit code says it all the same.
    let _ = writeln!(std::io::stderr(), "{why}");
    ExitCode::from(2)
}

fn report(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// clap's message without its usage block: one line.
fn one_line(message: &str) -> String {
    let told = message.lines().take_while(|line| !line.trim().is_empty()).map(str::trim);
    format!("{} (see --help)", told.collect::<Vec<_>>().join(" "))
}

/// One item of the list of namespaces; an empty one (an empty variable, a trailing comma) names none.
fn namespace(text: &str) -> Result<String, String> {
    let name = text.trim();
    let label = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if name.len() <= 63 && name.bytes().all(label) && !name.starts_with('-') && !name.ends_with('-') {
        Ok(name.to_owned())
    } else {
        Err("write names of namespaces, separated by commas".to_owned())
    }
}

/// An address that only the machine, or the pod, itself can reach.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an address with a port, such as 127.0.0.1:8081".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err("only a loopback address, such as 127.0.0.1:8081".to_owned())
    }
}

impl Run {
    /// Of the default connection, if there is one.
    fn settings(&self) -> Result<Option<Settings>, String> {
        tracing_subscriber::EnvFilter::try_new(&self.log_level)
            .map_err(|error| format!("error: --log-level is no filter: {error} (see --help)"))?;
        self.election.check()?;
        self.traces.settings()?;
        self.zitadel.settings()
    }

    /// The default connection.
    fn default_link(&self, settings: Settings, metrics: &Arc<Metrics>) -> LiveConnection {
        let counted = Arc::clone(metrics);
        let observer =
            Box::new(move |op: crate::zitadel::client::Op, time, code: &str| counted.call(op.as_str(), time, code));
        let client = Arc::new(Client::new(self.zitadel.api(), settings, observer));
        let connector = ConnectionHealth::new(client, Duration::from_secs(self.ghost_grace));
        LiveConnection::default(Arc::new(connector), self.zitadel.files())
    }

    /// The operator's own namespace.
    fn home(&self, kube: &kube::Client) -> String {
        self.operator_namespace.clone().unwrap_or_else(|| kube.default_namespace().to_owned())
    }

    /// What all connections have in common.
    fn common(&self, kube: &kube::Client, metrics: &Arc<Metrics>) -> ClientFactory {
        ClientFactory {
            kube: kube.clone(),
            home: self.home(kube),
            timeout: self.zitadel.timeout(),
            grace: Duration::from_secs(self.ghost_grace),
            cluster: if self.cluster_connections.unwrap_or(self.scope.namespaces().is_empty()) {
                ClusterConnections::Served
            } else {
                ClusterConnections::Ignored
            },
            http: if self.zitadel.allows_http() { PlainHttp::Allowed } else { PlainHttp::Refused },
            proxy: self.zitadel.proxy(),
            metrics: Arc::clone(metrics),
        }
    }
}

fn print_crds(crds: &Crds) -> anyhow::Result<()> {
    let Some(folder) = &crds.write else {
        std::io::stdout().write_all(crd::yaml()?.as_bytes())?;
        return Ok(());
    };
    for (name, definition) in crd::files()? {
        let path = folder.join(name);
        std::fs::write(&path, definition).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn start(run: &Run, settings: Option<Settings>) -> anyhow::Result<()> {
    let traces = run.traces.settings().map_err(anyhow::Error::msg)?.map(|settings| Traces::new(&settings));
    let (traces, why) = traces.transpose().map_or_else(|why| (None, Some(why)), |traces| (traces, None));
    let level = telemetry::install(run.log_format, &run.log_level, traces.as_ref())?;
    if let Some(why) = why {
        tracing::warn!(error = format!("{why:#}"), "there are no traces");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(operate(run, settings, level));
    // Whatever still runs ends here, and with it its spans.
    drop(runtime);
    if let Some(traces) = traces {
        traces.end();
    }
    outcome
}

async fn operate(run: &Run, settings: Option<Settings>, level: Level) -> anyhow::Result<()> {
    let stop = shutdown::on_signal()?;
    let metrics = Arc::new(Metrics::new(CONCURRENCY));
    let health = Arc::new(Health::new(Arc::clone(&metrics), PASS_DEADLINE * 2));
    let listener =
        TcpListener::bind(run.http_addr).await.with_context(|| format!("cannot listen on {}", run.http_addr))?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        zitadel = run.zitadel.url().map_or("no default connection", Url::as_str),
        api = %run.zitadel.api(),
        http = %listener.local_addr()?,
        "starting"
    );
    let default = settings.map(|settings| run.default_link(settings, &metrics));
    let kube = kube_client::client(&metrics).await.context("cannot set up the Kubernetes client")?;
    let links = ConnectionRegistry::new(default, run.policy.policy(&run.home(&kube)), run.common(&kube, &metrics));
    let (election, leadership) = run.election.election(&kube, &run.home(&kube), &metrics)?;
    let reach = if run.scope.namespaces().is_empty() { Reach::Cluster } else { Reach::Namespaces };
    let duty = Scope { leadership, labels: run.scope.labels(), reach };
    let context = Arc::new(Context::new(kube, links, metrics, Duration::from_secs(run.resync_interval), duty));
    instrument::show(&context, if run.metrics_per_target { PerTarget::Shown } else { PerTarget::LeftOut });

    // The probes answer until the last create is committed: a stopping pod is not a dead one.
    let finished = CancellationToken::new();
    let end = finished.clone();
    let server = tokio::spawn(serve(listener, Arc::clone(&health), async move { end.cancelled().await }));
    let ticking = tokio::spawn(Arc::clone(&health).beat(finished.clone()));
    let admin = tokio::spawn(administer(run.admin_addr, level));
    let namespaces = run.scope.namespaces();
    let watches = namespaces.len().max(1);
    let ready = tokio::spawn(tell_ready(Arc::clone(&context), health, watches));
    let work = controller::run(context, &namespaces, stop.clone());
    let outcome = tokio::select! {
        outcome = election::led(election, work, stop) => outcome,
        // Without its probes the process is of no use; ending it makes that visible.
        ended = server => Err(anyhow::anyhow!("the HTTP server ended: {ended:?}")),
    };
    ready.abort();
    admin.abort();
    finished.cancel();
    ticking.await?;
    tracing::info!("stopped");
    outcome
}

/// The admin listener is a convenience: without it the process works on.
async fn administer(address: Option<SocketAddr>, level: Level) {
    let Some(address) = address else { return };
    if let Err(error) = admin::serve(address, level).await {
        tracing::warn!(%address, %error, "the log level cannot be changed");
    }
}

async fn tell_ready(context: Arc<Context>, health: Arc<Health>, watches: usize) {
    let filled = async {
        context.caches_filled(watches).await;
        health.synced();
        tracing::info!("ready: the cache of Targets is filled");
    };
    tokio::join!(context.crd_access_learned(), filled);
}

#[cfg(test)]
mod tests;
