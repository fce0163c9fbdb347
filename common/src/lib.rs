//! What learner and actor must both name, and nothing else: ids, the agreement at registration, trajectories and their
//! invariants, their account, how a run stands, weight snapshots, the wire, the [`channel`] to a learner, and what every
//! [`process`] sets up.
//!
//! Generated protobuf types stay inside [`wire`] and `channel/client`; `trajectory`, `agreement`, `account`, `status` and
//! `ids` know no tokio, tonic, clap or metrics.

pub mod account;
pub mod agreement;
pub mod channel;
pub mod ids;
pub mod metric;
pub mod process;
pub mod snapshot;
pub mod status;
pub mod trajectory;
pub mod wire;
