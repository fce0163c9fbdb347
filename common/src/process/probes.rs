//! The Prometheus endpoint and the probes beside it, set up the same way in every process. Which metrics exist is the
//! business of each crate's `metrics.rs`.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Why there are no metrics and no probes.
#[derive(Debug, thiserror::Error)]
pub enum ProbesError {
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

/// Installs the recorder that the `metrics` macros write to. `buckets` gives the bounds of each histogram, by metric name.
///
/// # Errors
/// Another recorder is installed already, or a list of bounds is empty.
pub fn install_recorder(buckets: &[(&str, &[f64])]) -> Result<PrometheusHandle, ProbesError> {
    let error = |e: &dyn std::fmt::Display| ProbesError::Recorder(e.to_string());
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
pub async fn serve(
    address: SocketAddr,
    handle: PrometheusHandle,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<SocketAddr, ProbesError> {
    let listen_error = |source| ProbesError::Listen { address, source };
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
