//! A real etcd and kube-apiserver, and a kube-controller-manager beside them (it finishes the deletion of namespaces
//! and creates their ServiceAccounts), on loopback and without any container engine. The programs come from
//! [`Binaries`]; a [`Supervisor`] ends them and removes their directory however this process ends, so one control
//! plane can sit in a static and serve every test of a binary. RBAC is on; the kubeconfig's user is in
//! `system:masters`, its token is random, and the server's certificate is verified.

mod binaries;

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use std::{fs, thread};

use anyhow::{Context as _, Result, bail};

pub use self::binaries::{Binaries, Source};
pub(crate) use self::binaries::{kubernetes_version, linker_flags, module_dir};
use crate::go::SHORT_LIVED;
use crate::host::{free_port, install_crypto, random_hex, wait_for, write_private};
use crate::supervisor::{Ending, Supervisor};

/// The name under which [`ControlPlane::supervisor`] runs etcd.
pub const ETCD: &str = "etcd";
/// The name under which [`ControlPlane::supervisor`] runs kube-apiserver.
pub const APISERVER: &str = "kube-apiserver";
/// The name under which [`ControlPlane::supervisor`] runs kube-controller-manager.
pub const CONTROLLER_MANAGER: &str = "kube-controller-manager";

/// Relative, because the path of a socket is limited to about 100 bytes and temporary directories can be deep.
const ETCD_CLIENTS: &str = "unix://clients.sock:1";
const ETCD_PEERS: &str = "unix://peers.sock:1";
/// kube-apiserver writes its certificate and key here and finds them again after a restart. The certificate file holds
/// the one-off authority that signed it too; the key also signs ServiceAccount tokens.
const CERTIFICATE: &str = "certificates/apiserver.crt";
const KEY: &str = "certificates/apiserver.key";
/// The one token, in the form that kube-apiserver reads.
const TOKENS: &str = "tokens.csv";
/// Below the private directory.
const ETCD_DATA: &str = "etcd-data";
/// kube-apiserver ends as by a crash: asked politely, it waits up to a minute for open watches.
const ENDING: Ending = Ending::Abrupt;
/// Go collects garbage less often up to a gibibyte for each program: a fifth of kube-apiserver's processor time otherwise.
const GARBAGE: [(&str, &str); 2] = [("GOGC", "400"), ("GOMEMLIMIT", "1GiB")];
const READY_TIMEOUT: Duration = Duration::from_secs(90);
/// For one question whether it is ready.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
const PORT_ATTEMPTS: usize = 5;

/// What a control plane consists of.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Whether kube-controller-manager runs.
    pub controller_manager: ControllerManager,
    /// Whether pods run.
    pub pods: Pods,
    /// Flags for kube-apiserver after our own, e.g. a short `--min-request-timeout=1`.
    pub apiserver_args: Vec<String>,
}

/// Whether kube-controller-manager runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ControllerManager {
    /// It runs if there is a binary of it; `KUBEBUILDER_ASSETS` usually holds none.
    #[default]
    IfPresent,
    /// It does not run: namespaces never finish deleting.
    Off,
}

/// Whether pods run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// There is no node. Pods may be created all the same and need no ServiceAccount.
    #[default]
    Never,
    /// On a node with this address, which becomes that of the API server too: see [`crate::node`].
    OnNode(Ipv4Addr),
}

/// A running control plane; dropping it ends it.
#[derive(Debug)]
pub struct ControlPlane {
    binaries: Binaries,
    options: Options,
    supervisor: Supervisor,
    kubeconfig: PathBuf,
    port: u16,
}

impl ControlPlane {
    /// Starts a control plane and returns when its `/readyz` says ok (about 3 s). Blocking. The very first call on a
    /// machine may build the binaries for several minutes, see [`Binaries::ensure`].
    pub fn start(options: Options) -> Result<Self> {
        let binaries = Binaries::ensure()?;
        let supervisor = Supervisor::new()?;
        let token = random_hex()?;
        write_private(&supervisor.dir().join(TOKENS), &format!("{token},admin,admin,system:masters\n"))?;
        let kubeconfig = supervisor.dir().join("kubeconfig");
        let mut plane = Self { binaries, options, supervisor, kubeconfig, port: 0 };
        plane.start_etcd()?;
        plane.start_apiserver_on_free_port()?;
        write_private(&plane.kubeconfig, &plane.kubeconfig_text(&token))?;
        plane.wait_until_ready()?;
        plane.start_controller_manager()?;
        Ok(plane)
    }

    /// The kubeconfig of the cluster's administrator (mode 0600).
    #[must_use]
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// The kubectl binary.
    #[must_use]
    pub fn kubectl(&self) -> &Path {
        &self.binaries.kubectl
    }

    /// kubectl, told which cluster to use and to write nothing into the home directory.
    #[must_use]
    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new(self.kubectl());
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.env_remove("KUBECONFIG").env("KUBERC", "off").env("KUBECACHEDIR", self.dir().join("kubectl-cache"));
        command.envs(SHORT_LIVED);
        command
    }

    /// The private directory of logs, certificates and data; gone when the control plane has ended.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.supervisor.dir()
    }

    /// Where kube-apiserver answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}:{}", self.address(), self.port)
    }

    /// The supervisor that runs the control plane. Further programs started with it (an operator under test) end
    /// before the control plane does.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.supervisor
    }

    /// The end of each program's log, for the message of a failure.
    #[must_use]
    pub fn logs_tail(&self) -> String {
        [ETCD, APISERVER, CONTROLLER_MANAGER]
            .map(|name| format!("--- {name}\n{}\n", self.supervisor.log_tail(name, 10)))
            .concat()
    }

    /// Ends kube-apiserver abruptly, and with it kube-controller-manager, which may give up without it. etcd stays.
    pub fn stop_apiserver(&self) -> Result<()> {
        self.supervisor.stop(CONTROLLER_MANAGER)?;
        self.supervisor.stop(APISERVER)
    }

    /// Undoes [`ControlPlane::stop_apiserver`], with the same port, certificate and data; returns when it is ready.
    pub fn start_apiserver(&self) -> Result<()> {
        self.supervisor.start(APISERVER, &self.apiserver_command(), ENDING)?;
        self.wait_until_ready()?;
        self.start_controller_manager()
    }

    /// [`ControlPlane::stop_apiserver`], then [`ControlPlane::start_apiserver`].
    pub fn restart_apiserver(&self) -> Result<()> {
        self.stop_apiserver()?;
        self.start_apiserver()
    }

    /// Ends etcd and what needs it, hands its data folder to `work`, for a copy out of it or into it, and starts all of it
    /// again: a backup of a cluster, and its restore.
    pub fn with_etcd_stopped(&self, work: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        self.stop_apiserver()?;
        self.supervisor.stop(ETCD)?;
        work(&self.dir().join(ETCD_DATA))?;
        self.start_etcd()?;
        self.start_apiserver()
    }

    /// Ends the control plane, waits until nothing of it is left, and says so if that failed. `Drop` does the same
    /// without the report.
    pub fn stop(self) -> Result<()> {
        self.supervisor.shut_down()
    }

    fn start_etcd(&self) -> Result<()> {
        let mut etcd = self.command(&self.binaries.etcd);
        etcd.args(["--name=devkit", "--unsafe-no-fsync", "--log-level=warn"])
            .arg(format!("--data-dir={ETCD_DATA}"))
            .arg(format!("--listen-client-urls={ETCD_CLIENTS}"))
            .arg(format!("--advertise-client-urls={ETCD_CLIENTS}"))
            .arg(format!("--listen-peer-urls={ETCD_PEERS}"))
            .arg(format!("--initial-advertise-peer-urls={ETCD_PEERS}"))
            .arg(format!("--initial-cluster=devkit={ETCD_PEERS}"));
        self.supervisor.start(ETCD, &etcd, ENDING)
    }

    fn start_apiserver_on_free_port(&mut self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.port = free_port()?;
            self.supervisor.start(APISERVER, &self.apiserver_command(), ENDING)?;
            if self.wait_until_listening()? == Listening::Yes {
                return Ok(());
            }
        }
        bail!("kube-apiserver found no free port in {PORT_ATTEMPTS} attempts\n{}", self.logs_tail())
    }

    fn apiserver_command(&self) -> Command {
        let mut apiserver = self.command(&self.binaries.kube_apiserver);
        apiserver
            .args([format!("--bind-address={}", self.address()), format!("--advertise-address={}", self.address())])
            .args(["--cert-dir=certificates", &format!("--token-auth-file={TOKENS}")])
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--etcd-servers={ETCD_CLIENTS}"))
            .args(["--authorization-mode=RBAC", "--anonymous-auth=false", "--service-cluster-ip-range=10.0.0.0/24"])
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .arg(format!("--service-account-key-file={KEY}"))
            .arg(format!("--service-account-signing-key-file={KEY}"))
            .args(match self.options.pods {
                // Nobody looks for the API server at its cluster address, and Pods need not wait for a ServiceAccount.
                Pods::Never => ["--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount"],
                Pods::OnNode(_) => ["--endpoint-reconciler-type=lease", "--kubelet-preferred-address-types=InternalIP"],
            })
            .args(&self.options.apiserver_args);
        apiserver
    }

    fn start_controller_manager(&self) -> Result<()> {
        let (ControllerManager::IfPresent, Some(binary)) =
            (self.options.controller_manager, &self.binaries.kube_controller_manager)
        else {
            return Ok(());
        };
        let mut manager = self.command(binary);
        manager
            .args(["--kubeconfig=kubeconfig", "--leader-elect=false", "--secure-port=0"])
            .args(["--use-service-account-credentials=true", "--controllers=*"])
            .arg(format!("--service-account-private-key-file={KEY}"))
            .arg(format!("--root-ca-file={CERTIFICATE}"));
        self.supervisor.start(CONTROLLER_MANAGER, &manager, ENDING)
    }

    fn address(&self) -> Ipv4Addr {
        match self.options.pods {
            Pods::Never => Ipv4Addr::LOCALHOST,
            Pods::OnNode(address) => address,
        }
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.dir()).envs(GARBAGE);
        command
    }

    fn wait_until_listening(&self) -> Result<Listening> {
        let address = SocketAddr::from((self.address(), self.port));
        wait_for("kube-apiserver to listen", READY_TIMEOUT, || {
            if self.supervisor.exit_code(APISERVER).is_some()
                && self.supervisor.log_tail(APISERVER, 50).contains("address already in use")
            {
                return Ok(Some(Listening::PortTaken));
            }
            self.check_running()?;
            let listening = self.dir().join(KEY).exists() && TcpStream::connect(address).is_ok();
            Ok(listening.then_some(Listening::Yes))
        })
    }

    fn wait_until_ready(&self) -> Result<()> {
        self.wait_until_listening()?;
        // A thread: the caller may be a task of a runtime, in which no other one can be entered.
        thread::scope(|scope| scope.spawn(|| self.ask_until_ready()).join().expect("it does not panic"))
    }

    /// Without kubectl: a process for every question took a second of processor time, while it is wanted most.
    fn ask_until_ready(&self) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        install_crypto();
        let authority = fs::read(self.dir().join(CERTIFICATE)).context("reading the API server's certificate")?;
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(ASK_TIMEOUT)
            .tls_certs_only([reqwest::Certificate::from_pem(&authority)?])
            .build()?;
        let tokens = fs::read_to_string(self.dir().join(TOKENS)).context("reading the token")?;
        let (token, _) = tokens.split_once(',').context("the file of tokens has one")?;
        wait_for("kube-apiserver to be ready", READY_TIMEOUT, || {
            self.check_running()?;
            // Until it listens for TLS, connections are closed.
            let ask = async { client.get(format!("{}/readyz", self.url())).bearer_auth(token).send().await };
            let ready = runtime.block_on(ask);
            Ok(ready.is_ok_and(|answer| answer.status().is_success()).then_some(()))
        })
    }

    fn check_running(&self) -> Result<()> {
        self.supervisor.check_alive()?;
        for name in [ETCD, APISERVER] {
            if let Some(code) = self.supervisor.exit_code(name) {
                bail!("{name} ended with exit code {code}\n{}", self.logs_tail());
            }
        }
        Ok(())
    }

    /// JSON, which every reader of YAML takes.
    fn kubeconfig_text(&self, token: &str) -> String {
        let cluster = serde_json::json!({"server": self.url(), "certificate-authority": self.dir().join(CERTIFICATE)});
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "devkit", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "devkit", "context": {"cluster": "devkit", "user": "admin"}}],
            "current-context": "devkit",
        });
        format!("{kubeconfig:#}\n")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listening {
    Yes,
    PortTaken,
}
