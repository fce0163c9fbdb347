//! Both sides in a simulated network with simulated time: the real service and the real link, their sockets and clock those of
//! turmoil. A minute of silence takes milliseconds, and a cable is cut between two given messages.
//!
//! The clock stands still while a thread works, so nothing here has one: what the trainer and the rollout do in the programs is
//! done by tasks.

pub mod actor;
#[cfg(feature = "learner")]
pub mod learner;
mod socket;

use hyper_util::rt::TokioIo;
use impala_common::channel::{Connector, Dialler, Resolver};
pub use socket::{Socket, incoming};
use std::net::SocketAddr;
use std::time::Duration;
use tonic::transport::Uri;
use turmoil::net::TcpStream;

/// The port of every simulated learner.
pub const PORT: u16 = 50051;

/// A network whose messages take up to 2 ms, in an order that the seed decides.
pub fn network(seed: u64) -> turmoil::Sim<'static> {
    turmoil::Builder::new()
        .rng_seed(seed)
        .tick_duration(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(2))
        // A guard against a simulation that never ends.
        .simulation_duration(Duration::from_secs(600))
        // Segments in flight on one connection; a full buffer would break it.
        .tcp_capacity(4096)
        .build()
}

/// The way to the learner on the host of this name, for a host of the same network.
pub fn dialler(host: &str) -> Dialler {
    let url = format!("http://{host}:{PORT}").parse().unwrap();
    let resolver = Resolver::new(|url| {
        let address = SocketAddr::new(turmoil::lookup(url.host()), url.port());
        Box::pin(std::future::ready(Ok(vec![address])))
    });
    let connector = Connector::new(|endpoint| {
        let connect = tower::service_fn(|uri: Uri| async move {
            let address: SocketAddr = uri.authority().unwrap().as_str().parse().unwrap();
            TcpStream::connect(address).await.map(TokioIo::new)
        });
        Box::pin(async move { endpoint.connect_with_connector(connect).await })
    });
    Dialler { resolver, connector, ..Dialler::new(url) }
}
