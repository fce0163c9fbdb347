//! What passes between the stages and the service, and what all of them read: plain types without threads of their own.

pub mod admission;
pub mod batch_queue;
pub mod batch_size;
pub mod batcher;
pub mod episodes;
pub mod evaluations;
pub mod inspection;
pub mod ledger;
pub mod metrics;
pub mod policy_request;
pub mod progress;
pub mod run_state;
pub mod tally;
pub mod verification;
pub mod weights;
