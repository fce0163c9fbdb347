//! What passes from the link to the rollout: the parameters of one version.

use impala_common::ids::WeightsVersion;

/// One version of the network's parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Number of updates that went into them.
    pub version: WeightsVersion,
    /// In the order of the agreed network's layout.
    pub parameters: Vec<f32>,
}
