//! A learner step on the CPU: the batch's rows in blocks, on as many threads as the pool has.
//!
//! Blocks are sized so that one stays in a core's cache from the first product to the last, and their number depends on
//! the batch and the network alone, never on the threads: gradients are added in the order of the blocks, so the result
//! is the same to the bit on any number of threads.

use super::{Correction, Diverged, StepConfig, StepReport};
use crate::learn::batch::Batch;
use crate::learn::compute::ComputeDevice;
use crate::learn::loss::{LossInputs, Losses, TargetPolicy, loss};
use crate::learn::optim::{Optimiser, OptimiserState, clip_by_global_norm};
use crate::learn::perceptron::{Pass, Perceptron};
use crate::learn::vtrace::{VtraceInputs, VtraceReturns, vtrace};
use impala_env::Outcome;
use impala_policy::network::NetworkSpec;
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};

/// Numbers of one layer's activations in a block: 256 KiB of `f32`, so that a block's few layers stay in the second-level
/// cache.
const BLOCK_NUMBERS: usize = 1 << 16;
/// Smallest block: below it a product of matrices loses its speed.
const BLOCK_ROWS_MIN: usize = 128;
/// Numbers in the gradients of all blocks: 256 MiB. A network so large that this leaves few blocks has products that the
/// backend itself spreads over the threads.
const GRADIENT_NUMBERS_MAX: usize = 1 << 26;

/// Parameters and optimiser in host memory.
#[derive(Debug)]
pub(super) struct HostStep {
    spec: NetworkSpec,
    config: StepConfig,
    device: ComputeDevice,
    parameters: Vec<f32>,
    optimiser: Optimiser,
    pub(super) scratch: Scratch,
}

/// Memory used again by every step.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    action_log_probs: Vec<f32>,
    values: Vec<f32>,
    discounts: Vec<f32>,
    rewards: Vec<f32>,
    pub(super) returns: VtraceReturns,
    gradient: Vec<f32>,
    /// The parameters before the update.
    before: Vec<f32>,
}

/// Rows of the batch on their way through the step.
struct Block<'a> {
    /// `[rows, O]`
    observations: &'a [f32],
    /// Its first frame.
    start: usize,
    /// Actions of its frames; the batch's last rows, of bootstrap values, are no frames.
    actions: &'a [u8],
}

impl HostStep {
    pub(super) fn new(spec: NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: ComputeDevice) -> Self {
        let optimiser = Optimiser::new(config.optimiser, parameters.len());
        Self { spec, config, device, parameters, optimiser, scratch: Scratch::default() }
    }

    pub(super) fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    pub(super) fn optimiser_state(&self) -> OptimiserState {
        self.optimiser.state()
    }

    pub(super) fn restore_optimiser(&mut self, state: OptimiserState) {
        self.optimiser.restore(state);
    }

    pub(super) fn gradient(&self) -> &[f32] {
        &self.scratch.gradient
    }

    pub(super) fn run(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        let network = Perceptron::load(&self.spec, &self.parameters, &self.device);
        let action_count = self.spec.action_count;
        let passes = each_block(self.blocks(batch), |block| {
            let pass = network.forward(block.observations, &self.device);
            let policy = TargetPolicy::new(pass.outputs(), action_count, block.actions);
            (block, pass, policy)
        });
        self.vtrace(batch, &passes);
        let losses = self.backward(batch, &network, passes);

        let gradient = &mut self.scratch.gradient;
        let gradient_norm = clip_by_global_norm(gradient, self.config.gradient_norm_max);
        if !gradient_norm.is_finite() || !losses.total.is_finite() {
            return Err(Diverged { gradient_norm, loss: losses.total });
        }
        let before = &mut self.scratch.before;
        before.clone_from(&self.parameters);
        self.optimiser.step(&mut self.parameters, gradient, learning_rate);
        if !self.parameters.iter().all(|p| p.is_finite()) {
            self.parameters.clone_from(before);
            return Err(Diverged { gradient_norm, loss: losses.total });
        }
        Ok(StepReport { losses, gradient_norm })
    }

    fn blocks<'a>(&self, batch: &'a Batch) -> Vec<Block<'a>> {
        let rows = rows_per_block(&self.spec, batch.rows());
        let frames = batch.frames();
        let block = |(index, observations): (usize, _)| {
            let start = (index * rows).min(frames);
            Block { observations, start, actions: &batch.actions[start..frames.min(start + rows)] }
        };
        batch.observations.chunks(rows * batch.observation_len).enumerate().map(block).collect()
    }

    /// V-trace over the whole batch: the one part that does not fall into blocks of rows.
    fn vtrace(&mut self, batch: &Batch, passes: &[(Block<'_>, Pass, TargetPolicy)]) {
        let scratch = &mut self.scratch;
        scratch.values.clear();
        scratch.action_log_probs.clear();
        for (_, pass, policy) in passes {
            let rows = pass.outputs().chunks_exact(self.spec.action_count + 1);
            scratch.values.extend(rows.map(|row| row[self.spec.action_count]));
            scratch.action_log_probs.extend_from_slice(&policy.action_log_probs);
        }
        let (frames, values) = (batch.frames(), &scratch.values);
        let bootstrap_end = frames + batch.columns;
        scale_rewards(batch, &self.config, &values[bootstrap_end..], &mut scratch.rewards, &mut scratch.discounts);
        let inputs = VtraceInputs {
            columns: batch.columns,
            behaviour_log_probs: match self.config.correction {
                Correction::Vtrace => &batch.behaviour_log_probs,
                Correction::None => &scratch.action_log_probs,
            },
            target_log_probs: &scratch.action_log_probs,
            discounts: &scratch.discounts,
            rewards: &scratch.rewards,
            values: &values[..frames],
            bootstrap_values: &values[frames..bootstrap_end],
        };
        vtrace(&inputs, &self.config.clipping, &mut scratch.returns);
    }

    /// The losses, and their gradient carried back to the parameters.
    fn backward(
        &mut self,
        batch: &Batch,
        network: &Perceptron,
        passes: Vec<(Block<'_>, Pass, TargetPolicy)>,
    ) -> Losses {
        let Self { config, device, parameters, scratch, .. } = self;
        let VtraceReturns { vs, pg_advantages } = &scratch.returns;
        let parts = each_block(passes, |(block, pass, policy)| {
            let frames = block.start..block.start + block.actions.len();
            let inputs = LossInputs {
                policy: &policy,
                outputs: pass.outputs(),
                actions: block.actions,
                vs: &vs[frames.clone()],
                pg_advantages: &pg_advantages[frames],
                frames: batch.frames(),
            };
            let (losses, output_gradient) = loss(&inputs, config.costs);
            let mut gradient = vec![0.0; parameters.len()];
            network.backward(pass, output_gradient, &mut gradient, device);
            (losses, gradient)
        });
        let mut parts = parts.into_iter();
        let (mut losses, gradient) = parts.next().expect("a batch has rows");
        scratch.gradient = gradient;
        for (part, gradient) in parts {
            losses += part;
            scratch.gradient.iter_mut().zip(gradient).for_each(|(sum, g)| *sum += g);
        }
        losses
    }
}

/// Does the work of every block, on the threads of rayon's pool where there are several of both; the results are in the
/// order of the blocks. A single block or thread is not worth the way to another thread.
fn each_block<T: Send, R: Send>(blocks: Vec<T>, work: impl Fn(T) -> R + Sync + Send) -> Vec<R> {
    if blocks.len() == 1 || rayon::current_num_threads() == 1 {
        return blocks.into_iter().map(work).collect();
    }
    blocks.into_par_iter().with_max_len(1).map(work).collect()
}

/// Rows of a block; every block but the last has so many, and the last is not much smaller.
fn rows_per_block(spec: &NetworkSpec, rows: usize) -> usize {
    let width = spec.hidden.iter().copied().max().unwrap_or(1);
    let wanted = (BLOCK_NUMBERS / width).max(BLOCK_ROWS_MIN);
    let blocks_max = (GRADIENT_NUMBERS_MAX / spec.parameter_count()).max(1);
    rows.div_ceil(rows.div_ceil(wanted).min(blocks_max))
}

/// Rewards and discounts as V-trace wants them. A truncated step is worth its reward plus the discounted value of its true
/// final observation; nothing behind it belongs to it, so its discount is 0 like a terminated step's.
pub(super) fn scale_rewards(
    batch: &Batch,
    config: &StepConfig,
    final_values: &[f32],
    rewards: &mut Vec<f32>,
    discounts: &mut Vec<f32>,
) {
    let scaled = |reward: &f32| {
        let reward = reward * config.reward_scale;
        config.reward_clip.map_or(reward, |bound| reward.clamp(-bound, bound))
    };
    rewards.clear();
    rewards.extend(batch.rewards.iter().map(scaled));
    for (position, value) in batch.truncated.iter().zip(final_values) {
        rewards[*position] += config.discount * value;
    }
    let discount = |outcome: &Outcome| if *outcome == Outcome::Continues { config.discount } else { 0.0 };
    discounts.clear();
    discounts.extend(batch.outcomes.iter().map(discount));
}
