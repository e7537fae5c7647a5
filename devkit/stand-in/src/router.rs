//! From method and path to a call, as grpc-gateway matches: on decoded segments, literal paths before `{id}`, 405 for
//! a known path with another method, and an id that may be empty.

use http::Method;

use crate::fault::Op;
use crate::wire::error::ApiError;

/// The calls behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rpc {
    CreateTarget,
    UpdateTarget,
    DeleteTarget,
    GetTarget,
    ListTargets,
    /// The route probe.
    ListFunctions,
    SearchEvents,
    MyUser,
    MyInstance,
    ReadFeatures,
    SetFeatures,
    /// Known to the real server, not built here: the path exists, the call does not.
    NotBuilt,
}

impl Rpc {
    pub(crate) fn op(self) -> Option<Op> {
        match self {
            Self::CreateTarget => Some(Op::Create),
            Self::UpdateTarget => Some(Op::Update),
            Self::DeleteTarget => Some(Op::Delete),
            Self::GetTarget => Some(Op::Get),
            Self::ListTargets => Some(Op::List),
            Self::SearchEvents => Some(Op::Events),
            Self::MyUser => Some(Op::Me),
            Self::MyInstance => Some(Op::Instance),
            Self::ListFunctions | Self::ReadFeatures | Self::SetFeatures | Self::NotBuilt => None,
        }
    }
}

/// A method as routes name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Verb {
    fn is(self, method: &Method) -> bool {
        let own = match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
        };
        own == *method
    }
}

/// One route. `{id}` in the pattern stands for one segment.
pub(crate) struct Route {
    pub(crate) verb: Verb,
    pub(crate) pattern: &'static str,
    pub(crate) rpc: Rpc,
}

impl Route {
    pub(crate) const fn new(verb: Verb, pattern: &'static str, rpc: Rpc) -> Self {
        Self { verb, pattern, rpc }
    }
}

/// The routes that every generation has.
pub(crate) const COMMON: &[Route] = &[
    Route::new(Verb::Post, "/admin/v1/events/_search", Rpc::SearchEvents),
    Route::new(Verb::Get, "/auth/v1/users/me", Rpc::MyUser),
    Route::new(Verb::Get, "/admin/v1/instances/me", Rpc::MyInstance),
    Route::new(Verb::Get, "/v2beta/features/instance", Rpc::ReadFeatures),
    Route::new(Verb::Put, "/v2beta/features/instance", Rpc::SetFeatures),
    Route::new(Verb::Get, "/v2/features/instance", Rpc::ReadFeatures),
    Route::new(Verb::Put, "/v2/features/instance", Rpc::SetFeatures),
];

/// Finds the call and the id in the path. The path is decoded already.
pub(crate) fn route(own: &'static [&'static [Route]], method: &Method, path: &str) -> Result<(Rpc, String), ApiError> {
    let routes = || own.iter().copied().flatten().chain(COMMON);
    let literal = routes().filter(|route| !route.pattern.ends_with("{id}"));
    let with_id = routes().filter(|route| route.pattern.ends_with("{id}"));
    let mut known = false;
    for route in literal.chain(with_id) {
        let Some(id) = matches(route.pattern, path) else { continue };
        if route.verb.is(method) {
            return Ok((route.rpc, id.to_owned()));
        }
        known = true;
    }
    Err(if known { ApiError::method_not_allowed() } else { ApiError::not_found() })
}

fn matches<'a>(pattern: &str, path: &'a str) -> Option<&'a str> {
    match pattern.strip_suffix("{id}") {
        None => (pattern == path).then_some(""),
        Some(prefix) => path.strip_prefix(prefix).filter(|id| !id.contains('/')),
    }
}

/// Percent-decodes a path; what is not an escape stays as it is.
pub(crate) fn decode(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escape = path.get(at + 1..at + 3).filter(|_| byte == b'%');
        if let Some(decoded) = escape.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            out.push(decoded);
            at += 3;
        } else {
            out.push(byte);
            at += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &[Route] = &[
        Route::new(Verb::Post, "/t/{id}", Rpc::UpdateTarget),
        Route::new(Verb::Post, "/t/search", Rpc::ListTargets),
        Route::new(Verb::Get, "/t/{id}", Rpc::GetTarget),
    ];

    #[test]
    fn literal_paths_win_and_ids_may_be_empty() {
        let find = |method: Method, path: &str| route(&[ROUTES], &method, path).ok();
        assert_eq!(find(Method::POST, "/t/search"), Some((Rpc::ListTargets, String::new())));
        assert_eq!(find(Method::GET, "/t/search"), Some((Rpc::GetTarget, "search".to_owned())));
        assert_eq!(find(Method::POST, "/t/"), Some((Rpc::UpdateTarget, String::new())));
        assert_eq!(find(Method::GET, "/t/a/b"), None);
    }

    #[test]
    fn a_known_path_with_another_method_is_405() {
        assert_eq!(route(&[ROUTES], &Method::PUT, "/t/1"), Err(ApiError::method_not_allowed()));
        assert_eq!(route(&[ROUTES], &Method::PUT, "/T/1"), Err(ApiError::not_found()));
    }

    #[test]
    fn escapes_are_decoded() {
        assert_eq!(decode("/t/a%2Fb%20%"), "/t/a/b %");
    }
}
