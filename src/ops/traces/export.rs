//! The way to the collector, and a warning from time to time while there is none.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as Export};
use tracing::{debug, info, warn};
use url::Url;

/// The longest for one batch. A batch is not sent again: the next ones are waiting.
const BATCH: Duration = Duration::from_secs(10);
/// The shortest time between two warnings.
const BETWEEN_WARNINGS: Duration = Duration::from_mins(5);

/// Sends batches, and tells when that does not work.
pub(super) struct Exporter {
    inner: SpanExporter,
    endpoint: String,
    trouble: Mutex<Option<Trouble>>,
}

// By hand: what the collector asks for in a header may be a credential.
impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What is being lost.
#[derive(Debug)]
struct Trouble {
    /// When it was last told.
    told: Instant,
    /// How many spans have been lost since then.
    lost: usize,
}

/// What is worth telling.
#[derive(Debug, PartialEq, Eq)]
enum News {
    /// So many spans were lost since it was last told.
    Lost(usize),
    /// They are taken again.
    Taken,
}

impl Trouble {
    /// Takes in how a batch ended.
    fn after(trouble: &mut Option<Self>, spans: usize, taken: bool, now: Instant) -> Option<News> {
        if taken {
            return trouble.take().map(|_| News::Taken);
        }
        let lost = spans + trouble.as_ref().map_or(0, |trouble| trouble.lost);
        if let Some(trouble) = trouble.as_mut().filter(|trouble| now.duration_since(trouble.told) < BETWEEN_WARNINGS) {
            trouble.lost = lost;
            return None;
        }
        *trouble = Some(Self { told: now, lost: 0 });
        Some(News::Lost(lost))
    }
}

impl Exporter {
    pub(super) fn new(endpoint: &Url) -> anyhow::Result<Self> {
        let endpoint = format!("{}/v1/traces", endpoint.as_str().trim_end_matches('/'));
        // As on the way to ZITADEL: what is meant for one origin goes to no other.
        let client = reqwest::blocking::Client::builder()
            .http1_only()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(BATCH)
            .user_agent(concat!("zitadel-actions-operator/", env!("CARGO_PKG_VERSION")))
            .build()
            .context("the HTTP client for traces cannot be set up")?;
        let inner = SpanExporter::builder()
            .with_http()
            .with_http_client(client)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(&endpoint)
            .build()?;
        Ok(Self { inner, endpoint, trouble: Mutex::default() })
    }

    fn watch(&self, spans: usize, result: &OTelSdkResult) {
        let endpoint = &self.endpoint;
        let error = result.as_ref().err().map(tracing::field::display);
        debug!(endpoint, spans, error, "a batch of spans ended");
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match Trouble::after(&mut trouble, spans, result.is_ok(), Instant::now()) {
            Some(News::Lost(spans)) => {
                warn!(endpoint, spans, error, "traces are lost; the operator works on without them");
            }
            Some(News::Taken) => info!(endpoint, "traces are taken again"),
            None => {}
        }
    }
}

impl Export for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.watch(spans, &result);
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_comes_at_once_and_then_from_time_to_time() {
        let (mut trouble, begun) = (None, Instant::now());
        let mut after =
            |spans, taken, seconds| Trouble::after(&mut trouble, spans, taken, begun + Duration::from_secs(seconds));
        assert_eq!(after(1, true, 0), None);
        assert_eq!(after(2, false, 5), Some(News::Lost(2)));
        assert_eq!(after(3, false, 10), None);
        assert_eq!(after(4, false, 304), None);
        assert_eq!(after(5, false, 305), Some(News::Lost(12)));
        assert_eq!(after(6, false, 310), None);
        assert_eq!(after(7, true, 315), Some(News::Taken));
        assert_eq!(after(8, true, 320), None);
        assert_eq!(after(9, false, 325), Some(News::Lost(9)));
    }
}
