//! What an update minimises: V-trace and the weights of the loss. Read by the learner step.

use super::section::section;
use super::setting::Bounds;
use super::{ConfigError, invalid};
use crate::learn::loss::LossCosts;
use crate::learn::step::Correction;
use crate::learn::vtrace::VtraceClipping;
use clap::builder::BoolishValueParser;

section! {
    /// What an update minimises.
    Objective from GivenObjective, "Loss (V-trace: Espeholt et al. 2018)" {
        discount: f32 = 0.99, "0.99", "IMPALA_DISCOUNT",
            "Discount factor, 0 to 1."
            in Bounds::Fraction;
        lambda: f32 = 1.0, "1", "IMPALA_LAMBDA",
            "Factor on the traces, 0 to 1."
            in Bounds::Fraction;
        rho_bar: f32 = 1.0, "1", "IMPALA_RHO_BAR",
            "Bound of the importance ratios of the temporal differences."
            in Bounds::Positive;
        c_bar: f32 = 1.0, "1", "IMPALA_C_BAR",
            "Bound of the importance ratios of the traces, at most rho_bar."
            in Bounds::Positive;
        pg_rho_bar: f32 = 1.0, "1", "IMPALA_PG_RHO_BAR",
            "Bound of the importance ratio of the policy gradient."
            in Bounds::Positive;
        baseline_cost: f32 = 0.5, "0.5", "IMPALA_BASELINE_COST",
            "Weight of the value's squared error."
            in Bounds::NotNegative;
        entropy_cost: f32 = 0.001, "0.001", "IMPALA_ENTROPY_COST",
            "Weight of the entropy bonus."
            in Bounds::NotNegative;
        reward_scale: f32 = 0.1, "0.1", "IMPALA_REWARD_SCALE",
            "Factor on rewards in the loss; reported returns are unscaled."
            in Bounds::Positive;
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        normalise_rewards: bool = false, "false", "IMPALA_NORMALISE_REWARDS",
            "Divide rewards by the standard deviation of the temporal differences that they make, over all frames so far, before reward_scale.";
        reward_clip: f32 = 0.0, "0 (off)", "IMPALA_REWARD_CLIP",
            "Scaled rewards are clipped to plus or minus this; 0 is off."
            in Bounds::NotNegative;
        #[clap(value_enum)]
        correction: Correction = Correction::Vtrace, "vtrace", "IMPALA_CORRECTION",
            "Off-policy correction; none is for the paper's ablation.";
    }
}

impl Objective {
    /// Bounds of the importance ratios.
    pub fn clipping(&self) -> VtraceClipping {
        let Self { rho_bar, c_bar, lambda, pg_rho_bar, .. } = *self;
        VtraceClipping { rho_bar, c_bar, lambda, pg_rho_bar }
    }

    /// Weights of the loss's terms.
    pub fn costs(&self) -> LossCosts {
        LossCosts { baseline: self.baseline_cost, entropy: self.entropy_cost }
    }

    /// The paper's condition on the two bounds.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let Self { c_bar, rho_bar, .. } = *self;
        if c_bar <= rho_bar {
            return Ok(());
        }
        let requirement =
            format!("must not exceed rho_bar = {rho_bar} (the paper's condition); lower it or raise rho_bar");
        invalid("c_bar", c_bar, requirement)
    }
}
