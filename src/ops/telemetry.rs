//! Logs: JSON for machines, text for people, to standard error. And where spans go that traces are made of.

use std::fmt;

use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry, reload};

use super::traces::{self, Traces};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Text.
    Human,
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Json => "json",
            Self::Human => "human",
        })
    }
}

/// How much is logged, which may be changed at any time.
#[derive(Debug, Clone)]
pub struct Level(reload::Handle<EnvFilter, Registry>);

impl Level {
    /// Logs what this filter lets through from now on, and tells so.
    ///
    /// # Errors
    /// Why the text is no filter.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let parsed = EnvFilter::try_new(filter).map_err(|error| format!("{filter:?} is no filter: {error}"))?;
        self.0.reload(parsed).map_err(|error| error.to_string())?;
        // At a level that nearly every filter shows: who reads the log should know why it changes.
        tracing::warn!(level = %self, "the log level was changed");
        Ok(())
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The subscriber lives as long as the process.
        let shown = self.0.with_current(ToString::to_string).unwrap_or_default();
        f.write_str(&shown)
    }
}

/// Sets up logging for the process, and the traces, which no filter of the log concerns.
///
/// # Errors
/// When `filter` is no filter, or logging was set up before.
pub fn install(format: LogFormat, filter: &str, traces: Option<&Traces>) -> anyhow::Result<Level> {
    let (filter, handle) = reload::Layer::new(EnvFilter::try_new(filter)?);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed(),
        LogFormat::Human => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
    };
    // A call within a pass is no place of its own to the log: its lines are those of the pass.
    let lines = lines.with_filter(filter.and(filter_fn(|metadata| !traces::is_call(metadata))));
    let spans = traces.map(Traces::layer);
    let all = tracing_subscriber::registry().with(lines).with(spans);
    all.try_init().map_err(|error| anyhow::anyhow!("logging cannot be set up: {error}"))?;
    Ok(Level(handle))
}
