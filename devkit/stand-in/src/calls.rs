//! The call log: every request that reached the server, in order of arrival, with what became of it.

use std::fmt;
use std::time::Duration;

use crate::fault::Op;

/// What the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not answered yet: delayed or held.
    Pending,
    /// This status was sent.
    Status(u16),
    /// The connection was closed without a (whole) answer.
    None,
}

/// One request. Carries no header that could hold a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Time of arrival, since the start of the stand-in.
    pub at: Duration,
    /// The operation; `None` for probes and whatever else is outside of `Op`.
    pub op: Option<Op>,
    /// HTTP method.
    pub method: String,
    /// Path with query.
    pub path: String,
    /// User id behind a valid token.
    pub user: Option<String>,
    /// The header `traceparent`.
    pub traceparent: Option<String>,
    /// Request body as sent.
    pub body: String,
    /// What the client got.
    pub answer: Answer,
}

impl Call {
    /// The status that was sent, if any.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self.answer {
            Answer::Status(code) => Some(code),
            Answer::Pending | Answer::None => None,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let op = self.op.map_or_else(|| "-".to_owned(), |op| format!("{op:?}"));
        let answer = match self.answer {
            Answer::Pending => "pending".to_owned(),
            Answer::Status(code) => code.to_string(),
            Answer::None => "no answer".to_owned(),
        };
        let user = self.user.as_deref().unwrap_or("-");
        write!(f, "{:>9.3}s {op:<8} {} {} by {user} -> {answer}", self.at.as_secs_f64(), self.method, self.path)?;
        if self.body.is_empty() { Ok(()) } else { write!(f, "  {}", self.body) }
    }
}
