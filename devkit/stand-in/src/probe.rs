//! What answers without a token and without looking at the host: health, readiness, the redirect of the root and the
//! cleaning of paths.

use http::{Method, StatusCode};
use serde_json::json;

use crate::generation::Dialect;
use crate::request::{Reply, Request};

/// The answer, when the path is one of these; otherwise the gateway's calls are next.
pub(crate) fn answer(dialect: &dyn Dialect, request: &Request) -> Option<Reply> {
    let path = request.raw_path.as_str();
    if path.contains("//") {
        return Some(Reply::redirect(StatusCode::MOVED_PERMANENTLY, clean(path)));
    }
    if request.method != Method::GET {
        return None;
    }
    match path {
        "/" => Some(root()),
        "/debug/healthz" => Some(Reply::text(StatusCode::OK, "ok")),
        "/debug/ready" | "/debug/validate" => Some(Reply::json(StatusCode::OK, &json!("ok"))),
        "/healthz" => Some(health(dialect, request)),
        _ => None,
    }
}

fn root() -> Reply {
    let page = Reply::html(StatusCode::FOUND, "<a href=\"/ui/login\">Found</a>.\n\n");
    let mut headers = page.headers;
    headers.push(("location", "/ui/login".to_owned()));
    Reply { headers, ..page }
}

fn clean(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let slash = if path.ends_with('/') { "/" } else { "" };
    format!("/{}{slash}", segments.join("/"))
}

fn health(dialect: &dyn Dialect, request: &Request) -> Reply {
    let service = request.query_value("service").unwrap_or_default();
    if service.is_empty() || dialect.services().contains(&service.as_str()) {
        return Reply::json(StatusCode::OK, &json!({ "status": "SERVING" }));
    }
    Reply::error(&dialect.unknown_service(), dialect.wraps_plain_errors())
}
