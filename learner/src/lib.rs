//! The IMPALA learner.

pub mod batch;
pub mod device;
pub mod initialise;
pub mod loss;
pub mod model;
pub mod optim;
pub mod step;
pub mod vtrace;
