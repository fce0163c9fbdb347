//! The IMPALA learner: admits trajectories, trains with V-trace, publishes weights.
//!
//! `app` alone knows every stage. The stages (`service`, `batcher`, `trainer`, `publisher`) never import one another; they name
//! only the types that pass between them (`admission`, `batch`, the publisher's slot and versions). `vtrace` and `loss` are pure.

pub mod admission;
pub mod app;
pub mod batch;
pub mod batcher;
pub mod calibration;
pub mod checkpoint;
pub mod cli;
pub mod config;
pub mod demand;
pub mod device;
pub mod device_choice;
pub mod device_limits;
pub mod initialise;
pub mod inquiry;
pub mod ledger;
pub mod loss;
pub mod metrics;
pub mod model;
pub mod model_file;
pub mod optim;
pub mod perceptron;
pub mod progress;
pub mod publisher;
pub mod registry;
pub mod report;
pub mod resume;
pub mod run_dir;
pub mod service;
pub mod stage;
pub mod standing;
pub mod status;
pub mod step;
pub mod trainer;
pub mod vtrace;
