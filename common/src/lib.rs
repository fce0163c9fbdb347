//! What learner and actor must both name, and nothing else: ids, the agreement at registration, trajectories and their
//! invariants, weight snapshots, the wire, telemetry, signals.
//!
//! Generated protobuf types stay inside [`wire`]; `trajectory`, `agreement` and `ids` know no tokio, tonic, clap or
//! metrics.

pub mod agreement;
pub mod errors;
pub mod ids;
pub mod metric;
pub mod panics;
pub mod reach;
pub mod shutdown;
pub mod snapshot;
pub mod telemetry;
pub mod trajectory;
pub mod wire;
