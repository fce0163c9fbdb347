//! A learner step on the CPU: the batch's rows in blocks, on as many threads as the pool has.
//!
//! Blocks are sized so that one stays in a core's cache from the first product to the last, and their number depends on
//! the batch and the network alone, never on the threads: gradients are added in the order of the blocks, so the result
//! is the same to the bit on any number of threads.

use super::{Correction, Diverged, StepConfig, StepReport};
use crate::batch::Batch;
use crate::device::ComputeDevice;
use crate::loss::{Losses, OutputGradient, TargetPolicy, loss};
use crate::optim::{Optimiser, clip_by_global_norm};
use crate::perceptron::{Pass, Perceptron};
use crate::vtrace::{VtraceInputs, VtraceReturns, vtrace};
use impala_common::network::NetworkSpec;
use impala_common::trajectory::Outcome;
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
    policy: TargetPolicy,
    logits: Vec<f32>,
    values: Vec<f32>,
    discounts: Vec<f32>,
    rewards: Vec<f32>,
    pub(super) returns: VtraceReturns,
    pub(super) output_gradient: OutputGradient,
    gradient: Vec<f32>,
    /// The parameters before the update.
    before: Vec<f32>,
}

impl HostStep {
    pub(super) fn new(spec: NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: ComputeDevice) -> Self {
        let optimiser = Optimiser::new(config.optimiser, parameters.len());
        Self { spec, config, device, parameters, optimiser, scratch: Scratch::default() }
    }

    pub(super) fn parameters(&self) -> &[f32] {
        &self.parameters
    }

    pub(super) fn gradient(&self) -> &[f32] {
        &self.scratch.gradient
    }

    pub(super) fn run(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        let network = Perceptron::load(&self.spec, &self.parameters, &self.device);
        let rows_per_block = rows_per_block(&self.spec, batch.rows());
        let block_len = rows_per_block * batch.observation_len;
        let blocks: Vec<&[f32]> = batch.observations.chunks(block_len).collect();
        let passes = each_block(blocks, |block| network.forward(block, &self.device));

        let losses = self.output_gradient(batch, &passes);
        self.backward(&network, passes, rows_per_block);
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

    /// Turns the outputs into the losses and their gradient.
    fn output_gradient(&mut self, batch: &Batch, passes: &[Pass]) -> Losses {
        let actions = self.spec.action_count;
        let scratch = &mut self.scratch;
        scratch.logits.clear();
        scratch.values.clear();
        for row in passes.iter().flat_map(|pass| pass.outputs().chunks_exact(actions + 1)) {
            scratch.logits.extend_from_slice(&row[..actions]);
            scratch.values.push(row[actions]);
        }
        let (frames, values) = (batch.frames(), &scratch.values);
        let bootstrap_end = frames + batch.columns;
        scratch.policy.update(&scratch.logits, actions, &batch.actions);
        scale_rewards(batch, &self.config, &values[bootstrap_end..], &mut scratch.rewards, &mut scratch.discounts);
        let inputs = VtraceInputs {
            columns: batch.columns,
            behaviour_log_probs: match self.config.correction {
                Correction::Vtrace => &batch.behaviour_log_probs,
                Correction::None => &scratch.policy.action_log_probs,
            },
            target_log_probs: &scratch.policy.action_log_probs,
            discounts: &scratch.discounts,
            rewards: &scratch.rewards,
            values: &values[..frames],
            bootstrap_values: &values[frames..bootstrap_end],
        };
        vtrace(&inputs, &self.config.clipping, &mut scratch.returns);
        let costs = self.config.costs;
        let gradient = &mut scratch.output_gradient;
        loss(&scratch.policy, &batch.actions, &values[..frames], &scratch.returns, costs, batch.rows(), gradient)
    }

    /// Carries the outputs' gradient back to the parameters.
    fn backward(&mut self, network: &Perceptron, passes: Vec<Pass>, rows_per_block: usize) {
        let actions = self.spec.action_count;
        let OutputGradient { logits, values } = &self.scratch.output_gradient;
        let logits = logits.chunks(rows_per_block * actions);
        let blocks: Vec<_> = passes.into_iter().zip(logits.zip(values.chunks(rows_per_block))).collect();
        let mut gradients = each_block(blocks, |(pass, (logits, values))| {
            let row = |(logits, value): (&[f32], &f32)| logits.iter().copied().chain([*value]).collect::<Vec<_>>();
            let outputs = logits.chunks_exact(actions).zip(values).flat_map(row).collect();
            let mut gradient = vec![0.0; self.parameters.len()];
            network.backward(pass, outputs, &mut gradient, &self.device);
            gradient
        })
        .into_iter();
        let gradient = &mut self.scratch.gradient;
        *gradient = gradients.next().expect("a batch has rows");
        for block in gradients {
            gradient.iter_mut().zip(block).for_each(|(sum, g)| *sum += g);
        }
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
