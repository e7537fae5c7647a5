//! The process metrics that every Prometheus client exposes, read from `/proc/self`.

use std::fs;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

/// Clock ticks a second in `/proc`: USER_HZ, 100 on every Linux architecture.
const TICKS: f64 = 100.0;

/// Reads `/proc/self` on every scrape; a field that cannot be read is left out.
#[derive(Debug)]
pub struct Process;

#[derive(Debug, Default)]
struct Reading {
    cpu_seconds: Option<f64>,
    resident_bytes: Option<f64>,
    open_fds: Option<f64>,
    max_fds: Option<f64>,
    start_seconds: Option<f64>,
}

impl Reading {
    fn take() -> Self {
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        // Fields are counted after the command, which is in parentheses and may hold spaces.
        let fields: Vec<&str> =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        let field = |index: usize| fields.get(index).and_then(|text| text.parse::<f64>().ok());
        let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot =
            boot.lines().find_map(|line| line.strip_prefix("btime ")).and_then(|text| text.trim().parse::<f64>().ok());
        // Not the page count of `stat`: pages are larger on some arm64 kernels.
        let memory = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = memory.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
        let max = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        Self {
            cpu_seconds: field(11).zip(field(12)).map(|(user, system)| (user + system) / TICKS),
            resident_bytes: resident
                .and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok())
                .map(|kb| kb * 1024.0),
            open_fds: fs::read_dir("/proc/self/fd").ok().map(|entries| entries.map(|_| 1.0).sum()),
            max_fds: max.and_then(|rest| rest.split_whitespace().next()).and_then(|text| text.parse().ok()),
            start_seconds: boot.zip(field(19)).map(|(boot, ticks)| boot + ticks / TICKS),
        }
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let reading = Reading::take();
        let cpu = "Total user and system CPU time spent in seconds";
        if let Some(value) = reading.cpu_seconds {
            let counter = ConstCounter::new(value);
            let metric: MetricEncoder<'_> =
                encoder.encode_descriptor("process_cpu_seconds", cpu, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        let gauges = [
            ("process_resident_memory_bytes", "Resident memory size in bytes", reading.resident_bytes),
            ("process_open_fds", "Number of open file descriptors", reading.open_fds),
            ("process_max_fds", "Maximum number of open file descriptors", reading.max_fds),
            (
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds",
                reading.start_seconds,
            ),
        ];
        for (name, help, value) in gauges {
            if let Some(value) = value {
                let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
                ConstGauge::new(value).encode(metric)?;
            }
        }
        Ok(())
    }
}

/// A duration in seconds, for histograms.
#[must_use]
pub fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}
