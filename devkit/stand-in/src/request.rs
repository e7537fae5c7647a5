//! A request and an answer, free of connections: what the handler sees and makes.

use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::router;
use crate::wire::error::ApiError;

/// A whole request.
pub(crate) struct Request {
    pub(crate) method: Method,
    /// As sent, without the query.
    pub(crate) raw_path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn path(&self) -> String {
        router::decode(&self.raw_path)
    }

    pub(crate) fn path_and_query(&self) -> String {
        if self.query.is_empty() { self.raw_path.clone() } else { format!("{}?{}", self.raw_path, self.query) }
    }

    pub(crate) fn query_value(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| router::decode(value)).next()
    }

    /// The `host=` of a `Forwarded` or similar header.
    pub(crate) fn forwarded_host(&self, header: &str) -> Option<&str> {
        let parts = self.header(header)?.split([';', ',']).map(str::trim);
        parts.filter_map(|part| part.strip_prefix("host=")).map(|host| host.trim_matches('"')).next()
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }

    pub(crate) fn text(status: StatusCode, body: impl Into<String>) -> Self {
        let headers = vec![("content-type", "text/plain; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn html(status: StatusCode, body: impl Into<String>) -> Self {
        let headers = vec![("content-type", "text/html; charset=utf-8".to_owned())];
        Self { status, headers, body: body.into() }
    }

    pub(crate) fn redirect(status: StatusCode, location: impl Into<String>) -> Self {
        Self { status, headers: vec![("location", location.into())], body: String::new() }
    }

    pub(crate) fn error(error: &ApiError, wraps_plain: bool) -> Self {
        let mut reply = Self::json(error.status(), &error.body(wraps_plain));
        reply.headers.extend(error.challenge().map(|challenge| ("www-authenticate", challenge)));
        reply
    }
}
