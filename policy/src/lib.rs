//! A trained policy without a learner: the network's layout and activation, its forward pass and the choice of actions, model
//! files, and the evaluation over whole episodes. It knows environments and nothing of runs, the wire or tensors.

pub mod action_scale;
pub mod activation;
pub mod distribution;
pub mod evaluate;
pub mod linear;
pub mod model_file;
pub mod network;
pub mod normalisation;
pub mod policy;
