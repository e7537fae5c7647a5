//! The proxy that speaks TLS on our side: it shows the certificate that a test chooses, and passes bytes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// Who the proxy says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// 127.0.0.1, signed by the authority of [`TlsProxy::authority`].
    Right,
    /// The same, expired in 2020.
    Expired,
    /// The same, by an authority that nobody knows.
    Unknown,
    /// Somebody else, by the authority that is known.
    Misnamed,
}

/// A running proxy before one address. Dropping it closes every connection.
#[derive(Debug)]
pub struct TlsProxy {
    address: SocketAddr,
    dir: TempDir,
    identity: watch::Sender<Identity>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsProxy {
    /// A proxy before this address, with the right certificate at first.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        let (known, unknown) = (Authority::new()?, Authority::new()?);
        let dir = tempfile::tempdir()?;
        std::fs::write(dir.path().join("ca.pem"), &known.pem)?;
        let all = [Identity::Right, Identity::Expired, Identity::Unknown, Identity::Misnamed];
        let certify = |identity| {
            let authority = if identity == Identity::Unknown { &unknown } else { &known };
            Ok((identity, authority.certify(identity)?))
        };
        let configs = all.into_iter().map(certify).collect::<Result<Vec<_>>>()?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let identity = watch::Sender::new(Identity::Right);
        let (shown, (stop, stopped)) = (identity.subscribe(), oneshot::channel());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accept(listener, upstream, configs, shown, stopped).await,
                    Err(error) => eprintln!("a proxy cannot listen: {error}"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("tls-proxy".to_owned()).spawn(work)?;
        Ok(Self { address, dir, identity, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The PEM file of the authority that is to be trusted; gone with the proxy.
    #[must_use]
    pub fn authority(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    /// From now on this certificate is shown; open connections are closed.
    pub fn show(&self, identity: Identity) {
        self.identity.send_replace(identity);
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy's thread has been printed already.
            let _ = thread.join();
        }
    }
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn certify(&self, identity: Identity) -> Result<Arc<ServerConfig>> {
        let name = if identity == Identity::Misnamed { "elsewhere.example.com" } else { "127.0.0.1" };
        let mut params = CertificateParams::new([name.to_owned()])?;
        if identity == Identity::Expired {
            params.not_after = date_time_ymd(2020, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let private = rustls::pki_types::PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(Arc::new(builder.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], private)?))
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    configs: Vec<(Identity, Arc<ServerConfig>)>,
    mut shown: watch::Receiver<Identity>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Ok(()) = shown.changed() => connections.shutdown().await,
            Ok((client, _)) = listener.accept() => {
                let identity = *shown.borrow();
                let config = configs.iter().find(|(known, _)| *known == identity);
                if let Some((_, config)) = config {
                    connections.spawn(carry(client, upstream, TlsAcceptor::from(Arc::clone(config))));
                }
            }
            Some(()) = async { connections.join_next().await.map(drop) } => {}
        }
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, acceptor: TlsAcceptor) {
    // A client that does not believe the certificate ends here.
    let Ok(mut client) = acceptor.accept(client).await else { return };
    let Ok(mut server) = TcpStream::connect(upstream).await else { return };
    // Fails only on a dead connection.
    let _ = copy_bidirectional(&mut client, &mut server).await;
}
