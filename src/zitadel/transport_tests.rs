//! The transport against small servers of its own: where a token goes, what is read, what is not followed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Request as Incoming;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{Method, StatusCode};
use rstest::rstest;
use secrecy::SecretString;
use url::Url;

use super::auth::{Bearer, Credential, Slot, Source};
use super::generation::Request;
use super::transport::{Answer, BODY_CAP, Cap, Proxy, RATE, Settings, Transport};
use super::{Error, Silence};

/// Method and path; Authorization, Host and x-zitadel-instance-host.
type Line = (String, [Option<String>; 3]);
type Seen = Arc<Mutex<Vec<Line>>>;

/// A server that answers everything so, on a port of its own.
async fn server(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> (Url, Seen) {
    let seen = Seen::default();
    let log = Arc::clone(&seen);
    let router = Router::new().fallback(move |request: Incoming| {
        let header = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let line = format!("{} {}", request.method(), request.uri().path());
        let headers = ["authorization", "host", "x-zitadel-instance-host"].map(header);
        log.lock().unwrap().push((line, headers));
        std::future::ready(answer())
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (url, seen)
}

fn transport(url: &Url, host: Option<&str>, ca: Option<Source>) -> Transport {
    // The process has one TLS provider; whoever comes second finds it installed.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Transport::new(Settings {
        url: url.clone(),
        host: host.map(|host| host.parse().unwrap()),
        ca,
        proxy: Proxy::None,
        credential: Credential::PersonalAccessToken(Source::Slot(Slot::new("unused"))),
        rate: RATE,
        timeout: Duration::from_secs(10),
    })
}

fn bearer() -> Bearer {
    Bearer::new(&SecretString::from("canary")).unwrap()
}

fn list() -> Request {
    Request::new(Method::POST, "/v2/actions/targets/search")
}

async fn send(transport: &Transport) -> Result<Answer, Error> {
    transport.send(&list(), Some(&bearer()), Cap::One, None).await
}

/// A redirect is an answer, and none of ZITADEL's: the token must not follow it, nor a form with a secret.
#[rstest]
#[tokio::test]
async fn redirects_are_not_followed(#[values(301, 302, 303, 307, 308)] status: u16) {
    let (elsewhere, strangers) = server(|| "{}".into_response()).await;
    let location = elsewhere.join("/v2/actions/targets/search").unwrap().to_string();
    let (url, seen) = server(move || {
        (StatusCode::from_u16(status).unwrap(), [(LOCATION, location.clone())], "moved").into_response()
    })
    .await;
    let transport = transport(&url, None, None);
    let error = send(&transport).await.unwrap_err();
    assert_eq!(error, Error::Unreadable { status, what: "the body is not JSON".into() });
    let reply = transport.post_form("/oauth/v2/token", &[("client_secret", "canary")], None).await.unwrap();
    assert_eq!(reply.status.as_u16(), status);
    assert_eq!(seen.lock().unwrap().len(), 2, "each request is sent once");
    assert_eq!(strangers.lock().unwrap().len(), 0, "nothing reaches another origin");
}

#[tokio::test]
async fn the_instance_is_named_in_both_headers() {
    let (url, seen) = server(|| "{}".into_response()).await;
    send(&transport(&url, Some("auth.example.com"), None)).await.unwrap();
    transport(&url, Some("auth.example.com"), None).get("/.well-known/openid-configuration").await.unwrap();
    send(&transport(&url, None, None)).await.unwrap();
    let named = Some("auth.example.com".to_owned());
    let (token, own) = (Some("Bearer canary".to_owned()), url.as_str().trim_start_matches("http://"));
    let search = "POST /v2/actions/targets/search".to_owned();
    let expected = [
        (search.clone(), [token.clone(), named.clone(), named.clone()]),
        ("GET /.well-known/openid-configuration".to_owned(), [None, named.clone(), named]),
        (search, [token, Some(own.trim_end_matches('/').to_owned()), None]),
    ];
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn an_answer_is_read_up_to_its_cap() {
    for (length, fits) in [(BODY_CAP, true), (BODY_CAP + 1, false)] {
        let (url, _) = server(move || format!("\"{}\"", "x".repeat(length - 2)).into_response()).await;
        assert_eq!(send(&transport(&url, None, None)).await.is_ok(), fits, "{length} bytes");
    }
}

/// What conditions say of it is the same each time: no error numbers, no addresses of ours.
#[tokio::test]
async fn a_fault_of_the_way_is_named_by_its_class() {
    // A listener that is dropped leaves a port where nothing listens.
    let port = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    for (url, said) in [
        (format!("http://127.0.0.1:{port}"), format!("connection refused by 127.0.0.1:{port}")),
        ("https://zitadel.invalid".to_owned(), "cannot resolve host zitadel.invalid".to_owned()),
    ] {
        let error = send(&transport(&url.parse().unwrap(), None, None)).await.unwrap_err();
        assert!(!error.may_have_committed(), "nothing was sent");
        assert_eq!(error.to_string(), format!("cannot connect: {said}"));
        assert!(error.advice().starts_with(&said), "{}", error.advice());
    }
}

/// The server takes the connection, and that is all.
#[tokio::test]
async fn a_server_that_never_answers_is_named_with_the_time_it_had() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let settings = Settings { timeout: Duration::from_millis(200), ..transport(&url, None, None).settings().clone() };
    let error = send(&Transport::new(settings)).await.unwrap_err();
    assert_eq!(error, Error::NoAnswer(Silence::Within(Duration::from_millis(200))));
    assert_eq!(error.to_string(), "no answer within 0.2 s");
    assert!(error.may_have_committed());
}

#[rstest]
#[case("<!DOCTYPE html><html><body>Forbidden</body></html>", "an HTML page")]
#[case("  <html>", "an HTML page")]
#[case("upstream connect error", "the body is not JSON")]
#[case("<?xml version='1.0'?>", "the body is not JSON")]
#[case("", "the body is not JSON")]
#[tokio::test]
async fn a_page_of_a_proxy_is_called_one(#[case] body: &'static str, #[case] said: &str) {
    let (url, _) = server(move || (StatusCode::FORBIDDEN, body).into_response()).await;
    let error = send(&transport(&url, None, None)).await.unwrap_err();
    assert!(error.advice().starts_with(&format!("HTTP 403: {said}")), "{}", error.advice());
}

/// Also when the text is what stands in the way of JSON.
#[tokio::test]
async fn an_unknown_host_is_told_in_plain_text_too() {
    let text = "unable to set instance using origin http://x (ExternalDomain is y)";
    let (url, _) = server(move || (StatusCode::NOT_FOUND, text).into_response()).await;
    let told = send(&transport(&url, None, None)).await.unwrap_err();
    assert!(matches!(&told, Error::Api(error) if error.is_unknown_instance()), "{told:?}");
}

#[tokio::test]
async fn authorities_come_from_memory_and_are_replaced() {
    let slot = Slot::new("spec.caBundle");
    let (url, _) = server(|| "{}".into_response()).await;
    let transport = transport(&url, None, Some(Source::Slot(slot.clone())));
    let told = send(&transport).await.unwrap_err().to_string();
    assert_eq!(told, "certificate authorities: spec.caBundle is missing");
    slot.set(Some(SecretString::from("no certificate")));
    let told = send(&transport).await.unwrap_err().to_string();
    assert_eq!(told, "certificate authorities: spec.caBundle holds no PEM certificates");
    slot.set(Some(SecretString::from(include_str!("../../tests/it/testdata/unrelated-ca.pem"))));
    send(&transport).await.unwrap();
}

/// Newer servers leave `id` out of some details and say `slug` in its place.
#[rstest]
#[case(r#"[{"id":"V3-DKcYh"}]"#)]
#[case(r#"[{"slug":"V3-DKcYh"}]"#)]
#[case(r#"[{"id":"","slug":""},{"slug":"V3-DKcYh"}]"#)]
#[case(r#"[{"slug":"another"},{"id":"V3-DKcYh"}]"#)]
#[tokio::test]
async fn an_error_is_known_by_its_id_or_its_slug(#[case] details: &'static str) {
    let (url, _) = server(move || {
        let body = format!(r#"{{"code":6,"message":"x","details":{details}}}"#);
        (StatusCode::CONFLICT, body).into_response()
    })
    .await;
    let told = send(&transport(&url, None, None)).await.unwrap_err();
    assert_eq!(told.reason(), crate::api::reason::Reason::NameTaken, "{told:?}");
}
