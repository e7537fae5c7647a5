//! The proxy that understands HTTP: its thread, its connections, and the handle that tests hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use zitadel_stand_in::Op;

use super::call::{Call, KubeCall};
use super::kubeconfig;
use super::rule::{Book, Entry, Rule, RuleHandle};
use super::serve::{Upstream, serve};

/// A running proxy. Dropping it closes every connection.
#[derive(Debug)]
pub struct HttpProxy<C: Call> {
    address: SocketAddr,
    core: Arc<Core<C>>,
    commands: mpsc::UnboundedSender<Command>,
    thread: Option<JoinHandle<()>>,
    dir: Option<TempDir>,
}

/// What connections and handles share.
#[derive(Debug)]
pub(super) struct Core<C> {
    pub(super) book: Book<C>,
    pub(super) upstream: Upstream,
    pub(super) frozen: watch::Sender<bool>,
}

#[derive(Debug)]
enum Command {
    CutAll,
    Stop,
}

impl HttpProxy<KubeCall> {
    /// A proxy before the kube-apiserver of this kubeconfig (one of [`crate::control_plane::ControlPlane`]). Its
    /// clients need no credential: the proxy adds the administrator's.
    pub fn before_kubernetes(admin: &Path) -> Result<Self> {
        let access = kubeconfig::read(admin)?;
        crate::host::install_crypto();
        let authority = reqwest::Certificate::from_pem_bundle(&access.authority)?;
        let client = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only(authority).build()?;
        let mut bearer = HeaderValue::from_str(&format!("Bearer {}", access.token))?;
        bearer.set_sensitive(true);
        let upstream = Upstream { client, origin: access.server, headers: vec![(AUTHORIZATION, bearer)] };
        let mut proxy = Self::start(upstream)?;
        let dir = tempfile::tempdir()?;
        kubeconfig::write(&dir.path().join("kubeconfig"), &proxy.url())?;
        proxy.dir = Some(dir);
        Ok(proxy)
    }

    /// A kubeconfig that leads here; gone with the proxy.
    ///
    /// # Panics
    /// Never: [`HttpProxy::before_kubernetes`] made the directory.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.as_ref().expect("made at start").path().join("kubeconfig")
    }
}

impl HttpProxy<Op> {
    /// A proxy before a ZITADEL (or its stand-in) at this URL.
    pub fn before_zitadel(url: &str) -> Result<Self> {
        crate::host::install_crypto();
        // No certificate is needed for plain http, and reading the system's takes a while.
        let client = reqwest::Client::builder().http1_only().no_proxy().tls_certs_only([]);
        let client = client.redirect(reqwest::redirect::Policy::none()).build()?;
        Self::start(Upstream { client, origin: url.to_owned(), headers: vec![] })
    }
}

impl<C: Call> HttpProxy<C> {
    fn start(upstream: Upstream) -> Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("binding a proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let core = Arc::new(Core { book: Book::new(), upstream, frozen: watch::Sender::new(false) });
        let (commands, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&core);
        let work = move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accept(shared, listener, received).await,
                    Err(error) => eprintln!("a proxy cannot listen: {error}"),
                }
            });
            // Answers that a rule holds are no reason to wait.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("proxy".to_owned()).spawn(work)?;
        Ok(Self { address, core, commands, thread: Some(thread), dir: None })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets a rule.
    pub fn rule(&self, rule: Rule<C>) -> RuleHandle<C> {
        self.core.book.add(rule)
    }

    /// Ends every rule, discards what they hold, and thaws.
    pub fn clear(&self) {
        self.core.book.clear();
        self.thaw();
    }

    /// Half-open: connections are accepted and kept, and nothing moves on any of them, streams included.
    pub fn freeze(&self) {
        self.core.frozen.send_replace(true);
    }

    /// Undoes [`HttpProxy::freeze`].
    pub fn thaw(&self) {
        self.core.frozen.send_replace(false);
    }

    /// Closes every open connection; new ones are accepted.
    pub fn cut_connections(&self) {
        // Fails only once the thread has ended, and every connection with it.
        let _ = self.commands.send(Command::CutAll);
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn log(&self) -> Vec<Entry<C>> {
        self.core.book.log()
    }

    /// How many requests of this kind came so far.
    #[must_use]
    pub fn count(&self, call: C) -> usize {
        self.log().iter().filter(|entry| entry.call == call).count()
    }
}

impl<C: Call> Drop for HttpProxy<C> {
    fn drop(&mut self) {
        self.clear();
        let _ = self.commands.send(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy's thread has been printed already.
            let _ = thread.join();
        }
    }
}

async fn accept<C: Call>(core: Arc<Core<C>>, listener: TcpListener, mut commands: mpsc::UnboundedReceiver<Command>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None | Some(Command::Stop) => return,
                Some(Command::CutAll) => connections.shutdown().await,
            },
            Ok((stream, _)) = listener.accept() => {
                connections.spawn(connection(Arc::clone(&core), stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<C: Call>(core: Arc<Core<C>>, stream: TcpStream) {
    // Without it small answers wait for acknowledgements; it fails only on a dead connection.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |incoming| serve(Arc::clone(&core), incoming));
    // An error here is a rule at work or a client that left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
