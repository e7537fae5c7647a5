//! Error answers: gRPC code, text and (for errors that ZITADEL raised itself) an id, as the gateway turns them into
//! HTTP. Which texts and ids there are is the business of the generations and of the commands.

use http::StatusCode;
use serde_json::{Value, json};

/// gRPC status codes that occur here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Unknown = 2,
    InvalidArgument = 3,
    NotFound = 5,
    AlreadyExists = 6,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Unauthenticated = 16,
}

impl Code {
    fn status(self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::INTERNAL_SERVER_ERROR,
            Self::InvalidArgument | Self::FailedPrecondition => StatusCode::BAD_REQUEST,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::AlreadyExists => StatusCode::CONFLICT,
            Self::PermissionDenied => StatusCode::FORBIDDEN,
            Self::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
            Self::Unimplemented => StatusCode::NOT_IMPLEMENTED,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
        }
    }
}

/// Where an error comes from decides whether its body has `details`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// ZITADEL's own error with this id.
    Zitadel(&'static str),
    /// The same in the newest servers' detail, which calls the id a slug.
    Slug(&'static str),
    /// The gateway, the validation, the instance lookup: no details.
    Bare,
    /// A plain Go error that nobody expected.
    Plain,
}

/// An error answer before it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    code: Code,
    status: StatusCode,
    text: String,
    origin: Origin,
}

impl ApiError {
    pub(crate) fn zitadel(code: Code, id: &'static str, text: &str) -> Self {
        Self { code, status: code.status(), text: text.to_owned(), origin: Origin::Zitadel(id) }
    }

    pub(crate) fn bare(code: Code, text: impl Into<String>) -> Self {
        Self { code, status: code.status(), text: text.into(), origin: Origin::Bare }
    }

    pub(crate) fn plain(text: impl Into<String>) -> Self {
        Self { code: Code::Unknown, status: Code::Unknown.status(), text: text.into(), origin: Origin::Plain }
    }

    pub(crate) fn not_found() -> Self {
        Self::bare(Code::NotFound, "Not Found")
    }

    /// Wrong method on a known path: the code says 501, the gateway 405 (from v2.55.0).
    pub(crate) fn method_not_allowed() -> Self {
        Self { status: StatusCode::METHOD_NOT_ALLOWED, ..Self::bare(Code::Unimplemented, "Method Not Allowed") }
    }

    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::bare(Code::InvalidArgument, text)
    }

    /// Translates the text when ZITADEL raised the error itself.
    pub(crate) fn localized(mut self, translate: impl Fn(&str) -> Option<&'static str>) -> Self {
        if let (Origin::Zitadel(_) | Origin::Slug(_), Some(text)) = (self.origin, translate(&self.text)) {
            text.clone_into(&mut self.text);
        }
        self
    }

    /// With a slug where there is an id.
    pub(crate) fn slugged(mut self) -> Self {
        if let Origin::Zitadel(id) = self.origin {
            self.origin = Origin::Slug(id);
        }
        self
    }

    pub(crate) fn status(&self) -> StatusCode {
        self.status
    }

    /// The `WWW-Authenticate` header of a 401: the message, as observed.
    pub(crate) fn challenge(&self) -> Option<String> {
        (self.status == StatusCode::UNAUTHORIZED).then(|| self.message())
    }

    fn message(&self) -> String {
        match self.origin {
            Origin::Zitadel(id) | Origin::Slug(id) => format!("{} ({id})", self.text),
            Origin::Bare | Origin::Plain => self.text.clone(),
        }
    }

    /// `wraps_plain`: newer servers wrap plain errors in their own detail, without an id (v4.13.1, observed).
    pub(crate) fn body(&self, wraps_plain: bool) -> Value {
        const DETAIL: &str = "type.googleapis.com/zitadel.v1.ErrorDetail";
        const SLUG_DETAIL: &str = "type.googleapis.com/zitadel.error.v2.ErrorDetail";
        let code = self.code as u8;
        match self.origin {
            Origin::Zitadel(id) => json!({
                "code": code,
                "message": self.message(),
                "details": [{ "@type": DETAIL, "id": id, "message": self.text }],
            }),
            Origin::Slug(slug) => json!({
                "code": code,
                "message": self.message(),
                "details": [{ "@type": SLUG_DETAIL, "slug": slug, "message": self.text }],
            }),
            Origin::Plain if wraps_plain => json!({
                "code": code,
                "message": format!("{} ()", self.text),
                "details": [{ "@type": DETAIL, "message": self.text }],
            }),
            Origin::Bare | Origin::Plain => json!({ "code": code, "message": self.text }),
        }
    }
}
