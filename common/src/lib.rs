//! What learner and actor must both name, and nothing else: ids, the agreement at registration, trajectories and their
//! invariants, the network's layout, weight snapshots, the wire, telemetry, signals.
//!
//! Generated protobuf types stay inside [`wire`]; `trajectory`, `spec`, `ids` and `network` know no tokio, tonic, clap or
//! metrics.

pub mod activation;
pub mod errors;
pub mod ids;
mod named;
pub mod network;
pub mod panics;
pub mod reach;
pub mod seed;
pub mod shutdown;
pub mod snapshot;
pub mod spec;
pub mod telemetry;
pub mod trajectory;
pub mod wire;
