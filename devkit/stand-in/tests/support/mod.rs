//! A raw HTTP/1.1 client: one connection per request, everything sent as given, also what a proper client refuses to
//! send, and everything received as it came, also half answers.
#![allow(dead_code, reason = "every test binary uses a part of it")]

pub mod oauth;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zitadel_stand_in::{Generation, Options, StandIn};

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

/// Where a generation has its targets, and how it reaches them.
#[derive(Clone, Copy, Debug)]
pub struct Api {
    pub generation: Generation,
    pub targets: &'static str,
    pub update: &'static str,
    pub search: &'static str,
}

pub const APIS: [Api; 4] = [
    Api { generation: Generation::V3Alpha, targets: "/v3alpha/targets", update: "PUT", search: "search" },
    Api {
        generation: Generation::ResourcesV3Alpha,
        targets: "/resources/v3alpha/actions/targets",
        update: "PATCH",
        search: "_search",
    },
    Api { generation: Generation::V2Beta, targets: "/v2beta/actions/targets", update: "POST", search: "_search" },
    Api { generation: Generation::V2, targets: "/v2/actions/targets", update: "POST", search: "search" },
];

impl Api {
    pub async fn start(&self) -> StandIn {
        StandIn::start(Options::new(self.generation)).await.unwrap()
    }

    pub fn one(&self, id: &str) -> String {
        format!("{}/{id}", self.targets)
    }

    pub async fn create(&self, server: &StandIn, name: &str) -> Response {
        ask(server, "POST", self.targets, &new_target(name, "https://hooks.example.com/x")).await
    }

    /// A page of targets; how long it is to be is said where the generation wants it.
    pub async fn list(&self, server: &StandIn, limit: Option<u64>) -> Response {
        let path = format!("{}/{}", self.targets, self.search);
        let limit = limit.map(|limit| limit.to_string());
        let paging = limit.map(|limit| serde_json::json!({ "limit": limit }));
        let (path, body) = match (self.generation, paging) {
            (Generation::ResourcesV3Alpha, Some(paging)) => {
                (format!("{path}?query.limit={}", paging["limit"].as_str().unwrap()), "[]".to_owned())
            }
            (Generation::ResourcesV3Alpha, None) => (path, "[]".to_owned()),
            (_, None) => (path, "{}".to_owned()),
            (Generation::V3Alpha, Some(paging)) => (path, serde_json::json!({ "query": paging }).to_string()),
            (_, Some(paging)) => (path, serde_json::json!({ "pagination": paging }).to_string()),
        };
        ask(server, "POST", &path, &body).await
    }
}

/// A body that every generation accepts.
pub fn new_target(name: &str, endpoint: &str) -> String {
    serde_json::json!({ "name": name, "restWebhook": {}, "timeout": "10s", "endpoint": endpoint }).to_string()
}

/// The rows of a page of targets.
pub fn rows(answer: &Response) -> usize {
    let body = answer.json();
    let rows = body.get("result").or_else(|| body.get("targets")).and_then(serde_json::Value::as_array);
    rows.map_or(0, Vec::len)
}

/// Status, gRPC code and error id.
pub fn refusal(answer: &Response) -> (u16, u64, Option<String>) {
    let body = answer.json();
    let id = body["details"][0]["id"].as_str().map(str::to_owned);
    (answer.status, body["code"].as_u64().unwrap_or_default(), id)
}

/// The targets that the event store search shows.
pub async fn found_events(server: &StandIn) -> Vec<String> {
    let answer = ask(server, "POST", "/admin/v1/events/_search", r#"{"asc":true}"#).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    let body = answer.json();
    let events = body["events"].as_array().cloned().unwrap_or_default();
    events.iter().map(|event| event["payload"]["name"].as_str().unwrap_or("-").to_owned()).collect()
}
