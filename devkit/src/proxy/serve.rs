//! One request on its way through: read, logged, acted on, forwarded, and the answer carried back as it arrives.
//!
//! Forwarding runs in a task of its own: a client that dies does not take back what it has sent, exactly as on a
//! network.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Request, Response};
use futures::stream;
use hyper::body::Incoming;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::act::{Act, Canned, expired};
use super::call::{Call, Message};
use super::http::Core;
use super::lines::Lines;
use super::rule::{Armed, Fate};

/// Larger requests are cut off; nothing real comes near.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// Headers that belong to one connection, not to the message.
const HOP: [HeaderName; 5] =
    [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH, header::HOST, header::TE];

/// The server behind.
pub(super) struct Upstream {
    pub(super) client: reqwest::Client,
    pub(super) origin: String,
    /// Put in place of the client's own.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstream").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The connection is to be closed without a (whole) answer.
#[derive(Debug)]
pub(super) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("closed without an answer")
    }
}

impl std::error::Error for Closed {}

type Chunks = mpsc::UnboundedReceiver<Result<Bytes, Closed>>;

/// An answer as it arrives.
struct Answer {
    status: u16,
    headers: HeaderMap,
    chunks: Chunks,
}

pub(super) async fn serve<C: Call>(core: Arc<Core<C>>, incoming: Request<Incoming>) -> Result<Response<Body>, Closed> {
    let (head, body) = incoming.into_parts();
    let body = to_bytes(Body::new(body), MAX_BODY).await.map_err(|_| Closed)?;
    let path = head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string);
    let message = Message { method: head.method, path, headers: head.headers, body };
    let call = C::of(&message);
    let index = core.book.enter(call, format!("{} {}", message.method, message.path));
    let rule = core.book.take(call);
    let task = tokio::spawn(async move {
        thawed(&core).await;
        let answer = handle(&core, message, rule).await;
        let fate = answer.as_ref().map_or(Fate::Cut, |answer| Fate::Answered(answer.status));
        core.book.note(index, fate);
        answer
    });
    let answer = task.await.map_err(|_| Closed)??;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        if !HOP.contains(name) {
            response = response.header(name, value);
        }
    }
    let body = stream::unfold(answer.chunks, |mut chunks| async { chunks.recv().await.map(|chunk| (chunk, chunks)) });
    response.body(Body::from_stream(body)).map_err(|_| Closed)
}

async fn thawed<C>(core: &Core<C>) {
    // The sender lives in the core.
    let _ = core.frozen.subscribe().wait_for(|frozen| !frozen).await;
}

async fn handle<C: Call>(core: &Arc<Core<C>>, message: Message, rule: Option<Arc<Armed<C>>>) -> Result<Answer, Closed> {
    let Some(rule) = rule else { return forward(core, message, Pace::AsItComes).await };
    match rule.act().clone() {
        Act::HoldRequest => {
            rule.announce();
            if rule.opened().await { forward(core, message, Pace::AsItComes).await } else { Err(Closed) }
        }
        Act::HoldAnswer => {
            let answer = forward(core, message, Pace::AsItComes).await;
            rule.announce();
            if rule.opened().await { answer } else { Err(Closed) }
        }
        Act::Answer(canned) => {
            rule.announce();
            made_up(&canned)
        }
        Act::AnswerAfter(canned) => {
            forward(core, message, Pace::AsItComes).await?;
            rule.announce();
            made_up(&canned)
        }
        Act::Repeat => {
            forward(core, message.clone(), Pace::AsItComes).await?;
            rule.announce();
            forward(core, message, Pace::AsItComes).await
        }
        Act::Delay(pause) => {
            rule.announce();
            sleep(pause).await;
            forward(core, message, Pace::AsItComes).await
        }
        Act::Cut => {
            rule.announce();
            Err(Closed)
        }
        Act::CutAfter => {
            forward(core, message, Pace::AsItComes).await?;
            rule.announce();
            Err(Closed)
        }
        Act::Stall => {
            rule.announce();
            forward(core, message, Pace::Stalled(rule)).await
        }
        Act::Trail(behind) => {
            rule.announce();
            forward(core, message, Pace::Trailing(behind)).await
        }
        Act::Double => {
            rule.announce();
            forward(core, message, Pace::Lines(Lines::double())).await
        }
        Act::Swap => {
            rule.announce();
            forward(core, message, Pace::Lines(Lines::swap())).await
        }
        Act::Expire => {
            rule.announce();
            made_up(&Canned::new(200, "application/json", &expired()))
        }
    }
}

fn made_up(canned: &Canned) -> Result<Answer, Closed> {
    let mut headers = HeaderMap::new();
    for (name, value) in &canned.headers {
        let name = name.parse::<HeaderName>().map_err(|_| Closed)?;
        headers.append(name, value.parse().map_err(|_| Closed)?);
    }
    let (send, chunks) = mpsc::unbounded_channel();
    // The receiver is in our hand.
    let _ = send.send(Ok(Bytes::from(canned.body.clone())));
    Ok(Answer { status: canned.status, headers, chunks })
}

/// When the pieces of an answer are handed on.
enum Pace<C> {
    AsItComes,
    Stalled(Arc<Armed<C>>),
    Trailing(Duration),
    Lines(Lines),
}

async fn forward<C: Call>(core: &Arc<Core<C>>, message: Message, pace: Pace<C>) -> Result<Answer, Closed> {
    let (upstream, streams) = (&core.upstream, message.watches());
    let mut request = upstream.client.request(message.method, format!("{}{}", upstream.origin, message.path));
    let replaced = |name: &HeaderName| upstream.headers.iter().any(|(own, _)| own == name);
    for (name, value) in message.headers.iter().filter(|(name, _)| !HOP.contains(name) && !replaced(name)) {
        request = request.header(name, value);
    }
    for (name, value) in &upstream.headers {
        request = request.header(name, value);
    }
    let mut response = request.body(message.body).send().await.map_err(|_| Closed)?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let (send, chunks) = mpsc::unbounded_channel();
    if streams {
        tokio::spawn(pump(Arc::clone(core), response, send, pace));
    } else {
        // Read to the end first: whoever holds this answer holds all of it.
        while let Some(chunk) = response.chunk().await.map_err(|_| Closed)? {
            // The receiver is in our hand.
            let _ = send.send(Ok(chunk));
        }
    }
    Ok(Answer { status, headers, chunks })
}

/// Carries a stream until either side ends it.
async fn pump<C: Call>(
    core: Arc<Core<C>>,
    mut response: reqwest::Response,
    send: mpsc::UnboundedSender<Result<Bytes, Closed>>,
    pace: Pace<C>,
) {
    let (queue, mut queued) = mpsc::unbounded_channel();
    let hand_on = async {
        if let Pace::Lines(lines) = pace {
            return lines.hand_on(queued, &send).await;
        }
        while let Some((arrived, chunk)) = queued.recv().await {
            match &pace {
                Pace::AsItComes => {}
                Pace::Trailing(behind) => sleep_until(arrived + *behind).await,
                Pace::Stalled(rule) if rule.opened().await => {}
                Pace::Stalled(_) | Pace::Lines(_) => return,
            }
            thawed(&core).await;
            if send.send(chunk).is_err() {
                return;
            }
        }
    };
    let read = async move {
        loop {
            let next = response.chunk().await;
            let over = !matches!(next, Ok(Some(_)));
            let chunk = match next {
                Ok(Some(chunk)) => Ok(chunk),
                Ok(None) => return,
                Err(_) => Err(Closed),
            };
            if queue.send((Instant::now(), chunk)).is_err() || over {
                return;
            }
        }
    };
    tokio::select! {
        () = hand_on => {}
        () = async { read.await; std::future::pending::<()>().await } => {}
        () = send.closed() => {}
    }
}
