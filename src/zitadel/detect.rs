//! Which generation a server serves, found without a token: who answers a route with "no token" has the route.
//!
//! Newest first, one probe per mount. A served route answers 401, an absent one 404 with the text of the gateway and
//! nothing else (docs/zitadel/observed.md section 1). Any other answer comes from something in between, or from a
//! server in trouble: it proves neither, and least of all that a newer generation is absent. Then the health service
//! is asked: its 200 SERVING counts; whatever else it says (404 on older servers, 500 on v4 for what it does not know)
//! does not. Knows nothing of targets; [`super::client`] says when to look.

use serde::Deserialize;

use super::Error;
use super::error::ApiError;
use super::generation::{ApiChoice, Mount, Request};
use super::shape::Word;
use super::transport::Answer;

/// Finds the newest mount of those that may be used. A choice with one mount is taken at its word: its first call
/// tells, and a proxy that knows nothing of probes does not matter.
pub(super) async fn detect<F: Future<Output = Result<Answer, Error>>>(
    choice: ApiChoice,
    ask: impl Fn(Request) -> F,
) -> Result<Mount, Error> {
    if let [only] = choice.mounts() {
        return Ok(*only);
    }
    for mount in choice.mounts() {
        let answer = ask(mount.probe().unsigned()).await;
        match judge(&answer) {
            Finding::Served => return Ok(*mount),
            Finding::Absent => {}
            Finding::Unclear(error) => return if serving(*mount, &ask).await { Ok(*mount) } else { Err(error) },
            Finding::Trouble(error) => return Err(error),
        }
    }
    Err(Error::Unserved(format!("every route of the Actions API ({choice}) is unknown to the server")))
}

/// What the answer to a probe says.
enum Finding {
    Served,
    Absent,
    /// Something else than ZITADEL has answered.
    Unclear(Error),
    /// The server, or the way to it, does not work now.
    Trouble(Error),
}

fn judge(answer: &Result<Answer, Error>) -> Finding {
    match answer {
        // Somebody on the way adds a token.
        Ok(_) => Finding::Served,
        Err(Error::Api(error)) if speaks(error) => Finding::Served,
        Err(Error::Api(error)) if error.is_unknown_route() => Finding::Absent,
        Err(error @ Error::Api(ApiError { status: 400..=428, .. })) if !is_unknown_instance(error) => {
            Finding::Unclear(error.clone())
        }
        Err(error @ Error::Unreadable { status: 200..=428, .. }) => Finding::Unclear(error.clone()),
        Err(error) => Finding::Trouble(error.clone()),
    }
}

/// The layers behind the route: authentication, whose errors mostly have no id, or anything that gives one.
fn speaks(error: &ApiError) -> bool {
    (error.status == 401 && error.code == 16) || (error.id.is_some() && (400..429).contains(&error.status))
}

fn is_unknown_instance(error: &Error) -> bool {
    matches!(error, Error::Api(error) if error.is_unknown_instance())
}

/// What the health service says.
#[derive(Debug, Deserialize)]
struct Health {
    #[serde(default)]
    status: Word,
}

impl Health {
    fn is_serving(&self) -> bool {
        self.status.0.as_deref() == Some("SERVING")
    }
}

async fn serving<F: Future<Output = Result<Answer, Error>>>(mount: Mount, ask: &impl Fn(Request) -> F) -> bool {
    let health = Request::new(http::Method::GET, "/healthz").with_query(vec![("service", mount.service().to_owned())]);
    match ask(health.unsigned()).await {
        Ok(answer) => answer.status == 200 && answer.body.parse::<Health>().is_ok_and(|health| health.is_serving()),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zitadel::Api;
    use serde_json::json;

    fn api(status: u16, code: i64, message: &str, id: Option<&str>) -> Result<Answer, Error> {
        Err(Error::Api(ApiError { status, code, message: message.into(), id: id.map(Into::into) }))
    }

    fn no_token() -> Result<Answer, Error> {
        api(401, 16, "auth header missing", None)
    }

    fn no_route() -> Result<Answer, Error> {
        api(404, 5, "Not Found", None)
    }

    fn html(status: u16) -> Result<Answer, Error> {
        Err(Error::Unreadable { status, what: "the body is not JSON".into() })
    }

    async fn found(choice: ApiChoice, answer: impl Fn(&str) -> Result<Answer, Error>) -> Result<Mount, Error> {
        detect(choice, |request: Request| {
            assert!(!request.signed, "a probe carries no token");
            let query: Vec<_> = request.query.iter().map(|(name, value)| format!("?{name}={value}")).collect();
            std::future::ready(answer(&format!("{}{}", request.path, query.concat())))
        })
        .await
    }

    async fn served(paths: &[&str]) -> Result<Mount, Error> {
        found(ApiChoice::Auto, |path| if paths.contains(&path) { no_token() } else { no_route() }).await
    }

    #[tokio::test]
    async fn the_newest_that_answers_is_taken() {
        let on_v4 = ["/v2/actions/executions/functions", "/v2beta/actions/executions/search"];
        assert_eq!(served(&on_v4).await, Ok(Mount::V2));
        assert_eq!(served(&on_v4[1..]).await, Ok(Mount::V2BetaOnV4));
        assert_eq!(served(&["/v2beta/actions/executions/_search"]).await, Ok(Mount::V2BetaOnV3));
        assert_eq!(served(&["/resources/v3alpha/actions/executions/functions"]).await, Ok(Mount::ResourcesV3Alpha));
        assert_eq!(served(&["/executions/functions"]).await, Ok(Mount::Bare));
        assert_eq!(served(&["/v3alpha/executions/functions"]).await, Ok(Mount::V3Alpha));
        assert!(matches!(served(&[]).await, Err(Error::Unserved(_))));
    }

    /// Trouble on the newest route is no proof that it is absent: an older one must not be taken for it.
    #[tokio::test]
    async fn nothing_is_concluded_from_trouble() {
        let troubles = [
            api(404, 5, "unable to set instance using origin x", None),
            api(429, 8, "LIMITS-molsj", Some("LIMITS-molsj")),
            api(500, 13, "Errors.Internal", Some("QUERY-y2u7vctrha")),
            api(503, 14, "unavailable", None),
            Err(Error::Connect("refused".into())),
            Err(Error::NoAnswer("timed out".into())),
            html(502),
        ];
        for trouble in troubles {
            let result = found(ApiChoice::Auto, |path| match path {
                "/v2/actions/executions/functions" => trouble.as_ref().map(|_| unreachable!()).map_err(Clone::clone),
                _ => no_token(),
            });
            assert_eq!(result.await.err(), trouble.err());
        }
    }

    #[tokio::test]
    async fn the_health_service_decides_what_a_proxy_hides() {
        let serving = || Ok(Answer { status: 200, body: json!({"status": "SERVING"}).into() });
        for hidden in [html(404), html(403), html(200), api(403, 7, "forbidden by policy", None)] {
            let hide = |health: Result<Answer, Error>| {
                let hidden = hidden.as_ref().map(|_| unreachable!()).map_err(Clone::clone);
                found(ApiChoice::Auto, move |path| match path {
                    "/healthz?service=zitadel.action.v2.ActionService" => {
                        health.as_ref().map(copy).map_err(Clone::clone)
                    }
                    _ => hidden.as_ref().map(copy).map_err(Clone::clone),
                })
            };
            assert_eq!(hide(serving()).await, Ok(Mount::V2));
            // As v4 answers for a service that it does not have.
            assert_eq!(hide(api(500, 2, "unknown service", None)).await.err(), hidden.as_ref().err().cloned());
            let stopping = Ok(Answer { status: 200, body: json!({"status": "NOT_SERVING"}).into() });
            assert!(hide(stopping).await.is_err());
        }
    }

    fn copy(answer: &Answer) -> Answer {
        Answer { status: answer.status, body: answer.body.clone() }
    }

    #[tokio::test]
    async fn a_choice_with_one_mount_is_taken_at_its_word() {
        let never = |_: &str| panic!("no probe is needed");
        assert_eq!(found(ApiChoice::Only(Api::V2), never).await, Ok(Mount::V2));
        assert_eq!(found(ApiChoice::Only(Api::V3Alpha), never).await, Ok(Mount::V3Alpha));
        let on_v3 = |path: &str| if path.ends_with("/_search") { no_token() } else { no_route() };
        assert_eq!(found(ApiChoice::Only(Api::V2Beta), on_v3).await, Ok(Mount::V2BetaOnV3));
    }
}
