//! Logs, set up the same way in every process. What a line of JSON has is [`line`](super::line)'s.

use super::errors::{self, Level};
use super::line;
use serde::{Deserialize, Serialize};
use std::fmt::Result as FmtResult;
use std::fs::File;
use std::path::{Path, PathBuf};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// The log file cannot be opened.
#[derive(Debug, thiserror::Error)]
#[error("cannot open the log file {path}; choose another --run-dir or --runs-dir")]
pub struct LogFileError {
    path: PathBuf,
    source: std::io::Error,
}

/// Sends logs to standard error, at level `info` or as `RUST_LOG` says. With a file everything goes there and only
/// warnings also to standard error, so that a progress display stays readable.
///
/// # Errors
/// The file cannot be opened.
pub fn init(format: LogFormat, file: Option<&Path>) -> Result<(), LogFileError> {
    let registry = tracing_subscriber::registry();
    // A second call, as tests make it, keeps the first subscriber.
    let _ = match file {
        None => registry.with(layer(format, std::io::stderr).with_filter(filter())).try_init(),
        Some(path) => {
            // A run that goes on keeps what its earlier processes logged.
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|source| LogFileError { path: path.into(), source })?;
            let warnings = layer(format, std::io::stderr).with_filter(LevelFilter::WARN);
            registry.with(layer(format, file).with_filter(filter())).with(warnings).try_init()
        }
    };
    Ok(())
}

/// What is logged: as `RUST_LOG` says, else from level `info` on.
fn filter() -> EnvFilter {
    let builder = || EnvFilter::builder().with_default_directive(LevelFilter::INFO.into());
    let chosen = std::env::var(EnvFilter::DEFAULT_ENV).unwrap_or_default();
    builder().parse(&chosen).unwrap_or_else(|error| {
        errors::tell(Level::Warn, format_args!("RUST_LOG={chosen:?} is no filter and is ignored: {error}"));
        builder().parse_lossy("")
    })
}

pub(super) fn layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Human => fmt::layer().with_target(false).with_ansi(false).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer().event_format(JsonLines).with_writer(writer).boxed(),
    }
}

/// One JSON object a line.
struct JsonLines;

impl<S, N> FormatEvent<S, N> for JsonLines
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &fmt::FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &tracing::Event<'_>,
    ) -> FmtResult {
        writeln!(writer, "{}", line::event(event))
    }
}
