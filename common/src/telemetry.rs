//! Logs, the Prometheus endpoint and the probes beside it, set up the same way in every process. Which metrics exist is the
//! business of each crate's `metrics.rs`.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::filter::{EnvFilter, LevelFilter};
use tracing_subscriber::fmt;
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

/// Why telemetry could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The log file cannot be created.
    #[error("cannot create the log file {path}")]
    LogFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The metrics address cannot be bound.
    #[error("cannot listen for metrics on {address}; choose another --metrics-listen (port 0 takes a free one)")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The recorder cannot be installed.
    #[error("cannot install the metrics recorder: {0}")]
    Recorder(String),
}

/// Sends logs to standard error, at level `info` or as `RUST_LOG` says. With a file everything goes there and only
/// warnings also to standard error, so that a progress display stays readable.
///
/// # Errors
/// The file cannot be created.
pub fn init_logs(format: LogFormat, file: Option<&Path>) -> Result<(), TelemetryError> {
    let filter = || EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).from_env_lossy();
    let registry = tracing_subscriber::registry();
    // A second call, as tests make it, keeps the first subscriber.
    let _ = match file {
        None => registry.with(layer(format, std::io::stderr).with_filter(filter())).try_init(),
        Some(path) => {
            let file = File::create(path).map_err(|source| TelemetryError::LogFile { path: path.into(), source })?;
            let warnings = layer(format, std::io::stderr).with_filter(LevelFilter::WARN);
            registry.with(layer(format, file).with_filter(filter())).with(warnings).try_init()
        }
    };
    Ok(())
}

fn layer<S, W>(format: LogFormat, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    match format {
        LogFormat::Human => fmt::layer().with_target(false).with_ansi(false).with_writer(writer).boxed(),
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_writer(writer).boxed(),
    }
}

/// Installs the recorder behind the `metrics` macros. `buckets` gives the bounds of each histogram, by metric name.
///
/// # Errors
/// Another recorder is installed already, or a list of bounds is empty.
pub fn install_recorder(buckets: &[(&str, &[f64])]) -> Result<PrometheusHandle, TelemetryError> {
    let error = |e: &dyn std::fmt::Display| TelemetryError::Recorder(e.to_string());
    let mut builder = PrometheusBuilder::new();
    for (name, bounds) in buckets {
        let matcher = Matcher::Full((*name).to_owned());
        builder = builder.set_buckets_for_metric(matcher, bounds).map_err(|e| error(&e))?;
    }
    builder.install_recorder().map_err(|e| error(&e))
}

/// Whether a process is ready, in a sentence either way.
pub type Readiness = Arc<dyn Fn() -> Result<String, String> + Send + Sync>;

/// Serves `GET /metrics`, `GET /livez` (200 as long as the process answers at all) and `GET /readyz` (200 or 503, as
/// `readiness` says) until `shutdown`; returns the bound address.
///
/// # Errors
/// The address cannot be bound.
pub async fn serve_metrics(
    address: SocketAddr,
    handle: PrometheusHandle,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<SocketAddr, TelemetryError> {
    let listen_error = |source| TelemetryError::Listen { address, source };
    let listener = tokio::net::TcpListener::bind(address).await.map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    tokio::spawn(upkeep(handle.clone(), shutdown.clone()));
    let ready = move || match readiness() {
        Ok(sentence) => (StatusCode::OK, format!("{sentence}\n")),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")),
    };
    let router = Router::new()
        .route("/metrics", get(move || std::future::ready(handle.render())))
        .route("/livez", get(|| std::future::ready("alive\n")))
        .route("/readyz", get(move || std::future::ready(ready())));
    tokio::spawn(async move {
        let stopped = shutdown.cancelled_owned();
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::warn!(%error, "the metrics endpoint ended");
        }
    });
    Ok(bound)
}

/// Moves recorded samples into the histograms, so that they do not pile up when nobody scrapes.
async fn upkeep(handle: PrometheusHandle, shutdown: CancellationToken) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => handle.run_upkeep(),
        }
    }
}
