//! A run as it lies on disk: its directory, its checkpoints, and how it goes on from one.

pub mod archive;
pub mod checkpoint;
pub mod checkpoint_slot;
pub mod checkpoint_store;
pub mod initial_model;
pub mod policy_source;
pub mod recorded;
pub mod resume;
pub mod run_dir;
mod store_file;
pub(crate) mod tracked_run;
