//! The connections: a thread of its own with its own runtime, so that a stand-in works from any test, and the place
//! where faults act, because most of them are about what happens to a connection.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use axum::body::{Body, Bytes, to_bytes};
use http::{Response, StatusCode};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::calls::Answer;
use crate::execution::{Course, Phase};
use crate::fault::{Effect, Fault, Op};
use crate::handler::{self, classify, handle};
use crate::oidc;
use crate::request::{Reply, Request};
use crate::world::World;

/// Larger requests are cut off; nothing real comes near.
const MAX_BODY: usize = 16 * 1024 * 1024;

enum Command {
    Pause(oneshot::Sender<()>),
    Resume(oneshot::Sender<io::Result<()>>),
    Stop,
}

/// The running thread. Dropping it stops the server.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    commands: mpsc::UnboundedSender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Server {
    pub(crate) fn start(world: Arc<World>, port: u16) -> io::Result<Self> {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (commands, received) = mpsc::unbounded_channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let serve = move || {
            runtime.block_on(async move {
                match TcpListener::from_std(listener) {
                    Ok(listener) => run(world, listener, address, received).await,
                    Err(fault) => tracing::error!(%fault, "the stand-in cannot listen"),
                }
            });
        };
        let thread = std::thread::Builder::new().name("zitadel-stand-in".to_owned()).spawn(serve)?;
        Ok(Self { address, commands, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) async fn pause(&self) {
        let (done, paused) = oneshot::channel();
        // Both fail only when the thread is gone, and then nobody listens either.
        let _ = self.commands.send(Command::Pause(done));
        let _ = paused.await;
    }

    pub(crate) async fn resume(&self) -> io::Result<()> {
        let (done, resumed) = oneshot::channel();
        let _ = self.commands.send(Command::Resume(done));
        resumed.await.unwrap_or_else(|_| Err(io::Error::other("the stand-in's thread has ended")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.commands.send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Waiting makes the port free when the drop returns; the thread cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id()) {
            let _ = thread.join();
        }
    }
}

async fn run(
    world: Arc<World>,
    listener: TcpListener,
    address: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                None | Some(Command::Stop) => return,
                Some(Command::Pause(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Command::Resume(done)) => {
                    let bound = match listener {
                        Some(_) => Ok(()),
                        None => TcpListener::bind(address).await.map(|bound| listener = Some(bound)),
                    };
                    let _ = done.send(bound);
                }
            },
            Some(stream) = accept(listener.as_ref()) => {
                connections.spawn(connection(Arc::clone(&world), stream));
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.ok().map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn connection(world: Arc<World>, stream: TcpStream) {
    // Without it small answers wait for acknowledgements; it fails only on a dead connection.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |incoming| serve(Arc::clone(&world), incoming));
    // An error here is a fault at work or a client that left.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The connection is to be closed without an answer.
#[derive(Debug)]
struct Closed;

impl std::fmt::Display for Closed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

/// The place of a call in the log. Unless an answer is entered, it stays without one, also when the client leaves.
struct Logged {
    world: Arc<World>,
    index: usize,
    answer: Answer,
}

impl Drop for Logged {
    fn drop(&mut self) {
        self.world.answered(self.index, self.answer);
    }
}

async fn serve(world: Arc<World>, incoming: http::Request<Incoming>) -> Result<Response<Body>, Closed> {
    let (head, body) = incoming.into_parts();
    let body = to_bytes(Body::new(body), MAX_BODY).await.map_err(|_| Closed)?;
    let request = Request {
        method: head.method,
        raw_path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let op = classify(&world, &request);
    let body = if op == Some(Op::Token) { oidc::redacted(&request) } else { request.body.clone() };
    let user = handler::user(&world, &request);
    let index = world.arrived(op, &request, user, body);
    let mut logged = Logged { world: Arc::clone(&world), index, answer: Answer::None };
    let response = match world.hidden(&request) {
        Some(code) => whole(&world, &proxy_page(code)),
        None => after_look_up(world, request, op).await?,
    };
    if response.extensions().get::<Cut>().is_none() {
        logged.answer = Answer::Status(response.status().as_u16());
    }
    Ok(response)
}

/// Handles a request once its endpoint has been looked up; also when the client is gone by then.
async fn after_look_up(world: Arc<World>, request: Request, op: Option<Op>) -> Result<Response<Body>, Closed> {
    let fault = world.take_fault(op);
    let Some(time) = handler::look_up_time(&world, &request, op) else { return respond(&world, request, fault).await };
    let work = async move {
        sleep(time).await;
        let response = respond(&world, request, fault).await;
        world.changed();
        response
    };
    tokio::spawn(work).await.map_err(|_| Closed)?
}

async fn respond(world: &Arc<World>, request: Request, fault: Option<Arc<Fault>>) -> Result<Response<Body>, Closed> {
    match fault {
        Some(fault) => act(world, request, &fault).await,
        None => Ok(whole(world, &handle(world, &request, &Course::Ordinary))),
    }
}

/// Handles a request under a fault.
async fn act(world: &Arc<World>, request: Request, fault: &Fault) -> Result<Response<Body>, Closed> {
    match &fault.effect {
        Effect::Latency(delay) => {
            fault.announce();
            let (task_world, delay) = (Arc::clone(world), *delay);
            // A task of its own: the request is handled even when the client is gone by then.
            let handled = tokio::spawn(async move {
                sleep(delay).await;
                let reply = handle(&task_world, &request, &Course::Ordinary);
                task_world.changed();
                reply
            });
            handled.await.map(|reply| whole(world, &reply)).map_err(|_| Closed)
        }
        Effect::CommitLate(delay) => {
            fault.announce();
            let (task_world, delay) = (Arc::clone(world), *delay);
            tokio::spawn(async move {
                sleep(delay).await;
                handle(&task_world, &request, &Course::Ordinary);
                task_world.changed();
            });
            Err(Closed)
        }
        Effect::Reset => {
            fault.announce();
            Err(Closed)
        }
        Effect::Status(code, body) => {
            fault.announce();
            Ok(whole(world, &proxy_status(*code, body.as_deref())))
        }
        Effect::Quote(code) => {
            fault.announce();
            Ok(whole(world, &quotation(*code, &request)))
        }
        Effect::Html(code) => {
            fault.announce();
            Ok(whole(world, &proxy_page(*code)))
        }
        Effect::LoseReply => {
            commit(world, &request, fault);
            Err(Closed)
        }
        Effect::HtmlAfterCommit => {
            commit(world, &request, fault);
            Ok(whole(world, &proxy_page(502)))
        }
        Effect::Truncated => Ok(truncated(world, &commit(world, &request, fault))),
        Effect::HoldReply => {
            let reply = commit(world, &request, fault);
            let mut released = fault.released.subscribe();
            // The sender lives in the fault, so waiting cannot fail.
            let _ = released.wait_for(|released| *released).await;
            Ok(whole(world, &reply))
        }
        Effect::Ghost => Ok(whole(world, &carry_out(world, &request, fault, &Course::Ghost))),
        Effect::RequestExecution(interruption) => {
            let course = Course::Interrupted(Phase::Request, interruption);
            Ok(whole(world, &carry_out(world, &request, fault, &course)))
        }
        Effect::ResponseExecution(interruption) => {
            let course = Course::Interrupted(Phase::Response, interruption);
            Ok(whole(world, &carry_out(world, &request, fault, &course)))
        }
    }
}

/// Handles the request, then tells that the fault acted: who waits for that can rely on the commit.
fn commit(world: &World, request: &Request, fault: &Fault) -> Reply {
    carry_out(world, request, fault, &Course::Ordinary)
}

fn carry_out(world: &World, request: &Request, fault: &Fault, course: &Course<'_>) -> Reply {
    let reply = handle(world, request, course);
    world.changed();
    fault.announce();
    reply
}

fn proxy_status(code: u16, body: Option<&str>) -> Reply {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = body.unwrap_or_default();
    let kind = if body.starts_with('{') { "application/json" } else { "text/plain; charset=utf-8" };
    let headers = if body.is_empty() { Vec::new() } else { vec![("content-type", kind.to_owned())] };
    Reply { status, headers, body: body.to_owned() }
}

fn quotation(code: u16, request: &Request) -> Reply {
    let authorization = request.header("authorization").unwrap_or("none");
    let text = format!("bad request: authorization {authorization}, body {}", request.body);
    let body = json!({ "code": 3, "message": text, "error": text, "error_description": text });
    proxy_status(code, Some(&body.to_string()))
}

fn proxy_page(code: u16) -> Reply {
    let status = StatusCode::from_u16(code).unwrap_or(StatusCode::BAD_GATEWAY);
    let title = format!("{code} {}", status.canonical_reason().unwrap_or("Unknown"));
    Reply::html(
        status,
        format!("<html>\r\n<head><title>{title}</title></head>\r\n<body><h1>{title}</h1></body>\r\n</html>\r\n"),
    )
}

fn whole(world: &World, reply: &Reply) -> Response<Body> {
    response(world, reply, Body::from(reply.body.clone()))
}

/// Marks an answer that the client cannot use, so that the log shows none.
#[derive(Clone)]
struct Cut;

fn truncated(world: &World, reply: &Reply) -> Response<Body> {
    let half = Bytes::copy_from_slice(&reply.body.as_bytes()[..reply.body.len() / 2]);
    let mut response = response(world, reply, Body::new(Half { half: Some(half), flushed: false }));
    response.extensions_mut().insert(Cut);
    response
}

fn response(world: &World, reply: &Reply, body: Body) -> Response<Body> {
    // RFC 9110 dates; ZITADEL's own `Date` comes from the same clock as its events.
    let date = world.state().clock.now().strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let mut builder =
        Response::builder().status(reply.status).header("date", date).header("content-length", reply.body.len());
    for (name, value) in &reply.headers {
        builder = builder.header(*name, value);
    }
    let broken = |_| Response::new(Body::from("the stand-in built an invalid answer"));
    builder.body(body).unwrap_or_else(broken)
}

/// Half a body, then the end of the connection.
struct Half {
    half: Option<Bytes>,
    flushed: bool,
}

impl hyper::body::Body for Half {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(half) = self.half.take() {
            return Poll::Ready(Some(Ok(Frame::data(half))));
        }
        if !self.flushed {
            // One round of waiting lets hyper flush the half; an error at once would discard it.
            self.flushed = true;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Closed)))
    }
}
