//! What learner and actor must both name, and nothing else: ids, the agreement at registration, trajectories and their
//! invariants, evaluations by actors, the trajectories' account, how a run stands, weight snapshots, the wire, the [`channel`] to a learner, and what every
//! [`process`] sets up.
//!
//! Generated protobuf types stay inside [`wire`] and `channel/client`; `trajectory`, `evaluation`, `agreement`, `account`,
//! `status` and `ids` know no tokio, tonic, clap or metrics.

pub mod account;
pub mod agreement;
pub mod channel;
pub mod evaluation;
pub mod ids;
pub mod metric;
pub mod process;
pub mod snapshot;
pub mod status;
pub mod trajectory;
pub mod wire;
