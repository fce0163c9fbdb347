//! Where the learner is reached, and for how long. Read when it binds and when training is over.

use super::section::section;
use super::values::socket_address;
use clap::builder::BoolishValueParser;
use std::net::SocketAddr;

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
        keep_serving: bool = false, "false", "IMPALA_KEEP_SERVING",
            "A learner whose training is over goes on serving its final model until a signal, and tells actors to wait instead of ending.";
    }
}
