//! A raw HTTP/1.1 client: one connection per request, everything sent as given, also what a proper client refuses to
//! send, and everything received as it came, also half answers.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod oauth;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zitadel_stand_in::StandIn;

/// A request. `host` and `content-length` are added unless given.
#[derive(Clone, Debug, Default)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Request {
    pub fn new(method: &str, path: &str) -> Self {
        Self { method: method.to_owned(), path: path.to_owned(), ..Self::default() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub fn body(mut self, body: &str) -> Self {
        body.clone_into(&mut self.body);
        self
    }

    fn text(&self, address: SocketAddr) -> String {
        let has = |name: &str| self.headers.iter().any(|(own, _)| own == name);
        let mut head = vec![format!("{} {} HTTP/1.1", self.method, self.path), "connection: close".to_owned()];
        if !has("host") {
            head.push(format!("host: {address}"));
        }
        if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD" | "OPTIONS") {
            head.push(format!("content-length: {}", self.body.len()));
        }
        head.extend(self.headers.iter().map(|(name, value)| format!("{name}: {value}")));
        format!("{}\r\n\r\n{}", head.join("\r\n"), self.body)
    }
}

/// An answer; header names in lower case.
#[derive(Clone, Debug)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|fault| panic!("{fault} in {:?}", self.body))
    }

    /// Whether the body has the length that the head promised.
    pub fn is_whole(&self) -> bool {
        self.headers.get("content-length").is_none_or(|length| *length == self.body.len().to_string())
    }

    fn parse(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let header =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        Some(Self { status, headers: lines.filter_map(header).collect(), body: body.to_owned() })
    }
}

/// The address of a stand-in.
pub fn address(server: &StandIn) -> SocketAddr {
    server.url().trim_start_matches("http://").parse().unwrap()
}

/// Sends and waits for the end of the connection. `None` = closed without an answer. Fails when nobody listens.
pub async fn send(address: SocketAddr, request: &Request) -> std::io::Result<Option<Response>> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.text(address).as_bytes()).await?;
    let mut received = Vec::new();
    // A reset after half an answer is an end like any other.
    let _ = stream.read_to_end(&mut received).await;
    Ok(Response::parse(&String::from_utf8_lossy(&received)))
}

/// As `send`, with the owner's token, to a server that must answer.
pub async fn ask(server: &StandIn, method: &str, path: &str, body: &str) -> Response {
    let request = Request::new(method, path).bearer(&server.token()).body(body);
    let answer = send(address(server), &request).await.unwrap();
    answer.unwrap_or_else(|| panic!("no answer to {method} {path}\n{}", server.dump()))
}

/// As `ask`, where no answer is an answer too.
pub async fn try_ask(server: &StandIn, method: &str, path: &str, body: &str) -> Option<Response> {
    let request = Request::new(method, path).bearer(&server.token()).body(body);
    send(address(server), &request).await.unwrap()
}
