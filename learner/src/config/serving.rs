//! Where the learner is reached, and for how long. Read when it binds and when training is over.

use super::section::section;
use super::setting::Bounds;
use super::values::socket_address;
use clap::builder::BoolishValueParser;
use std::net::SocketAddr;
use std::num::NonZero;

/// Most network threads; guards against a typing error.
const NETWORK_THREADS_MAX: usize = 256;
/// Cores for each network thread that nobody asked for: what one thread carries keeps about as many cores busy acting.
const CORES_PER_NETWORK_THREAD: usize = 8;

section! {
    /// Where the learner is reached.
    Serving from GivenServing, "Serving" {
        #[clap(value_parser = socket_address)]
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 50051)), "127.0.0.1:50051", "IMPALA_LISTEN",
            "Address of the gRPC service; port 0 takes a free one.";
        #[clap(value_parser = socket_address)]
        metrics_listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 0)), "127.0.0.1:0", "IMPALA_METRICS_LISTEN",
            "Address of the Prometheus endpoint GET /metrics; port 0 takes a free one, which the log names.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        web: bool, "true where metrics-listen is a loopback address", "IMPALA_WEB",
            "Serve the live view of the run in a browser, GET / at --metrics-listen. Whoever reaches that address can read it.";
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        keep_serving: bool = false, "false", "IMPALA_KEEP_SERVING",
            "A learner whose training is over goes on serving its final model until a signal, and tells actors to wait instead of ending.";
        network_threads: usize = 0, "0 (one for every 8 cores)", "IMPALA_NETWORK_THREADS",
            "Threads of the learner that read trajectories and send weights, 0 for one for every 8 cores."
            in Bounds::UpToOrZero { max: NETWORK_THREADS_MAX, zero: "for one for every 8 cores" };
    }
}

impl Serving {
    /// Whether the live view is served.
    pub fn is_web(&self) -> bool {
        self.web.unwrap_or(self.metrics_listen.ip().is_loopback())
    }

    /// The threads that read from and write to actors.
    pub fn network_threads(&self) -> usize {
        match self.network_threads {
            0 => std::thread::available_parallelism().map_or(1, NonZero::get).div_ceil(CORES_PER_NETWORK_THREAD),
            given => given,
        }
    }
}
