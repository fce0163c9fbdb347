//! The gRPC server of a learner: the service, health and reflection on one port.

use super::Shared;
use anyhow::Context;
use impala_common::wire::pb;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic_health::ServingStatus;

/// Bytes in flight on one stream and on one connection: room for a large trajectory, so that the windows that bound the
/// policy lag are the actors', not HTTP/2's.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

/// The health service's name for readiness: serving while actors may register or get weights.
pub const HEALTH_LEARNER: &str = "impala.v1.Learner";
/// The same for training: serving until it is over.
pub const HEALTH_TRAINING: &str = "impala.v1.Training";

/// When a peer that has fallen silent is given up: after the sum of both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keepalive {
    /// Silence after which it is asked for a sign of life.
    pub interval: Duration,
    /// Time that it has to answer.
    pub timeout: Duration,
}

impl Default for Keepalive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(10), timeout: Duration::from_secs(10) }
    }
}

/// The running server and how it ended.
pub type ServerTask = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

/// Starts the gRPC server with health and reflection; it ends with `stop`. Must be called inside a tokio runtime.
///
/// # Errors
/// The description of the service cannot be read: a bug.
pub fn serve(
    listener: TcpListener,
    shared: Arc<Shared>,
    keepalive: Keepalive,
    stop: CancellationToken,
) -> anyhow::Result<(tonic_health::server::HealthReporter, ServerTask)> {
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("cannot describe the service")?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let router = Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_service(super::server(shared))
        .add_service(health_service)
        .add_service(reflection);
    let reporter = health.clone();
    let task = tokio::spawn(async move {
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        router.serve_with_incoming_shutdown(incoming, stop.cancelled_owned()).await
    });
    Ok((health, task))
}
