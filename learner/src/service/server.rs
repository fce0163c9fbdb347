//! The gRPC server of a learner: the service, health and reflection for any stream of connections. Whoever calls owns the
//! socket, so that a test may bring connections of another kind.

use super::Shared;
use anyhow::Context;
use impala_common::wire::{HEALTH_LEARNER, HEALTH_TRAINING, pb};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};
use tonic_health::ServingStatus;

/// Bytes in flight on one stream and on one connection: room for a large trajectory, so that the windows that bound the
/// policy lag are the actors', not HTTP/2's.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 16 << 20;

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

/// The connections of a listener, which is the usual way to get some.
pub fn incoming(listener: TcpListener) -> TcpIncoming {
    TcpIncoming::from(listener).with_nodelay(Some(true))
}

/// Starts the gRPC server with health and reflection on the connections that come in; it ends with `stop`. Must be called
/// inside a tokio runtime.
///
/// # Errors
/// The description of the service cannot be read: a bug.
pub fn serve<I, C, E>(
    incoming: I,
    shared: Arc<Shared>,
    keepalive: Keepalive,
    stop: CancellationToken,
) -> anyhow::Result<(tonic_health::server::HealthReporter, ServerTask)>
where
    I: Stream<Item = Result<C, E>> + Send + 'static,
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
    E: Into<Box<dyn Error + Send + Sync>> + Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .context("cannot describe the service")?;
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
