//! The date of the newest event of any target, read right before a claim.
//!
//! Every create needs one that was asked for after its reconcile decided to claim. Those that ask while a call is under
//! way share the next one, so a burst of creates costs two calls and not one each.

use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::zitadel::events::EventQuery;
use crate::zitadel::{Client, Error};

/// The newest answer of one connection, and when it was asked for.
#[derive(Debug, Default)]
pub(super) struct Bound {
    last: Mutex<Option<(Instant, Result<Option<Timestamp>, Error>)>>,
}

impl Bound {
    /// Date of the newest event, none if there is none, as of now or later.
    ///
    /// # Errors
    /// As [`Client::events`].
    pub(super) async fn newest(&self, client: &Client) -> Result<Option<Timestamp>, Error> {
        let wanted = Instant::now();
        let mut last = self.last.lock().await;
        if let Some((asked, newest)) = &*last
            && *asked >= wanted
        {
            return newest.clone();
        }
        let asked = Instant::now();
        let newest = client.events(&EventQuery::Last).await.map(|events| events.first().map(|event| event.date));
        *last = Some((asked, newest.clone()));
        newest
    }
}
