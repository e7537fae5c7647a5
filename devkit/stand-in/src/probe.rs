//! What answers without a token and (mostly) without looking at the host: health, readiness, the redirect of the root,
//! the cleaning of paths, and the OIDC side as far as it is built.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::generation::{OpenId, not_built};
use crate::request::{Reply, Request};
use crate::world::World;

/// The answer, when the path is one of these; otherwise the gateway's calls are next.
pub(crate) fn answer(world: &World, request: &Request) -> Option<Reply> {
    let path = request.raw_path.as_str();
    if path.contains("//") {
        return Some(Reply::redirect(StatusCode::MOVED_PERMANENTLY, clean(path)));
    }
    if path.starts_with("/oauth/v2/") || path == "/.well-known/openid-configuration" {
        return Some(oidc(world, request));
    }
    if request.method != Method::GET {
        return None;
    }
    match path {
        "/" => Some(root()),
        "/debug/healthz" => Some(Reply::text(StatusCode::OK, "ok")),
        "/debug/ready" | "/debug/validate" => Some(Reply::json(StatusCode::OK, &json!("ok"))),
        "/healthz" => Some(health(world, request)),
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

fn health(world: &World, request: &Request) -> Reply {
    let service = request.query_value("service").unwrap_or_default();
    let dialect = world.dialect;
    if service.is_empty() || dialect.services().contains(&service.as_str()) {
        return Reply::json(StatusCode::OK, &json!({ "status": "SERVING" }));
    }
    Reply::error(&dialect.unknown_service(), dialect.wraps_plain_errors())
}

fn oidc(world: &World, request: &Request) -> Reply {
    let dialect = world.dialect;
    let issuer = match dialect.issuer(world, request) {
        Ok(issuer) => issuer,
        Err(error) => return Reply::text(StatusCode::NOT_FOUND, error.into_text()),
    };
    if request.raw_path != "/.well-known/openid-configuration" {
        return Reply::error(&not_built(), false);
    }
    Reply::json(StatusCode::OK, &openid_configuration(&issuer, &dialect.openid()))
}

/// Texts as recorded on v2.58.7 and v4.13.1, which differ in `OpenId` only.
fn openid_configuration(issuer: &str, openid: &OpenId) -> Value {
    let at = |path: &str| format!("{issuer}{path}");
    let client_methods = json!(["none", "client_secret_basic", "client_secret_post", "private_key_jwt"]);
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": at("/oauth/v2/authorize"),
        "token_endpoint": at("/oauth/v2/token"),
        "introspection_endpoint": at("/oauth/v2/introspect"),
        "userinfo_endpoint": at("/oidc/v1/userinfo"),
        "revocation_endpoint": at("/oauth/v2/revoke"),
        "end_session_endpoint": at("/oidc/v1/end_session"),
        "device_authorization_endpoint": at("/oauth/v2/device_authorization"),
        "jwks_uri": at("/oauth/v2/keys"),
        "scopes_supported": ["openid", "profile", "email", "phone", "address", "offline_access"],
        "response_types_supported": ["code", "id_token", "id_token token"],
        "response_modes_supported": ["query", "fragment", "form_post"],
        "grant_types_supported": [
            "authorization_code", "implicit", "refresh_token", "client_credentials",
            "urn:ietf:params:oauth:grant-type:jwt-bearer", "urn:ietf:params:oauth:grant-type:device_code",
        ],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": openid.id_token_algorithms,
        "request_object_signing_alg_values_supported": ["RS256"],
        "token_endpoint_auth_methods_supported": client_methods,
        "token_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "revocation_endpoint_auth_methods_supported": client_methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "introspection_endpoint_auth_methods_supported": ["client_secret_basic", "private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ["RS256"],
        "claims_supported": [
            "sub", "aud", "exp", "iat", "iss", "auth_time", "nonce", "acr", "amr", "c_hash", "at_hash", "act", "scopes",
            "client_id", "azp", "preferred_username", "name", "family_name", "given_name", "locale", "email",
            "email_verified", "phone_number", "phone_number_verified",
        ],
        "code_challenge_methods_supported": ["S256"],
        "ui_locales_supported": openid.locales,
        "request_parameter_supported": true,
        "request_uri_parameter_supported": false,
    });
    if let (true, Some(members)) = (openid.backchannel_logout, document.as_object_mut()) {
        members.insert("backchannel_logout_supported".to_owned(), json!(true));
        members.insert("backchannel_logout_session_supported".to_owned(), json!(true));
    }
    document
}
