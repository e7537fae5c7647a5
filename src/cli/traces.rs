//! The flags that say where traces go, under OpenTelemetry's names for the variables.
//!
//! The sampler counts, and is looked at, only where there is an endpoint: in some clusters each pod gets such variables.

use clap::Args;
use opentelemetry_sdk::trace::Sampler;
use url::Url;

use crate::ops::traces::Settings;

#[derive(Debug, Args)]
pub(super) struct TraceArgs {
    /// Collector that traces are sent to by OTLP over HTTP, such as http://collector:4318; /v1/traces is added. None by default
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL", hide_env_values = true)]
    otlp_endpoint: Option<String>,

    /// Which passes are traced: always_on, always_off, traceidratio, or one of them after parentbased_
    #[arg(long, env = "OTEL_TRACES_SAMPLER", value_name = "SAMPLER", default_value = "parentbased_always_on")]
    traces_sampler: String,

    /// The part of them that traceidratio takes, from 0 to 1
    #[arg(long, env = "OTEL_TRACES_SAMPLER_ARG", value_name = "RATIO", default_value = "1")]
    traces_sampler_arg: String,
}

impl TraceArgs {
    /// Where traces go, if anywhere.
    ///
    /// # Errors
    /// One line about what is wrong.
    pub(super) fn settings(&self) -> Result<Option<Settings>, String> {
        let Some(text) = self.otlp_endpoint.as_deref().filter(|text| !text.is_empty()) else { return Ok(None) };
        let endpoint = endpoint(text).map_err(|why| format!("error: --otlp-endpoint: {why} (see --help)"))?;
        Ok(Some(Settings { endpoint, sampler: self.sampler()? }))
    }

    fn sampler(&self) -> Result<Sampler, String> {
        let name = if self.traces_sampler.is_empty() { "parentbased_always_on" } else { &self.traces_sampler };
        let plain = match name.strip_prefix("parentbased_").unwrap_or(name) {
            "always_on" => Sampler::AlwaysOn,
            "always_off" => Sampler::AlwaysOff,
            "traceidratio" => Sampler::TraceIdRatioBased(self.ratio()?),
            _ => return Err(format!("error: --traces-sampler: {name:?} is none that this program has (see --help)")),
        };
        Ok(if name.starts_with("parentbased_") { Sampler::ParentBased(Box::new(plain)) } else { plain })
    }

    fn ratio(&self) -> Result<f64, String> {
        let ratio = if self.traces_sampler_arg.is_empty() { Ok(1.0) } else { self.traces_sampler_arg.parse() };
        let ratio = ratio.ok().filter(|ratio| (0.0..=1.0).contains(ratio));
        ratio.ok_or_else(|| "error: --traces-sampler-arg: write a number from 0 to 1 (see --help)".to_owned())
    }
}

/// User and password are refused: the endpoint is told in the log. What authenticates goes into a header.
fn endpoint(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    let url = url.ok_or("write an http or https URL, such as http://collector:4318")?;
    let plain = url.query().is_none() && url.fragment().is_none();
    if !plain || !url.username().is_empty() || url.password().is_some() {
        return Err("write scheme, host, port and path only");
    }
    Ok(url)
}
