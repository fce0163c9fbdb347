//! How a gradient changes the parameters. Read by the learner step and, for the schedule, by the trainer.

use super::section::section;
use super::setting::Bounds;
use super::{ConfigError, invalid};
use crate::learn::optim::{Divisor, OptimiserKind, OptimiserName};
use clap::builder::BoolishValueParser;

section! {
    /// How a gradient changes the parameters.
    Optimisation from GivenOptimisation, "Optimiser" {
        #[clap(value_enum)]
        optimiser: OptimiserName = OptimiserName::RmsProp, "rmsprop", "IMPALA_OPTIMISER",
            "Update rule.";
        learning_rate: f32 = 2e-3, "0.002", "IMPALA_LEARNING_RATE",
            "Learning rate at the start."
            in Bounds::Positive;
        learning_rate_end: f32, "the start's: no decay", "IMPALA_LEARNING_RATE_END",
            "Learning rate at --frames-max; in between it falls linearly with the frames trained."
            in Bounds::NotNegative;
        rmsprop_decay: f32 = 0.99, "0.99", "IMPALA_RMSPROP_DECAY",
            "RMSProp's decay of the running mean of squares."
            in Bounds::BelowOne;
        rmsprop_momentum: f32 = 0.0, "0", "IMPALA_RMSPROP_MOMENTUM",
            "RMSProp's momentum."
            in Bounds::BelowOne;
        adam_beta1: f32 = 0.9, "0.9", "IMPALA_ADAM_BETA1",
            "Adam's decay of the first moment."
            in Bounds::BelowOne;
        adam_beta2: f32 = 0.999, "0.999", "IMPALA_ADAM_BETA2",
            "Adam's decay of the second moment."
            in Bounds::BelowOne;
        epsilon: f32 = 1e-5, "0.00001", "IMPALA_EPSILON",
            "The optimiser's epsilon: inside the root for rmsprop, beside it for rmsprop-torch and adam."
            in Bounds::Positive;
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        amsgrad: bool = true, "true", "IMPALA_AMSGRAD",
            "Divide by the largest running mean of squares so far, not by the present one (AMSGrad, Reddi et al. 2018): keeps a solved policy.";
        gradient_norm_max: f32 = 0.5, "0.5", "IMPALA_GRADIENT_NORM_MAX",
            "Global norm to which gradients are clipped."
            in Bounds::Positive;
    }
}

impl Optimisation {
    /// The update rule with its numbers.
    pub fn kind(&self) -> OptimiserKind {
        let Self { rmsprop_decay: decay, rmsprop_momentum: momentum, epsilon, .. } = *self;
        match self.optimiser {
            OptimiserName::RmsProp => OptimiserKind::RmsProp { decay, momentum, epsilon },
            OptimiserName::RmsPropTorch => OptimiserKind::RmsPropTorch { decay, momentum, epsilon },
            OptimiserName::Adam => OptimiserKind::Adam { beta1: self.adam_beta1, beta2: self.adam_beta2, epsilon },
        }
    }

    /// Which mean of squares divides.
    pub fn divisor(&self) -> Divisor {
        if self.amsgrad { Divisor::Largest } else { Divisor::Present }
    }

    /// The learning rate over a run of so many frames.
    pub fn schedule(&self, frames_max: u64) -> LearningRate {
        LearningRate { start: self.learning_rate, end: self.end(), frames_max }
    }

    /// The learning rate at the end of the frames.
    pub(super) fn end(&self) -> f32 {
        self.learning_rate_end.unwrap_or(self.learning_rate)
    }

    /// The learning rate only falls.
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let start = self.learning_rate;
        if self.end() <= start {
            return Ok(());
        }
        let requirement = format!("must not exceed learning_rate = {start}: it is the end of a decay");
        invalid("learning_rate_end", self.end(), requirement)
    }
}

/// A learning rate that falls linearly with the frames trained.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    start: f32,
    end: f32,
    frames_max: u64,
}

impl LearningRate {
    /// After `frames` trained frames; beyond the budget it stays where it ended.
    pub fn at(self, frames: u64) -> f32 {
        let progress = (frames as f64 / self.frames_max as f64).min(1.0) as f32;
        self.start + (self.end - self.start) * progress
    }
}
