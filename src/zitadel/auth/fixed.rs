//! Personal access tokens: nothing to exchange, only to replace.
//!
//! The source is read for every call. A token that is put in place of one that works serves as soon as it works itself;
//! if ZITADEL refuses it, the former one goes on, and the new one is tried again every minute.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Source;
use super::bearer::Bearer;
use crate::zitadel::Error;

/// How long a refused token is left alone while another one works.
const PAUSE: Duration = Duration::from_mins(1);

/// The tokens of one source.
#[derive(Debug)]
pub(super) struct Fixed {
    source: Source,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The token that ZITADEL took last.
    working: Option<Bearer>,
    /// One that it refused while another one worked, and when to try it again.
    refused: Option<(Bearer, Instant)>,
    /// Whether an unusable content has been told.
    told: bool,
}

impl Fixed {
    pub(super) fn new(source: Source) -> Self {
        Self { source, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn offered(&self) -> Result<Option<Bearer>, Error> {
        Ok(Bearer::new(&self.source.read().await?))
    }

    /// The token to send.
    pub(super) async fn bearer(&self) -> Result<Bearer, Error> {
        let offered = self.offered().await?;
        let mut state = self.state();
        let resting = |bearer: &Bearer, state: &State| {
            state.refused.as_ref().is_some_and(|(refused, until)| refused == bearer && Instant::now() < *until)
        };
        match (offered, state.working.clone()) {
            (Some(offered), Some(working)) if resting(&offered, &state) => Ok(working),
            (Some(offered), _) => Ok(offered),
            (None, Some(working)) => {
                if !std::mem::replace(&mut state.told, true) {
                    tracing::warn!(source = %self.source, "does not hold a token; the former one is still used");
                }
                Ok(working)
            }
            (None, None) => Err(Error::Credential(format!("{} does not hold a token", self.source))),
        }
    }

    /// Notes that ZITADEL took a token.
    pub(super) fn worked(&self, bearer: &Bearer) {
        let mut state = self.state();
        if state.working.as_ref() != Some(bearer) {
            *state = State { working: Some(bearer.clone()), ..State::default() };
        }
    }

    /// Another token than the one that was refused, if there is one.
    pub(super) async fn renew(&self, refused: &Bearer) -> Option<Bearer> {
        let offered = self.offered().await.ok()?;
        let mut state = self.state();
        if state.working.as_ref() == Some(refused) {
            state.working = None;
        }
        if let Some(other) = offered.filter(|offered| offered != refused) {
            return Some(other);
        }
        let working = state.working.clone()?;
        tracing::warn!(source = %self.source, "ZITADEL refuses the new token; the former one is still used");
        state.refused = Some((refused.clone(), Instant::now() + PAUSE));
        Some(working)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zitadel::auth::Slot;
    use secrecy::SecretString;

    fn token(text: &str) -> Bearer {
        Bearer::new(&SecretString::from(text)).unwrap()
    }

    fn put(slot: &Slot, text: &str) {
        slot.set(Some(SecretString::from(text)));
    }

    fn fixture() -> (Slot, Fixed) {
        let slot = Slot::new("the slot");
        (slot.clone(), Fixed::new(Source::Slot(slot)))
    }

    #[tokio::test]
    async fn the_former_token_serves_until_the_new_one_worked() {
        let (slot, tokens) = fixture();
        put(&slot, "old");
        tokens.worked(&tokens.bearer().await.unwrap());
        put(&slot, "bad");
        assert_eq!(tokens.bearer().await.unwrap(), token("bad"), "tried by the next call");
        assert_eq!(tokens.renew(&token("bad")).await, Some(token("old")));
        assert_eq!(tokens.bearer().await.unwrap(), token("old"), "the refused one rests");
        put(&slot, "good");
        assert_eq!(tokens.bearer().await.unwrap(), token("good"));
        tokens.worked(&token("good"));
        assert_eq!(tokens.renew(&token("good")).await, None, "nothing else is there");
    }

    #[tokio::test]
    async fn a_refused_token_is_tried_again_when_the_former_one_ends() {
        let (slot, tokens) = fixture();
        put(&slot, "old");
        tokens.worked(&token("old"));
        put(&slot, "early");
        assert_eq!(tokens.renew(&token("early")).await, Some(token("old")));
        assert_eq!(tokens.renew(&token("old")).await, Some(token("early")));
        assert_eq!(tokens.renew(&token("early")).await, None);
        assert_eq!(tokens.bearer().await.unwrap(), token("early"));
    }

    #[tokio::test]
    async fn what_is_withdrawn_is_not_used_and_what_is_garbled_does_no_harm() {
        let (slot, tokens) = fixture();
        put(&slot, "two words");
        assert_eq!(tokens.bearer().await.unwrap_err().to_string(), "the slot does not hold a token");
        put(&slot, "good");
        tokens.worked(&tokens.bearer().await.unwrap());
        put(&slot, "two words");
        assert_eq!(tokens.bearer().await.unwrap(), token("good"));
        slot.set(None);
        assert_eq!(tokens.bearer().await.unwrap_err().to_string(), "the slot is missing");
        assert_eq!(tokens.renew(&token("good")).await, None);
    }
}
