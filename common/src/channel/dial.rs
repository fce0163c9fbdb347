//! Reaching a learner: its name becomes addresses, anew at every attempt, and one of them a channel.
//!
//! A name may have several addresses, and others tomorrow: a pod that moves keeps its name alone.

use super::url::LearnerUrl;
use crate::process::errors::chain;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tonic::transport::{Channel, Endpoint, Uri};

/// Receive windows, bytes. HTTP/2's default of 64 KiB makes a snapshot of megabytes wait for its round trips.
const STREAM_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 8 << 20;

/// How long each part of reaching a learner may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Looking the name up.
    pub resolve: Duration,
    /// Connecting to one address; a host that drops packets is given up after it.
    pub connect: Duration,
    /// The answer to a registration.
    pub register: Duration,
    /// Silence after which the learner is asked for a sign of life.
    pub keepalive_interval: Duration,
    /// Time that it has to give one: a learner that died without closing its connection is noticed after both.
    pub keepalive_timeout: Duration,
    /// Longest time between two questions whether a completed run has a successor.
    pub idle_wait: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            resolve: Duration::from_secs(5),
            connect: Duration::from_secs(5),
            register: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
            idle_wait: Duration::from_secs(10),
        }
    }
}

/// The addresses of a name, on their way.
pub type Resolving = Pin<Box<dyn Future<Output = std::io::Result<Vec<SocketAddr>>> + Send>>;

/// How names become addresses.
#[derive(Clone)]
pub struct Resolver(Arc<dyn Fn(&LearnerUrl) -> Resolving + Send + Sync>);

impl Resolver {
    /// Another way than the system's.
    pub fn new(resolve: impl Fn(&LearnerUrl) -> Resolving + Send + Sync + 'static) -> Self {
        Self(Arc::new(resolve))
    }
}

impl Default for Resolver {
    /// The resolver of the system.
    fn default() -> Self {
        Self::new(|url| {
            let (host, port) = (url.host().to_owned(), url.port());
            Box::pin(async move { Ok(tokio::net::lookup_host((host, port)).await?.collect()) })
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

/// A channel on its way.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Channel, tonic::transport::Error>> + Send>>;

/// How a socket is opened to the one address that an endpoint names, and a channel made of it.
#[derive(Clone)]
pub struct Connector(Arc<dyn Fn(Endpoint) -> Connecting + Send + Sync>);

impl Connector {
    /// Another way than by the system's network.
    pub fn new(connect: impl Fn(Endpoint) -> Connecting + Send + Sync + 'static) -> Self {
        Self(Arc::new(connect))
    }
}

impl Default for Connector {
    /// By TCP.
    fn default() -> Self {
        Self::new(|endpoint| Box::pin(async move { endpoint.connect().await }))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// What it takes to reach a learner.
#[derive(Clone, Debug)]
pub struct Dialler {
    /// Its name.
    pub url: LearnerUrl,
    /// How that becomes addresses.
    pub resolver: Resolver,
    /// How a socket is opened to one of them.
    pub connector: Connector,
    /// How long it may take.
    pub timing: Timing,
}

impl Dialler {
    /// With the system's names and sockets and the usual patience.
    pub fn new(url: LearnerUrl) -> Self {
        Self { url, resolver: Resolver::default(), connector: Connector::default(), timing: Timing::default() }
    }

    /// The present addresses of the name, each once, in the resolver's order.
    ///
    /// # Errors
    /// There are none, or nobody tells; in words.
    pub async fn addresses(&self) -> Result<Vec<SocketAddr>, String> {
        let host = self.url.host();
        let resolving = tokio::time::timeout(self.timing.resolve, (self.resolver.0)(&self.url));
        let resolved = resolving.await.map_err(|_| format!("`{host}` was not resolved in time"))?;
        let found = resolved.map_err(|error| format!("`{host}` cannot be resolved: {error}"))?;
        let mut addresses = Vec::with_capacity(found.len());
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(format!("`{host}` has no address"));
        }
        Ok(addresses)
    }

    /// Connects to one of the addresses.
    ///
    /// # Errors
    /// Nobody accepts there in time; in words.
    pub async fn connect(&self, address: SocketAddr) -> Result<Channel, String> {
        // The endpoint's own limit is for the socket; this one is for all of it.
        let connecting = tokio::time::timeout(self.timing.connect, (self.connector.0)(self.endpoint(address))).await;
        connecting.map_err(|_| "no connection in time".to_owned())?.map_err(|error| chain(&error))
    }

    /// Everything that holds for a connection, whoever makes it.
    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let Timing { connect, keepalive_interval, keepalive_timeout, .. } = self.timing;
        let origin: Uri = self.url.to_string().parse().expect("a learner's URL was parsed before");
        let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address makes a URL");
        endpoint
            // Whoever stands in between sees the name, not the address of the moment.
            .origin(origin)
            .tcp_nodelay(true)
            .connect_timeout(connect)
            .http2_keep_alive_interval(keepalive_interval)
            .keep_alive_timeout(keepalive_timeout)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
    }
}
