//! The Prometheus endpoint and the probes beside it, set up the same way in every process. Which metrics exist is the
//! business of each crate's `metrics.rs`.

use crate::channel::accept::Acceptor;
use crate::channel::rate::Rate;
use crate::metric::{self, Metric};
use crate::process::{handles, network};
use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};
use tower::Service;

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

/// What every process tells of itself under the names that Prometheus' own clients use, where the system tells it.
pub const PROCESS_TABLE: &[Metric] = &[
    Metric::counter("process_cpu_seconds_total", "s", "Processor time of the process, user and system"),
    Metric::gauge("process_resident_memory_bytes", "bytes", "Memory of the process that is in use"),
    Metric::gauge("process_virtual_memory_bytes", "bytes", "Address space of the process"),
    Metric::gauge("process_virtual_memory_max_bytes", "bytes", "The most that it may have; 0 for no limit"),
    Metric::gauge("process_open_fds", "files", "Files and connections that the process has open"),
    Metric::gauge("process_max_fds", "files", "The most that it may have"),
    Metric::gauge("process_threads", "threads", "Threads of the process"),
    Metric::gauge("process_start_time_seconds", "s", "When the process started, since the Unix epoch"),
    Metric::counter(
        "process_network_receive_bytes_total",
        "bytes",
        "Received by the network interfaces of the process's host, or of its container, by whatever process",
    )
    .by("interface", INTERFACES),
    Metric::counter(
        "process_network_transmit_bytes_total",
        "bytes",
        "Sent by the network interfaces of the process's host, or of its container, by whatever process",
    )
    .by("interface", INTERFACES),
];

/// What passes the loopback stays within the host: a run on one machine has its traffic there, and no link limits it.
const INTERFACES: &[(&str, &str)] = &[("loopback", "between processes of the host"), ("other", "all others together")];

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

/// Connections at a time, where the process may have many files open: for one more, the oldest of the peer ends that has most of them.
const CONNECTIONS_MAX: usize = 64;
/// Of the files that a process may have open, the part that these connections may be.
const OF_HANDLES: usize = 16;
const LIVENESS: &str = "/livez";
const READINESS: &str = "/readyz";
/// Connections that are accepted in a second, so that each has some time.
const ACCEPTED_PER_SECOND: f64 = 500.0;
/// Requests a second that are answered at once, of all connections together; those beyond wait, but for liveness and readiness, which cost
/// nothing and decide whether the process is left alone.
const REQUESTS_PER_SECOND: f64 = 100.0;
/// Longest head of a request, bytes; hyper's least.
const HEAD_BYTES_MAX: usize = 1 << 13;
/// Time that a connection has to send a request's head.
const HEAD_MAX: Duration = Duration::from_secs(5);
/// Time after which a connection ends, whatever it is doing: a scraper opens another one.
const CONNECTION_MAX: Duration = Duration::from_secs(120);
/// Metrics are rendered anew when they are older than this.
const FRESH: Duration = Duration::from_secs(1);

/// Metrics and probes that are served until this is dropped.
#[derive(Debug)]
pub struct Probes {
    address: SocketAddr,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

impl Probes {
    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.cancel();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that serves metrics and probes broke: there were none since");
        }
    }
}

/// Serves `GET /metrics`, `GET /livez` (200 as long as the process answers at all) and `GET /readyz` (200 or 503, as
/// `readiness` says), and beside them `pages`, which have other paths. All of it is done by a thread of its own, within bounds: whoever asks too often, or too slowly, waits and keeps
/// nobody from what the process is there for.
///
/// # Errors
/// The address cannot be bound, or the system gives no thread.
pub fn serve(
    address: SocketAddr,
    handle: PrometheusHandle,
    readiness: Readiness,
    pages: Router,
) -> Result<Probes, ProbesError> {
    let listen_error = |source| ProbesError::Listen { address, source };
    let listener = std::net::TcpListener::bind(address).map_err(listen_error)?;
    listener.set_nonblocking(true).map_err(listen_error)?;
    let bound = listener.local_addr().map_err(listen_error)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(listen_error)?;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let serving = async move {
        let listener = TcpListener::from_std(listener).expect("it does not block, and there is a runtime");
        tokio::select! {
            () = stopped.cancelled() => {}
            () = upkeep(handle.clone()) => {}
            () = answer(Acceptor::new(listener, "requests for metrics"), router(handle.clone(), readiness).merge(pages)) => {}
        }
    };
    let thread = std::thread::Builder::new().name("metrics".into());
    let thread = thread.spawn(move || runtime.block_on(serving)).map_err(listen_error)?;
    Ok(Probes { address: bound, stop, thread: Some(thread) })
}

/// Nothing beside metrics and probes.
pub fn no_pages() -> Router {
    Router::new()
}

fn router(handle: PrometheusHandle, readiness: Readiness) -> Router {
    let ready = move || match readiness() {
        Ok(sentence) => (StatusCode::OK, format!("{sentence}\n")),
        Err(sentence) => (StatusCode::SERVICE_UNAVAILABLE, format!("{sentence}\n")),
    };
    let (process, rendered) = (metrics_process::Collector::default(), Arc::new(Mutex::new(None)));
    metric::describe(PROCESS_TABLE);
    let metrics = move || {
        let mut rendered = rendered.lock().expect("rendering does not panic");
        let (_, text) = match rendered.take().filter(|(at, _): &(Instant, Bytes)| at.elapsed() < FRESH) {
            Some(fresh) => rendered.insert(fresh),
            None => {
                process.collect();
                network::collect();
                rendered.insert((Instant::now(), Bytes::from(handle.render())))
            }
        };
        text.clone()
    };
    Router::new()
        .route("/metrics", get(move || std::future::ready(metrics())))
        .route(LIVENESS, get(|| std::future::ready("alive\n")))
        .route(READINESS, get(move || std::future::ready(ready())))
}

/// Answers requests for ever.
async fn answer(mut acceptor: Acceptor, router: Router) {
    let places = CONNECTIONS_MAX.min(handles::allowed() / OF_HANDLES).max(1);
    let mut connections = VecDeque::<Connection>::new();
    let mut arrivals = Rate::new(ACCEPTED_PER_SECOND, ACCEPTED_PER_SECOND, Instant::now());
    let rate = Arc::new(Mutex::new(Rate::new(REQUESTS_PER_SECOND, REQUESTS_PER_SECOND, Instant::now())));
    loop {
        let (stream, peer) = acceptor.accept().await;
        let wait = arrivals.take(1.0, Instant::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        connections.retain(|connection| !connection.task.is_finished());
        if connections.len() >= places {
            // Dropped, it ends.
            connections.remove(oldest_of_most(connections.iter().map(|connection| connection.peer)));
        }
        let end = CancellationToken::new();
        let guard = end.clone().drop_guard();
        let (router, rate) = (router.clone(), rate.clone());
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let wait = match request.uri().path() {
                LIVENESS | READINESS => Duration::ZERO,
                _ => rate.lock().expect("no holder of the rate panics").take(1.0, Instant::now()),
            };
            let mut router = router.clone();
            async move {
                if !wait.is_zero() {
                    tokio::time::sleep(wait).await;
                }
                router.call(request).await
            }
        });
        let task = tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX).max_buf_size(HEAD_BYTES_MAX);
            // How a connection ends concerns nobody but its peer.
            let serving = tokio::time::timeout(CONNECTION_MAX, http.serve_connection(TokioIo::new(stream), service));
            let _ = end.run_until_cancelled_owned(serving).await;
        });
        connections.push_back(Connection { peer: peer.ip(), task, _end: guard });
    }
}

/// A connection that is served until it is dropped.
struct Connection {
    peer: IpAddr,
    task: tokio::task::JoinHandle<()>,
    _end: DropGuard,
}

/// The place of the oldest connection of the peer that has most of them; peers stand in the order in which they came.
fn oldest_of_most(peers: impl Iterator<Item = IpAddr>) -> usize {
    let mut held: HashMap<IpAddr, (usize, usize)> = HashMap::new();
    for (place, peer) in peers.enumerate() {
        held.entry(peer).or_insert((0, place)).0 += 1;
    }
    held.into_values().max_by_key(|(count, first)| (*count, Reverse(*first))).map_or(0, |(_, first)| first)
}

/// Moves recorded samples into the histograms, so that they do not pile up when nobody scrapes.
async fn upkeep(handle: PrometheusHandle) {
    let mut interval = tokio::time::interval(Duration::from_secs(5));
    loop {
        interval.tick().await;
        handle.run_upkeep();
    }
}
