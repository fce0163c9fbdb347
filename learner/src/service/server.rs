//! The gRPC server of a learner: the service, health and reflection for any stream of connections. Whoever calls owns the
//! socket, so that a test may bring connections of another kind.

use super::Shared;
use super::peers::connection::{Connection, watch_over};
use super::peers::requests::Bounds;
use super::peers::{self, Peers, Sizes, now};
use anyhow::Context;
use impala_common::channel::accept::Acceptor;
use impala_common::process::handles;
use impala_common::wire::{HEALTH_LEARNER, HEALTH_TRAINING, pb};
use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_stream::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tower::layer::util::{Identity, Stack};

/// Most bytes in flight on one stream: room for a large trajectory, so that the windows that bound the policy lag are the
/// actors', not HTTP/2's.
const STREAM_WINDOW_MAX: usize = 4 << 20;
/// The least, for small ones.
const STREAM_WINDOW_MIN: usize = 1 << 16;
/// Windows of a stream that fit into one of a connection.
const STREAMS_IN_WINDOW: usize = 4;

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
pub fn incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send + 'static {
    let (sender, accepted) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut acceptor = Acceptor::new(listener, "actors");
        // Nothing is accepted that nobody takes.
        while let Ok(place) = sender.clone().reserve_owned().await {
            let (socket, _) = tokio::select! {
                accepted = acceptor.accept() => accepted,
                () = sender.closed() => return,
            };
            // Without it, receipts are late and nothing else.
            let _ = socket.set_nodelay(true);
            place.send(Ok(socket));
        }
    });
    ReceiverStream::new(accepted)
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
    let agreement = shared.registry.template();
    let trajectory = agreement.trajectory_shape().wire_bytes_max();
    let sizes = Sizes {
        window: agreement.in_flight_max.saturating_mul(trajectory),
        weights: agreement.network.parameter_count().saturating_mul(size_of::<f32>()),
    };
    let peers = Peers::new(sizes, handles::allow_most(), now());
    tracing::info!(connections = peers.connections_max(), "up to so many connections, of one actor or of several each");
    let (health, health_service) = tonic_health::server::health_reporter();
    let description = || {
        let builder = tonic_reflection::server::Builder::configure();
        let builder = builder.register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET);
        builder.register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Common clients ask by the older of the two.
    let reflection = description().build_v1().context("cannot describe the service")?;
    let older_reflection = description().build_v1alpha().context("cannot describe the service")?;
    let router = builder::<C::ConnectInfo>(keepalive, sizes.window)
        .add_service(super::server(shared))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(older_reflection);
    let reporter = health.clone();
    let task = tokio::spawn(async move {
        for service in [HEALTH_LEARNER, HEALTH_TRAINING] {
            reporter.set_service_status(service, ServingStatus::Serving).await;
        }
        let connections = incoming.then(|socket| connect(socket, &peers));
        tokio::select! {
            ended = router.serve_with_incoming_shutdown(connections, stop.cancelled_owned()) => ended,
            never = watch_over(&peers) => match never {},
        }
    });
    Ok((health, task))
}

/// A server within bounds, for peers that have so many bytes under way; `I` is what their sockets tell of themselves.
pub(super) fn builder<I>(keepalive: Keepalive, under_way: usize) -> Server<Stack<Bounds<I>, Identity>> {
    let stream_window = under_way.clamp(STREAM_WINDOW_MIN, STREAM_WINDOW_MAX);
    Server::builder()
        .http2_keepalive_interval(Some(keepalive.interval))
        .http2_keepalive_timeout(Some(keepalive.timeout))
        .initial_stream_window_size(window(stream_window))
        .initial_connection_window_size(window(STREAMS_IN_WINDOW * stream_window))
        .max_concurrent_streams(peers::STREAMS_MAX)
        .http2_max_header_list_size(peers::HEADERS_MAX)
        .layer(Bounds::<I>::default())
}

/// A socket becomes a connection within bounds; where connections come too fast, the next one waits.
pub(super) async fn connect<C, E>(socket: Result<C, E>, peers: &Arc<Peers>) -> Result<Connection<C>, E> {
    let socket = socket?;
    let (peer, wait) = peers.connect(now());
    if !wait.is_zero() {
        tokio::time::sleep(wait).await;
    }
    Ok(Connection::new(socket, peer))
}

fn window(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
