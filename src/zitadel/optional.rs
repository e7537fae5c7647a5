//! What a connection asks for and can do without: own user, instance, version and issuer, and the event store.
//!
//! None of it fails a connection. Each read has a short time-out of its own, and what does not work is remembered, so
//! that a thousand objects do not find it out one by one.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::account::Stranger;
use super::capability::{Capabilities, Capability, Missing};
use super::client::Op;
use super::events::{self, EventQuery, Progress, TargetEvent};
use super::fault::Silence;
use super::generation::{Api, PAGE, Patience, Request, readable};
use super::pages::endless;
use super::shape::Word;
use super::transport::{Answer, Cap};
use super::{Client, Error, Identity};

/// Most memory that one answer of the event store may need: some 20 000 events.
const MOST_BYTES: usize = 8 << 20;
/// Longest time for one question to the event store, however many pages its answer has.
const LONGEST_STORY: Duration = Duration::from_mins(1);

impl Client {
    /// Who we are, as far as the server tells. All is asked at once: none of it may cost the proof more than one short
    /// time-out.
    pub(super) async fn identify(&self, api: Api) -> Identity {
        // Boxed: a pass holds room for its longest call, and three at once are long.
        let (me, instance, newest) = tokio::join!(
            Box::pin(self.read_optional("/auth/v1/users/me")),
            Box::pin(self.read_optional("/admin/v1/instances/me")),
            self.ask_events(&EventQuery::Last)
        );
        if newest.is_ok() {
            // No event at all: whatever comes is newer than the beginning of time.
            self.note([Some(Timestamp::UNIX_EPOCH)]);
        }
        let capability = |answer: &Result<Answer, Error>, value: Option<&String>| match (answer, value) {
            // Something answers, and it is not ZITADEL.
            (Ok(_), None) => Capability::Missing(Missing::NotServed),
            _ => Capability::of(answer),
        };
        let found = read::<Instance>(&instance).instance;
        let (own, id) = (self.tokens.own_user().map(str::to_owned), found.id.0);
        // A system user is in no projection: it is asked for all the same, to be no special case of another kind.
        let user = read::<Me>(&me).user.id.0.or(own);
        self.ledger().open(user.as_deref(), self.server_now());
        let capabilities = Capabilities {
            events: self.event_search(),
            identity: if user.is_some() { Capability::Available } else { capability(&me, None) },
            version: capability(&instance, id.as_ref()),
        };
        Identity { api, instance: id, user, server_version: found.version.0, capabilities }
    }

    /// Asks once more for what a connection can do without.
    ///
    /// # Errors
    /// Before the first [`Self::connect`].
    pub async fn identify_again(&self) -> Result<Identity, Error> {
        let api = self.mount()?.api();
        Ok(self.identify(api).await)
    }

    /// Whether the event store could be searched when it was asked last.
    #[must_use]
    pub fn event_search(&self) -> Capability {
        self.search().capability()
    }

    /// What shows that others use our account, if anything does.
    #[must_use]
    pub fn stranger(&self) -> Option<Stranger> {
        self.ledger().stranger()
    }

    fn search(&self) -> std::sync::MutexGuard<'_, super::capability::EventSearch> {
        self.search.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The issuer that the server names for itself, where it tells: nothing depends on it.
    pub async fn issuer(&self) -> Option<String> {
        let request = Request::new(Method::GET, "/.well-known/openid-configuration").unsigned();
        let answer = self.call(Op::Identity, &request.with_patience(Patience::Optional), Cap::One).await.ok()?;
        answer.body.parse::<Discovery>().ok()?.issuer.0
    }

    async fn read_optional(&self, path: &str) -> Result<Answer, Error> {
        let request = Request::new(Method::GET, path).with_patience(Patience::Optional);
        self.call(Op::Identity, &request, Cap::One).await
    }

    /// Reads the event store, questions with many answers until the end.
    ///
    /// A question that nothing depends on is not sent while the event store is known not to answer.
    ///
    /// # Errors
    /// [`Error::NotAvailable`] where the event store cannot be searched on this connection.
    pub async fn events(&self, query: &EventQuery) -> Result<Vec<TargetEvent>, Error> {
        self.admits(query)?;
        self.ask_events(query).await
    }

    /// The same, whatever is known of the event store.
    async fn ask_events(&self, query: &EventQuery) -> Result<Vec<TargetEvent>, Error> {
        let whole = tokio::time::timeout(LONGEST_STORY, Box::pin(self.pages_of_events(query)));
        let result = whole.await.unwrap_or(Err(Error::NoAnswer(Silence::Within(LONGEST_STORY))));
        match &result {
            // A slow answer is one for those who can wait; it does not promise a quick one.
            Ok(_) if query.is_needed() && self.event_search() == Capability::Missing(Missing::NotAnswering) => result,
            Ok(_) => {
                self.search().learn(Capability::Available);
                result
            }
            Err(error) if speaks_of_more(error) => result,
            Err(error) => {
                let why = Missing::of(error);
                self.search().learn(Capability::Missing(why));
                match why {
                    Missing::NotAnswering => result,
                    Missing::NotPermitted | Missing::NotServed => Err(Error::NotAvailable(why)),
                }
            }
        }
    }

    fn admits(&self, query: &EventQuery) -> Result<(), Error> {
        let mut search = self.search();
        match search.capability() {
            Capability::Missing(Missing::NotAnswering) if query.is_needed() => Ok(()),
            _ => search.admits().map_err(Error::NotAvailable),
        }
    }

    async fn pages_of_events(&self, query: &EventQuery) -> Result<Vec<TargetEvent>, Error> {
        let mut all: Vec<TargetEvent> = Vec::new();
        // The position of an event in the history of its target: pages overlap.
        let mut seen = HashSet::new();
        let mut bytes = 0;
        let mut query = query.clone();
        loop {
            let answer = self.call(Op::Events, &events::search(&query), Cap::Page).await?;
            let page = readable(answer.status, events::found(&answer.body))?;
            self.note(page.iter().map(|event| Some(event.date)));
            self.ledger().audit(&page);
            let full = page.len() >= PAGE;
            let (last, before) = (page.iter().map(|event| event.date).max(), all.len());
            let news = page.into_iter().filter(|event| seen.insert((event.id.clone(), event.sequence)));
            all.extend(news.inspect(|event| bytes += events::size_of_event(event)));
            if bytes > MOST_BYTES {
                return Err(endless(&format!("it needs more than {} MiB", MOST_BYTES >> 20)));
            }
            let progress = if all.len() > before { Progress::News } else { Progress::Repetition };
            match last.filter(|_| full).and_then(|last| query.after(last, progress)) {
                Some(next) => query = next,
                None => return Ok(all),
            }
        }
    }
}

/// `GET /auth/v1/users/me`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct Me {
    #[serde(default)]
    user: Named,
}

/// `GET /admin/v1/instances/me`, as far as it matters.
#[derive(Debug, Default, Deserialize)]
struct Instance {
    #[serde(default)]
    instance: Named,
}

#[derive(Debug, Default, Deserialize)]
struct Named {
    #[serde(default)]
    id: Word,
    #[serde(default)]
    version: Word,
}

#[derive(Debug, Deserialize)]
struct Discovery {
    #[serde(default)]
    issuer: Word,
}

fn read<T: Default + DeserializeOwned>(answer: &Result<Answer, Error>) -> T {
    answer.as_ref().ok().and_then(|answer| answer.body.parse().ok()).unwrap_or_default()
}

/// Whether an error says nothing of the event store: no call could be sent at all, or the token was refused.
fn speaks_of_more(error: &Error) -> bool {
    let unsent = matches!(error, Error::Credential(_) | Error::NoToken(_) | Error::Setup(_) | Error::Connect(_));
    unsent || error.refuses_token()
}
