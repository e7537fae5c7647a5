//! The parameters of a token request, as Go's `http.Request.Form` has them: of the query, and of the body when it is a
//! form; and the client that HTTP basic names.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use form_urlencoded::Serializer;
use http::Method;

use crate::request::Request;

/// Parameters whose values never reach the call log.
const SECRETS: [&str; 3] = ["assertion", "client_assertion", "client_secret"];

pub(super) struct Form {
    parameters: Vec<(String, String)>,
}

impl Form {
    pub(super) fn of(request: &Request) -> Self {
        let is_form = request.header("content-type").is_some_and(|kind| {
            kind.split(';').next().unwrap_or_default().trim() == "application/x-www-form-urlencoded"
        });
        let body = if is_form && request.method == Method::POST { request.body.as_str() } else { "" };
        let parsed = [body, &request.query].map(|text| form_urlencoded::parse(text.as_bytes()).into_owned());
        Self { parameters: parsed.into_iter().flatten().collect() }
    }

    /// The first value. Absent and empty are different: an empty scope is a scope.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The value, where absent and empty mean the same.
    pub(super) fn text(&self, name: &str) -> &str {
        self.value(name).unwrap_or_default()
    }

    pub(super) fn redacted(&self) -> String {
        let mut out = Serializer::new(String::new());
        for (name, value) in &self.parameters {
            out.append_pair(name, if SECRETS.contains(&name.as_str()) { "REDACTED" } else { value });
        }
        out.finish()
    }
}

/// Who asks for a token of its own.
pub(super) struct Client {
    pub(super) id: String,
    pub(super) secret: String,
}

impl Client {
    /// Of the form, unless HTTP basic names one. RFC 6749 2.3.1 wants both parts form-encoded there.
    pub(super) fn of(request: &Request, form: &Form) -> Self {
        let of_form = || Self { id: form.text("client_id").to_owned(), secret: form.text("client_secret").to_owned() };
        request.header("authorization").and_then(basic).unwrap_or_else(of_form)
    }
}

fn basic(header: &str) -> Option<Client> {
    let (scheme, encoded) = header.split_once(' ')?;
    let decoded = BASE64_STANDARD.decode(encoded).ok().filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = String::from_utf8(decoded).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    Some(Client { id: unescaped(id), secret: unescaped(secret) })
}

fn unescaped(text: &str) -> String {
    let pair = format!("v={text}");
    form_urlencoded::parse(pair.as_bytes()).map(|(_, value)| value.into_owned()).next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn request(headers: &[(&'static str, &str)], body: &str) -> Request {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
        Request {
            method: Method::POST,
            raw_path: "/oauth/v2/token".to_owned(),
            query: "scope=a".to_owned(),
            headers: headers.collect::<HeaderMap>(),
            body: body.to_owned(),
        }
    }

    #[test]
    fn only_a_form_is_read_and_the_query_comes_second() {
        let kind = |kind| request(&[("content-type", kind)], "scope=b+c&x=%2F");
        let form = Form::of(&kind("application/x-www-form-urlencoded; charset=utf-8"));
        assert_eq!((form.value("scope"), form.text("x"), form.value("y")), (Some("b c"), "/", None));
        assert_eq!(Form::of(&kind("application/json")).value("scope"), Some("a"));
    }

    #[test]
    fn basic_wins_and_is_unescaped() {
        let header = format!("Basic {}", BASE64_STANDARD.encode("a%3Ab:p+q%2B"));
        let with_basic = request(&[("authorization", &header)], "");
        let client = Client::of(&with_basic, &Form::of(&with_basic));
        assert_eq!((client.id.as_str(), client.secret.as_str()), ("a:b", "p q+"));
    }

    #[test]
    fn secrets_do_not_reach_the_log() {
        let form = "application/x-www-form-urlencoded";
        let sent = request(&[("content-type", form)], "grant_type=x&assertion=s3cret&client_secret=s3cret");
        assert_eq!(Form::of(&sent).redacted(), "grant_type=x&assertion=REDACTED&client_secret=REDACTED&scope=a");
    }
}
