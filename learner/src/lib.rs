//! The IMPALA learner: admits trajectories, trains with V-trace, publishes weights.
//!
//! Nine folders; each imports only what lies below it:
//!
//! ```text
//! app                          brings a learner up, watches over it, ends it
//! stages  service  report      the threads; the gRPC service; what people and sinks are told
//! run  fit                     the run on disk; what is measured before it
//! config  handover             the settings; what passes between the stages
//! learn                        the mathematics of an update
//! ```
//!
//! A test of the workspace checks these imports.

pub mod app;
pub mod cli;
pub mod config;
pub mod fit;
pub mod handover;
pub mod learn;
pub mod report;
pub mod run;
pub mod service;
pub mod stages;
