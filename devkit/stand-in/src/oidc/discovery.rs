//! The discovery document: where everything is, seen from the host of the request.

use serde_json::{Value, json};

use crate::generation::OpenId;

/// Texts as recorded on v2.58.7 and v4.13.1, which differ in `OpenId` only.
pub(super) fn document(issuer: &str, openid: &OpenId) -> Value {
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
