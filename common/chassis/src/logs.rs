//! Log lines: text for people or JSON for collectors, each level to its own stream, as upstream's keys say.

use std::io::{self, IsTerminal as _, Write};

use fogflow_config::{Config, LogFormat, LogLevel, LogTarget, LoggingConfig};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::telemetry;

/// Keeps the exporter of traces; dropping it sends what waits.
#[must_use]
pub struct LogGuard {
    _traces: Option<telemetry::Exporter>,
}

/// Installs the process's subscriber. A second call changes nothing. Must run within a tokio runtime when traces are exported.
pub fn init(config: &Config, service: &str) -> LogGuard {
    let filter = std::env::var("RUST_LOG").ok().filter(|text| !text.is_empty()).unwrap_or_else(|| filter_of(&config.logging));
    let writer = Streams::new(&config.logging);
    let base = tracing_subscriber::fmt::layer().with_writer(writer).with_target(true).log_internal_errors(false);
    let lines = match config.logging.format {
        LogFormat::Json => base.json().flatten_event(true).boxed(),
        LogFormat::Text => base.with_ansi(io::stdout().is_terminal() && io::stderr().is_terminal()).boxed(),
    };
    let (traces, exporter) = telemetry::layer(config, service);
    let installed = tracing_subscriber::registry().with(traces).with(lines.with_filter(EnvFilter::new(filter))).try_init();
    LogGuard { _traces: installed.ok().and(exporter) }
}

/// The level that the targets imply; libraries that are talkative at `info` stay quiet.
fn filter_of(logging: &LoggingConfig) -> String {
    let level = logging.level.unwrap_or(match logging {
        LoggingConfig { protocol: LogTarget::Stdout | LogTarget::Stderr, debug: LogTarget::Stdout | LogTarget::Stderr, .. } => {
            LogLevel::Trace
        }
        LoggingConfig { debug: LogTarget::Stdout | LogTarget::Stderr, .. } => LogLevel::Debug,
        LoggingConfig { info: LogTarget::Stdout | LogTarget::Stderr, .. } => LogLevel::Info,
        _ => LogLevel::Warn,
    });
    let word = match level {
        LogLevel::Error => "error",
        LogLevel::Warn => "warn",
        LogLevel::Info => "info",
        LogLevel::Debug => "debug",
        LogLevel::Trace => "trace",
    };
    format!("{word},hyper=warn,reqwest=warn,lapin=warn,fjall=warn,lsm_tree=warn,h2=warn,rustls=warn,opentelemetry=warn,tokio_postgres=warn")
}

#[derive(Clone, Debug)]
struct Streams {
    error: LogTarget,
    info: LogTarget,
    debug: LogTarget,
    protocol: LogTarget,
}

impl Streams {
    fn new(logging: &LoggingConfig) -> Self {
        // `logging.level` asks for lines of a level whose target is discarded: they follow the normal ones.
        let or_info = |target: LogTarget| if target == LogTarget::Discard && logging.level.is_some() { logging.info } else { target };
        Streams { error: logging.error, info: logging.info, debug: or_info(logging.debug), protocol: or_info(logging.protocol) }
    }

    fn open(target: LogTarget) -> Box<dyn Write> {
        match target {
            LogTarget::Stdout => Box::new(io::stdout().lock()),
            LogTarget::Stderr => Box::new(io::stderr().lock()),
            LogTarget::Discard => Box::new(io::sink()),
        }
    }
}

impl<'a> MakeWriter<'a> for Streams {
    type Writer = Box<dyn Write>;

    fn make_writer(&'a self) -> Self::Writer {
        Self::open(self.info)
    }

    fn make_writer_for(&'a self, meta: &Metadata<'_>) -> Self::Writer {
        Self::open(match *meta.level() {
            Level::ERROR | Level::WARN => self.error,
            Level::INFO => self.info,
            Level::DEBUG => self.debug,
            Level::TRACE => self.protocol,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logging(change: impl FnOnce(&mut LoggingConfig)) -> LoggingConfig {
        let mut logging = LoggingConfig::default();
        change(&mut logging);
        logging
    }

    #[test]
    fn the_level_follows_upstreams_targets_unless_it_is_given() {
        for (logging, level) in [
            (logging(|_| {}), "info"),
            (logging(|l| l.debug = LogTarget::Stdout), "debug"),
            (logging(|l| (l.debug, l.protocol) = (LogTarget::Stdout, LogTarget::Stdout)), "trace"),
            (logging(|l| l.info = LogTarget::Discard), "warn"),
            (logging(|l| l.level = Some(LogLevel::Error)), "error"),
        ] {
            assert!(filter_of(&logging).starts_with(&format!("{level},")), "{logging:?}: {}", filter_of(&logging));
        }
    }

    #[test]
    fn a_level_that_is_asked_for_is_not_lost_in_a_discarded_target() {
        let streams = Streams::new(&logging(|l| l.level = Some(LogLevel::Debug)));
        assert_eq!(streams.debug, LogTarget::Stdout);
        assert_eq!(Streams::new(&logging(|_| {})).debug, LogTarget::Discard);
    }
}
