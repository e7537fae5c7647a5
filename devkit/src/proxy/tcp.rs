//! The proxy that knows bytes only: for what happens below HTTP.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

/// What happens to connections; those that are open follow a change at their next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpMode {
    /// Bytes pass.
    Pass,
    /// After so many bytes of answers on a connection it is reset (RST, not FIN).
    ResetAfter(usize),
    /// Connections are accepted and nothing on them moves.
    HalfOpen,
    /// Answers pass one byte at a time, with this pause before each.
    Trickle(Duration),
}

/// A running proxy before one address. Dropping it closes every connection.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    mode: Arc<watch::Sender<TcpMode>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TcpProxy {
    /// A proxy before this address, passing everything at first.
    pub fn start(upstream: SocketAddr) -> Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), upstream)
    }

    /// As [`TcpProxy::start`], listening on this address of the loopback network.
    pub fn start_at(listen: SocketAddr, upstream: SocketAddr) -> Result<Self> {
        let listener = std::net::TcpListener::bind(listen).context("binding a proxy")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let mode = Arc::new(watch::Sender::new(TcpMode::Pass));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Arc::clone(&mode);
        let work = move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => accept(listener, upstream, shared, stopped).await,
                    Err(error) => eprintln!("a proxy cannot listen: {error}"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("tcp-proxy".to_owned()).spawn(work)?;
        Ok(Self { address, mode, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The port it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Changes what happens.
    pub fn set(&self, mode: TcpMode) {
        self.mode.send_replace(mode);
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the proxy's thread has been printed already.
            let _ = thread.join();
        }
    }
}

async fn accept(
    listener: TcpListener,
    upstream: SocketAddr,
    mode: Arc<watch::Sender<TcpMode>>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Ok((client, _)) = listener.accept() => {
                connections.spawn(carry(client, upstream, mode.subscribe()));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn carry(client: TcpStream, upstream: SocketAddr, mode: watch::Receiver<TcpMode>) {
    let Ok(server) = TcpStream::connect(upstream).await else { return };
    // Both fail only on a dead connection.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut asking = mode.clone();
    let requests = async {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            moving(&mut asking).await;
            if to_server.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    let mut answering = mode;
    let mut reset = false;
    let answers = async {
        let mut buffer = vec![0; 16 * 1024];
        let mut passed = 0;
        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
            let (pieces, last) = match moving(&mut answering).await {
                TcpMode::ResetAfter(limit) if passed + count > limit => (limit.saturating_sub(passed).max(1), true),
                TcpMode::Trickle(pause) => {
                    for byte in &buffer[..count] {
                        tokio::time::sleep(pause).await;
                        if to_client.write_all(&[*byte]).await.is_err() {
                            return;
                        }
                    }
                    continue;
                }
                _ => (count, false),
            };
            passed += count;
            if to_client.write_all(&buffer[..pieces.min(count)]).await.is_err() || last {
                reset = last;
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        () = answers => {}
    }
    if reset && let Ok(whole) = from_client.reunite(to_client) {
        // Unread bytes or not: closing with a linger time of zero sends RST. Fails only on a dead connection.
        let _ = whole.set_zero_linger();
    }
}

/// Waits until the mode lets bytes move.
async fn moving(mode: &mut watch::Receiver<TcpMode>) -> TcpMode {
    // The sender lives as long as the proxy, and this task no longer.
    mode.wait_for(|mode| *mode != TcpMode::HalfOpen).await.map_or(TcpMode::Pass, |mode| *mode)
}
