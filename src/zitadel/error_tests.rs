//! What errors mean, case by case.

use std::time::Duration;

use super::error::ApiError;
use super::error::plain;
use super::fault::{Distrust, Fault, Silence};
use super::{Class, Error};
use crate::api::reason::Reason;
use rstest::rstest;

fn api(status: u16, code: i64, id: Option<&str>, message: &str) -> Error {
    Error::Api(ApiError { status, code, message: message.into(), id: id.map(Into::into) })
}

#[rstest]
#[case(400, 3, None, "invalid CreateTargetRequest.Name", Reason::InvalidSpec)]
#[case(400, 3, Some("COMMAND-39f35d8uri"), "x", Reason::InvalidSpec)]
#[case(400, 3, Some("COMMAND-NcJUKo"), "x", Reason::EndpointDenied)]
#[case(400, 3, Some("COMMAND-jKbbu2"), "x", Reason::EndpointDenied)]
#[case(400, 9, Some("ACTION-8o6pvqfjhs"), "x", Reason::ActionsDisabled)]
#[case(400, 9, Some("OTHER-1"), "x", Reason::ZitadelUnavailable)]
#[case(400, 9, Some("EXEC-dra6yamk98"), "x", Reason::ExecutionFailed)]
#[case(400, 3, Some("EXEC-reUaUZCzCp"), "x", Reason::ExecutionFailed)]
#[case(401, 16, Some("EXEC-reUaUZCzCp"), "x", Reason::ExecutionFailed)]
#[case(403, 7, Some("EXEC-reUaUZCzCp"), "no thanks", Reason::ExecutionFailed)]
#[case(404, 5, Some("EXEC-reUaUZCzCp"), "x", Reason::ExecutionFailed)]
#[case(409, 6, Some("EXEC-reUaUZCzCp"), "x", Reason::ExecutionFailed)]
#[case(429, 8, Some("EXEC-reUaUZCzCp"), "x", Reason::ExecutionFailed)]
#[case(500, 13, Some("EXEC-2n8fhs7g"), "x", Reason::ExecutionFailed)]
#[case(500, 2, None, "ID=EXEC-dra6yamk98 Message=x", Reason::ExecutionFailed)]
#[case(400, 3, None, "invalid name: EXEC-dra6yamk98", Reason::InvalidSpec)]
#[case(401, 16, Some("AUTH-7fs1e"), "x", Reason::AuthenticationFailed)]
#[case(403, 7, Some("QUERY-SAF3rf"), "x", Reason::AuthenticationFailed)]
#[case(403, 7, Some("AUTH-5mWD2"), "x", Reason::PermissionDenied)]
#[case(404, 5, Some("AUTHZ-cdgFk"), "x", Reason::PermissionDenied)]
#[case(404, 5, Some("COMMAND-xj14f2cccn"), "x", Reason::ExternallyDeleted)]
#[case(404, 5, Some("QUERY-hj5oaniyrz"), "x", Reason::NotProjected)]
#[case(404, 5, None, "Not Found", Reason::ApiUnsupported)]
#[case(404, 5, None, "unable to set instance using origin x", Reason::ZitadelUnavailable)]
#[case(409, 6, Some("V3-DKcYh"), "x", Reason::NameTaken)]
#[case(429, 8, Some("QUOTA-vjAy8"), "x", Reason::RateLimited)]
#[case(500, 13, None, "x", Reason::ZitadelUnavailable)]
#[case(503, 14, None, "x", Reason::ZitadelUnavailable)]
fn reasons(
    #[case] status: u16,
    #[case] code: i64,
    #[case] id: Option<&str>,
    #[case] message: &str,
    #[case] reason: Reason,
) {
    assert_eq!(api(status, code, id, message).reason(), reason);
}

#[rstest]
#[case(400, 3, None, "invalid CreateTargetRequest.Name", false)]
#[case(400, 3, Some("COMMAND-NcJUKo"), "x", false)]
#[case(400, 9, Some("ACTION-8o6pvqfjhs"), "x", false)]
#[case(401, 16, Some("AUTH-7fs1e"), "x", false)]
#[case(401, 16, None, "auth header missing", false)]
#[case(403, 7, Some("QUERY-SAF3rf"), "x", false)]
#[case(403, 7, Some("AUTH-5mWD2"), "x", false)]
#[case(404, 5, Some("AUTHZ-cdgFk"), "x", false)]
#[case(404, 5, None, "Not Found", false)]
#[case(405, 12, None, "Method Not Allowed", false)]
#[case(404, 5, None, "unable to set instance using origin x", false)]
#[case(409, 6, Some("V3-DKcYh"), "x", false)]
#[case(429, 8, Some("QUOTA-vjAy8"), "x", false)]
#[case(429, 8, None, "x", false)]
// A response execution, after the commit: its own error, and those that its endpoint forwards.
#[case(400, 9, Some("EXEC-dra6yamk98"), "x", true)]
#[case(400, 9, Some("EXEC-bmhNhpcqpF"), "x", true)]
#[case(500, 2, None, "ID=EXEC-dra6yamk98 Message=x", true)]
#[case(400, 3, None, "the name EXEC-dra6yamk98 is too long", false)]
#[case(401, 16, Some("EXEC-reUaUZCzCp"), "x", true)]
#[case(403, 7, Some("EXEC-reUaUZCzCp"), "x", true)]
#[case(404, 5, Some("EXEC-reUaUZCzCp"), "x", true)]
#[case(409, 6, Some("EXEC-reUaUZCzCp"), "x", true)]
// Gateways that filter answers, and servers in trouble.
#[case(400, 9, None, "x", true)]
#[case(403, 7, None, "forbidden by policy", true)]
#[case(409, 10, Some("COMMAND-x"), "x", false)]
#[case(499, 1, None, "context canceled", true)]
#[case(500, 13, Some("COMMAND-x"), "x", true)]
#[case(503, 14, None, "x", true)]
fn only_answers_that_prove_it_exclude_a_commit(
    #[case] status: u16,
    #[case] code: i64,
    #[case] id: Option<&str>,
    #[case] message: &str,
    #[case] open: bool,
) {
    let error = api(status, code, id, message);
    assert_eq!(error.may_have_committed(), open, "{error}");
    assert!(!(open && error.refuses_token()), "a call whose outcome is open is never sent again: {error}");
}

/// What a user reads three hours later, with Events and log gone.
#[rstest]
#[case(Error::Connect(Fault::Unresolved("h".into())), "cannot resolve host h")]
#[case(Error::Connect(Fault::Refused("h:443".into())), "connection refused by h:443")]
#[case(Error::Connect(Fault::Slow("h:443".into(), Duration::from_secs(5))), "no connection to h:443 within 5 s")]
#[case(Error::Connect(Fault::Untrusted("h:443".into(), Distrust::WrongName)), "is not trusted: it is not valid for")]
#[case(Error::NoAnswer(Silence::Within(Duration::from_secs(10))), "no answer within 10 s")]
#[case(Error::Unreadable { status: 403, what: "an HTML page".into() }, "HTTP 403: an HTML page")]
#[case(api(503, 14, None, "upstream connect error"), "HTTP 503: ")]
#[case(api(500, 13, Some("QUERY-x"), "x"), "HTTP 500 (QUERY-x): ")]
#[case(api(403, 7, Some("EXEC-reUaUZCzCp"), "x"), "refuses or fails it (EXEC-reUaUZCzCp): fix or remove")]
#[case(api(500, 2, None, "ID=EXEC-dra6yamk98 Message=x"), "refuses or fails it (EXEC-dra6yamk98): fix or remove")]
fn the_advice_names_the_class_of_the_fault(#[case] error: Error, #[case] part: &str) {
    assert!(error.advice().contains(part), "{}", error.advice());
}

#[test]
fn what_an_execution_refuses_is_neither_gone_nor_a_refused_token() {
    for status in [401, 403, 404, 409, 500] {
        let error = api(status, 5, Some("EXEC-reUaUZCzCp"), "x");
        assert_eq!(error.class(), Class::Transient);
        assert!(!error.refuses_token() && !error.concerns_connection(), "{error}");
    }
}

#[test]
fn without_an_answer_of_zitadel_only_what_was_never_sent_was_not_done() {
    assert!(!Error::Connect("refused".into()).may_have_committed());
    assert!(Error::NoAnswer("timed out".into()).may_have_committed());
    assert!(Error::Unreadable { status: 201, what: "cut".into() }.may_have_committed());
    assert!(Error::Unreadable { status: 403, what: "HTML".into() }.may_have_committed());
    assert!(!Error::Unreadable { status: 429, what: "HTML".into() }.may_have_committed());
}

#[test]
fn remote_text_is_cut_and_cleaned() {
    let text = plain(&format!("a\nb{}", "ü".repeat(500)));
    assert!(text.starts_with("a b") && text.ends_with("...") && text.chars().count() == 303);
}
