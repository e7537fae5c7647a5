//! Executions that interrupt a call: what the caller gets when somebody's target on the call's method fails. No target
//! is called; a test says what became of it. Every answer here was observed on v2.58.7, v2.71.19, v3.4.9, v4.13.1 and a
//! build of v4 from July 2026, and read in internal/execution/execution.go (`HandleResponse`).

use crate::generation::Dialect;
use crate::wire::error::{ApiError, Code};

/// How the target of an execution with `interruptOnError` fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Interruption {
    /// It answers a status outside of 200 to 299. The caller gets 400 code 9 `EXEC-dra6yamk98`; of `v3alpha` 500 code 2
    /// with the id in the text only.
    Failed,
    /// It refuses the connection: 500 code 2 without an id, and a text that quotes the target's endpoint.
    Unreachable,
    /// It answers 200 with `forwardedStatusCode` and `forwardedErrorMessage`. The caller gets a 4xx as it is, with the
    /// gRPC code of that status and the id `EXEC-reUaUZCzCp` (412 and others without a code of their own: 500 code 2),
    /// and anything else as 400 code 9 `EXEC-bmhNhpcqpF`. `v3alpha` does not know of it and goes on.
    Forwarded(u16, String),
}

impl Interruption {
    /// What the caller gets; `None` when this server does not call it a failure.
    pub(crate) fn error(&self, dialect: &dyn Dialect) -> Option<ApiError> {
        const ENDPOINT: &str = "http://203.0.113.10/dead";
        const FAILED: &str = "EXEC-dra6yamk98";
        match self {
            Self::Failed if dialect.forwards_execution_errors() => {
                Some(ApiError::zitadel(Code::FailedPrecondition, FAILED, "Execution failed"))
            }
            Self::Failed => Some(ApiError::plain(format!("ID={FAILED} Message=Errors.Execution.Failed"))),
            Self::Unreachable => {
                let cause = "dial tcp 203.0.113.10:80: connect: connection refused";
                Some(ApiError::plain(format!("Post \"{ENDPOINT}\": {cause}")))
            }
            Self::Forwarded(status, text) => dialect.forwards_execution_errors().then(|| forwarded(*status, text)),
        }
    }
}

/// internal/api/http, `HTTPStatusCodeToZitadelError`.
fn forwarded(status: u16, text: &str) -> ApiError {
    if !(400..500).contains(&status) {
        return ApiError::zitadel(Code::FailedPrecondition, "EXEC-bmhNhpcqpF", text);
    }
    let code = match status {
        400 => Code::InvalidArgument,
        401 => Code::Unauthenticated,
        403 => Code::PermissionDenied,
        404 => Code::NotFound,
        409 => Code::AlreadyExists,
        429 => Code::ResourceExhausted,
        _ => Code::Unknown,
    };
    ApiError::zitadel(code, "EXEC-reUaUZCzCp", text)
}

/// When an execution runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// After token and permission, before validation.
    Request,
    /// When the call has succeeded; a call that failed is answered as it is.
    Response,
}

/// What is out of the ordinary about the handling of one request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Course<'a> {
    Ordinary,
    /// What a create writes is never shown by a read.
    Ghost,
    Interrupted(Phase, &'a Interruption),
}

impl Course<'_> {
    /// Refuses when there is an execution of this phase that interrupts.
    pub(crate) fn pass(&self, phase: Phase, dialect: &dyn Dialect) -> Result<(), ApiError> {
        match self {
            Self::Interrupted(own, interruption) if *own == phase => interruption.error(dialect).map_or(Ok(()), Err),
            _ => Ok(()),
        }
    }
}
