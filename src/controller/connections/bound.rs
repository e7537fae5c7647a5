//! How far the event store has come, read right before a claim.
//!
//! Every create needs one that was asked for after its reconcile decided to claim. Those that ask while a call is under
//! way share the next one, so a burst of creates costs two calls and not one each.

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::plan::facts;
use crate::zitadel::events::EventQuery;
use crate::zitadel::{Client, Error};

/// The newest answer of one connection, and when it was asked for.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    last: Mutex<Option<(Instant, Result<facts::Bound, Error>)>>,
}

impl Bound {
    /// As of now or later.
    ///
    /// # Errors
    /// As [`Client::events`].
    pub(crate) async fn newest(&self, client: &Client) -> Result<facts::Bound, Error> {
        let wanted = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((asked, newest)) = &*last
            && *asked >= wanted
        {
            return newest.clone();
        }
        let asked = Instant::now();
        let recent = EventQuery::Recent(facts::Bound::ASKED);
        let newest = client.events(&recent).await.map(|events| facts::Bound::of(&events));
        *last = Some((asked, newest.clone()));
        newest
    }
}
