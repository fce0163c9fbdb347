//! The mathematics of an update: batch, V-trace, loss, network, optimiser, and the step that joins them on a device. Nothing
//! here knows of actors, runs or threads of the learner.

pub mod batch;
pub mod compute;
pub mod flat;
pub mod histogram;
pub mod initialise;
pub mod loss;
pub mod made_up;
pub mod model;
pub mod network;
pub mod noise;
pub mod normalise;
pub mod objective;
pub mod optim;
pub mod perceptron;
pub mod ratios;
pub mod step;
mod sums;
pub mod value_fit;
pub mod vtrace;
