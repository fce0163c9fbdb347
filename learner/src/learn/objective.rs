//! What an update minimises: the actor-critic loss with V-trace's targets, from a network's outputs to their gradient.
//!
//! Pure functions on host memory, over a block of columns at a time. It knows no network: outputs come in, their gradient
//! goes out. The device step has the same in tensors (`step/device/{loss,vtrace}.rs`).

use crate::learn::batch::Columns;
use crate::learn::loss::{FrameTerms, LossCosts, LossInputs, Losses, TargetPolicy, loss, loss_of_terms};
use crate::learn::ratios::RatioSums;
use crate::learn::value_fit::ValueSums;
use crate::learn::vtrace::{VtraceClipping, VtraceInputs, VtraceReturns, vtrace};
use impala_env::Outcome;
use impala_policy::distribution::{Distribution, Frames, Memory};
use impala_policy::network::PolicyHead;
use serde::{Deserialize, Serialize};

/// How the age of the behaviour policy is corrected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Correction {
    /// V-trace (the paper's section 4).
    Vtrace,
    /// None: every importance ratio counts as 1. For the paper's ablation (table 2), not for use.
    None,
}

/// What a network's outputs say of actions.
#[derive(Clone, Debug, PartialEq)]
pub enum ActionDistribution {
    /// One choice among so many, all of them allowed always, in passes of its own.
    Single(usize),
    /// Any other.
    General(Distribution),
}

/// The numbers of the objective.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// V-trace or its absence.
    pub correction: Correction,
    /// Bounds of the importance ratios.
    pub clipping: VtraceClipping,
    /// Weights of the loss's terms.
    pub costs: LossCosts,
    /// Rewards and discounts.
    pub returns: ReturnScale,
}

/// How rewards become returns.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ReturnScale {
    /// Of a step that continues or is truncated.
    pub discount: f32,
    /// Factor on every reward, before clipping.
    pub reward_scale: f32,
    /// Rewards are clipped to plus or minus this.
    pub reward_clip: Option<f32>,
}

/// Memory of a block, used again by the next.
#[derive(Debug, Default)]
pub struct ObjectiveMemory {
    policy: TargetPolicy,
    general: GeneralPolicy,
    rewards: Vec<f32>,
    discounts: Vec<f32>,
    returns: VtraceReturns,
}

/// The policy of every frame, of any distribution.
#[derive(Debug, Default)]
struct GeneralPolicy {
    memory: Memory,
    /// `[M]`: log-probabilities of the actions that were taken, entropies, weights of the log-probabilities in the gradient.
    log_probs: Vec<f32>,
    entropies: Vec<f32>,
    weights: Vec<f32>,
}

impl ActionDistribution {
    /// What a policy's head gives.
    pub fn of(head: &PolicyHead) -> Self {
        match head.as_single() {
            Some(choices) => Self::Single(choices),
            None => Self::General(Distribution::of(head)),
        }
    }
}

impl Objective {
    /// A block's part of the losses, whose means are over `frames` frames of the whole batch, and their gradient; and the sums
    /// over its importance ratios, as they are, also where nothing is corrected, and over its values.
    ///
    /// # Shapes
    /// - outputs: `[P + 1, rows]` for the rows of `columns.observations`: a column for each parameter of the distribution, then values
    /// - gradient: overwritten by `[P + 1, T * C]`; it is 0 in the rows after the frames, which only bootstrap
    pub fn evaluate(
        &self,
        actions: &ActionDistribution,
        columns: &Columns,
        outputs: &[f32],
        frames: usize,
        memory: &mut ObjectiveMemory,
        gradient: &mut Vec<f32>,
    ) -> (Losses, RatioSums, ValueSums) {
        let rows = columns.rows();
        let parameters = outputs.len() / rows - 1;
        let values = &outputs[parameters * rows..];
        let bootstrap_end = columns.frames() + columns.columns;
        let ObjectiveMemory { policy, general, rewards, discounts, returns } = memory;
        let block = Frames { outputs, rows, masks: &columns.masks, actions: columns.actions.view() };
        let target_log_probs = match actions {
            ActionDistribution::Single(choices) => {
                policy.set(outputs, *choices, block.actions.u8());
                &policy.action_log_probs
            }
            ActionDistribution::General(distribution) => {
                general.log_probs.resize(columns.frames(), 0.0);
                general.entropies.resize(columns.frames(), 0.0);
                distribution.evaluate(&block, &mut general.memory, &mut general.log_probs, &mut general.entropies);
                &general.log_probs
            }
        };
        let ratios = RatioSums::of(target_log_probs, &columns.behaviour_log_probs, self.clipping.rho_bar);
        self.returns.apply(columns, &values[bootstrap_end..], rewards, discounts);
        let inputs = VtraceInputs {
            columns: columns.columns,
            behaviour_log_probs: match self.correction {
                Correction::Vtrace => &columns.behaviour_log_probs,
                Correction::None => target_log_probs,
            },
            target_log_probs,
            discounts,
            rewards,
            values: &values[..columns.frames()],
            bootstrap_values: &values[columns.frames()..bootstrap_end],
        };
        vtrace(&inputs, &self.clipping, returns);
        let VtraceReturns { vs, pg_advantages } = returns;
        let fit = ValueSums::of(&values[..columns.frames()], vs);
        let losses = match actions {
            ActionDistribution::Single(_) => {
                let inputs = LossInputs { outputs, actions: block.actions.u8(), vs, pg_advantages, frames };
                loss(&inputs, policy, self.costs, gradient)
            }
            ActionDistribution::General(distribution) => {
                let GeneralPolicy { memory, log_probs, entropies, weights } = general;
                let scale = 1.0 / frames as f32;
                weights.clear();
                weights.extend(pg_advantages.iter().map(|advantage| -scale * advantage));
                gradient.resize((parameters + 1) * columns.frames(), 0.0);
                let (of_policy, of_values) = gradient.split_at_mut(parameters * columns.frames());
                distribution.gradient(&block, memory, weights, -scale * self.costs.entropy, of_policy);
                let values = &values[..columns.frames()];
                let terms = FrameTerms { log_probs, entropies, values, vs, pg_advantages, frames };
                loss_of_terms(&terms, self.costs, of_values)
            }
        };
        (losses, ratios, fit)
    }
}

impl ReturnScale {
    /// Rewards and discounts as V-trace wants them. A truncated step is worth its reward plus the discounted value of its
    /// true final observation; nothing after it belongs to it, so its discount is 0 like a terminated step's.
    pub(super) fn apply(
        &self,
        columns: &Columns,
        final_values: &[f32],
        rewards: &mut Vec<f32>,
        discounts: &mut Vec<f32>,
    ) {
        let scaled = |reward: &f32| {
            let reward = reward * self.reward_scale;
            self.reward_clip.map_or(reward, |bound| reward.clamp(-bound, bound))
        };
        rewards.clear();
        rewards.extend(columns.rewards.iter().map(scaled));
        for (position, value) in columns.truncated.iter().zip(final_values) {
            rewards[*position] += self.discount * value;
        }
        let discount = |outcome: &Outcome| if *outcome == Outcome::Continues { self.discount } else { 0.0 };
        discounts.clear();
        discounts.extend(columns.outcomes.iter().map(discount));
    }
}

impl ObjectiveMemory {
    /// Targets and advantages of the newest block.
    #[cfg(test)]
    pub(super) fn returns(&self) -> &VtraceReturns {
        &self.returns
    }
}
