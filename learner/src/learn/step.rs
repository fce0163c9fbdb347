//! One learner step: forward pass, V-trace, loss, backward pass, clipping, update.
//!
//! Two ways: `host` computes on the CPU, with any network and the objective between its two passes; `device` does the same
//! arithmetic on an accelerator, where nothing but the batch and a few numbers crosses the bus. The networks of `host` are
//! the perceptron with passes written by hand, and in `general` any module of burn with automatic differentiation, which
//! the other ways are tested against.

mod device;
mod general;
mod host;
mod scale;

use crate::learn::batch::Batch;
use crate::learn::compute::ComputeDevice;
use crate::learn::loss::{LossCosts, Losses};
use crate::learn::model::ActorCritic;
use crate::learn::noise::{GradientNoise, PartSums};
use crate::learn::normalise::{Normaliser, SavedNormaliser};
pub use crate::learn::objective::Correction;
use crate::learn::objective::{Objective, ReturnScale};
use crate::learn::optim::{Divisor, OptimiserKind, OptimiserState};
use crate::learn::perceptron::Perceptron;
use crate::learn::ratios::{RatioStatistics, RatioSums};
use crate::learn::value_fit::{ValueFit, ValueSums};
use crate::learn::vtrace::VtraceClipping;
use device::DeviceStep;
use general::General;
use host::HostStep;
use impala_policy::network::{NetworkSpec, PolicyHead};
use scale::GradientScale;
use std::time::Duration;

/// The numbers of a step that do not change during a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepConfig {
    /// V-trace or its absence.
    pub correction: Correction,
    /// Bounds of the importance ratios.
    pub clipping: VtraceClipping,
    /// Weights of the loss's terms.
    pub costs: LossCosts,
    /// Of a step that continues or is truncated.
    pub discount: f32,
    /// Factor on every reward, before clipping.
    pub reward_scale: f32,
    /// Whether rewards are divided by the deviation of what they make, before they are scaled; see `normalise`.
    pub normalises_rewards: bool,
    /// Rewards are clipped to plus or minus this.
    pub reward_clip: Option<f32>,
    /// Global norm to which gradients are clipped.
    pub gradient_norm_max: f32,
    /// Update rule.
    pub optimiser: OptimiserKind,
    /// Which mean of squares divides in it.
    pub divisor: Divisor,
    /// Columns of the batch in whose noise gradients are measured, where batches have different sizes; see `step/scale`.
    pub noise_columns: Option<usize>,
}

impl StepConfig {
    /// Columns that a batch of so many has on an accelerator: where batches have different sizes, few different ones.
    fn filled_columns(&self, columns: usize) -> usize {
        if self.noise_columns.is_some() { columns.next_power_of_two() } else { columns }
    }

    /// The part of the numbers that decides the gradient.
    pub fn objective(&self) -> Objective {
        let StepConfig { correction, clipping, costs, discount, reward_scale, reward_clip, .. } = *self;
        Objective { correction, clipping, costs, returns: ReturnScale { discount, reward_scale, reward_clip } }
    }
}

/// The losses of a batch and the gradient of the parameters: what one update is made from, and what several learners would
/// add up.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Gradient {
    /// Means over the batch.
    pub losses: Losses,
    /// Over the batch's importance ratios.
    pub ratios: RatioSums,
    /// Over the batch's values.
    pub values: ValueSums,
    /// Over the parts that it was added up from.
    pub parts: PartSums,
    /// Of the batch.
    pub columns: usize,
    /// Flat, in the layout's order.
    pub numbers: Vec<f32>,
}

/// Where the time of the updates on the CPU went. All but `blocks` is the serial share, which more threads do not shorten
/// (of large networks `sum` and `apply` are split, too).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StepTimes {
    /// Packing the parameters.
    pub load: Duration,
    /// The one parallel section: gather, forward pass, objective, backward pass of every block.
    pub blocks: Duration,
    /// Adding up the gradients of the blocks.
    pub sum: Duration,
    /// Clipping, optimiser and the guard against numbers that ran away.
    pub apply: Duration,
}

/// What a step did.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StepReport {
    /// Means over the batch, before the update.
    pub losses: Losses,
    /// Global norm before clipping.
    pub gradient_norm: f32,
    /// Euclidean norm of the change of all parameters.
    pub update_norm: f32,
    /// How far the policy was from those that acted, before the update.
    pub ratios: RatioStatistics,
    /// How well the values told their targets, before the update.
    pub values: ValueFit,
    /// How noisy the gradient was; of a batch that is computed as a whole it is not known.
    pub noise: Option<GradientNoise>,
}

/// The numbers ran away.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("training diverged at gradient norm {gradient_norm}, loss {loss}: lower --learning-rate or --reward-scale")]
pub struct Diverged {
    gradient_norm: f32,
    loss: f32,
}

/// Owns the parameters and the optimiser; one step at a time.
#[derive(Debug)]
pub struct LearnerStep {
    engine: Engine,
    scale: GradientScale,
    normaliser: Normaliser,
    reward_scale: f32,
    /// All parameters, where there are some besides the engine's; empty where there are none.
    whole: Vec<f32>,
}

/// Where a step's numbers live.
#[derive(Debug)]
enum Engine {
    Host(Box<HostStep<Perceptron>>),
    General(Box<HostStep<General<ActorCritic>>>),
    Device(Box<DeviceStep>),
}

impl LearnerStep {
    /// A learner at version 0 with the given parameters.
    ///
    /// # Panics
    /// The device is an accelerator that cannot train the network ([`Self::device_computes`]).
    pub fn new(spec: &NetworkSpec, parameters: Vec<f32>, config: StepConfig, device: &ComputeDevice) -> Self {
        Self::with_engine(spec, parameters, config, |spec, parameters| match device.is_cpu() {
            true => Engine::Host(Box::new(HostStep::new(Perceptron::new(spec), &spec.head, parameters, config))),
            false => Engine::Device(Box::new(DeviceStep::new(spec, &parameters, config, device))),
        })
    }

    /// An engine has the trained parameters only.
    fn with_engine(
        spec: &NetworkSpec,
        mut parameters: Vec<f32>,
        config: StepConfig,
        engine: impl FnOnce(&NetworkSpec, Vec<f32>) -> Engine,
    ) -> Self {
        let observation_len = spec.normalises.then_some(spec.observation_len);
        let mut normaliser = Normaliser::new(observation_len, config.normalises_rewards.then_some(config.discount));
        let trained = spec.trained();
        normaliser.begin_with(&parameters.split_off(trained.parameter_count()));
        Self {
            engine: engine(&trained, parameters),
            scale: GradientScale::new(config.noise_columns),
            normaliser,
            reward_scale: config.reward_scale,
            whole: Vec::new(),
        }
    }

    /// Whether an accelerator can train a network with this head: those whose policy is one choice. For all others the CPU computes.
    pub fn device_computes(head: &PolicyHead) -> bool {
        head.as_single().is_some()
    }

    /// The same on the CPU with burn's automatic differentiation: the oracle of the passes written by hand, and how a kind
    /// of network begins that has none.
    pub fn general(spec: &NetworkSpec, parameters: Vec<f32>, config: StepConfig) -> Self {
        Self::with_engine(spec, parameters, config, |spec, parameters| {
            let network = General::actor_critic(spec);
            Engine::General(Box::new(HostStep::new(network, &spec.head, parameters, config)))
        })
    }

    /// Where the time of all updates went; of an accelerator it is not known.
    pub fn times(&self) -> Option<StepTimes> {
        match &self.engine {
            Engine::Host(step) => Some(step.times()),
            Engine::General(step) => Some(step.times()),
            Engine::Device(_) => None,
        }
    }

    /// The flat parameters, at their end the statistics of observations, where these are normalised. On an accelerator they are read
    /// back when they have changed since the last call, which waits for the update under way.
    pub fn parameters(&mut self) -> &[f32] {
        let Self { engine, normaliser, whole, .. } = self;
        let trained = match engine {
            Engine::Host(step) => step.parameters(),
            Engine::General(step) => step.parameters(),
            Engine::Device(step) => step.parameters(),
        };
        let Some(scale) = normaliser.observation_scale() else { return trained };
        whole.clear();
        whole.extend_from_slice(trained);
        whole.extend(scale.statistics());
        whole
    }

    /// The statistics that it keeps, for a checkpoint.
    pub fn normaliser(&self) -> Option<SavedNormaliser> {
        self.normaliser.save()
    }

    /// Goes on with the statistics of a checkpoint; tells whether they are such as this step keeps.
    #[must_use]
    pub fn restore_normaliser(&mut self, saved: &SavedNormaliser) -> bool {
        self.normaliser.restore(saved)
    }

    /// What the optimiser has gathered, for a checkpoint; read back from an accelerator.
    pub fn optimiser_state(&mut self) -> OptimiserState {
        let state = match &mut self.engine {
            Engine::Host(step) => step.optimiser_state(),
            Engine::General(step) => step.optimiser_state(),
            Engine::Device(step) => step.optimiser_state(),
        };
        OptimiserState { columns: self.scale.bound(), ..state }
    }

    /// Goes on with what the optimiser of a checkpoint had gathered.
    ///
    /// # Panics
    /// If it belongs to another number of parameters.
    pub fn restore_optimiser(&mut self, state: OptimiserState) {
        self.scale.restore(state.steps, state.columns);
        match &mut self.engine {
            Engine::Host(step) => step.restore_optimiser(state),
            Engine::General(step) => step.restore_optimiser(state),
            Engine::Device(step) => step.restore_optimiser(&state),
        }
    }

    /// The gradient of the last step, flat, after clipping and scaling; of the trained parameters.
    pub fn gradient(&mut self) -> &[f32] {
        match &mut self.engine {
            Engine::Host(step) => step.gradient(),
            Engine::General(step) => step.gradient(),
            Engine::Device(step) => step.gradient(),
        }
    }

    /// One update, from its beginning to its end.
    ///
    /// # Errors
    /// As for [`LearnerStep::finish`]; also if an earlier update, begun by [`LearnerStep::advance`], ran away.
    pub fn run(&mut self, batch: &Batch, learning_rate: f32) -> Result<StepReport, Diverged> {
        let scale = self.scale.next(batch.columns());
        let inputs = self.normaliser.begin(batch);
        let report = match &mut self.engine {
            Engine::Host(step) => step.run(batch, &inputs, learning_rate, scale),
            Engine::General(step) => step.run(batch, &inputs, learning_rate, scale),
            Engine::Device(step) => step.run(batch, &inputs, learning_rate, scale),
        }?;
        self.normaliser.end(batch, report.values.squared_target, self.reward_scale);
        Ok(report)
    }

    /// One update, of which an accelerator is only handed the work: while it computes, the caller can get the next batch,
    /// and the next call packs and uploads it before it waits. Gives the report of the newest update that is done, on an
    /// accelerator that of the call before (none at the first), on the CPU that of this call.
    ///
    /// # Errors
    /// As for [`LearnerStep::finish`], about the update that the report would be of. A failed update before this one keeps
    /// this one from beginning.
    pub fn advance(&mut self, batch: &Batch, learning_rate: f32) -> Result<Option<StepReport>, Diverged> {
        // The scale of the next rewards depends on what this update finds: it is waited for.
        let waits = self.normaliser.scales_rewards();
        let Engine::Device(step) = &mut self.engine else { return self.run(batch, learning_rate).map(Some) };
        if waits {
            return self.run(batch, learning_rate).map(Some);
        }
        let scale = self.scale.next(batch.columns());
        let inputs = self.normaliser.begin(batch);
        let report = step.advance(batch, &inputs, learning_rate, scale)?;
        self.normaliser.end(batch, 0.0, self.reward_scale);
        Ok(report)
    }

    /// Waits for the update under way; gives its report, or none if there is no such update.
    ///
    /// # Errors
    /// The gradient or the updated parameters are not finite; the parameters are left as they were before that update.
    pub fn finish(&mut self) -> Result<Option<StepReport>, Diverged> {
        match &mut self.engine {
            Engine::Host(_) | Engine::General(_) => Ok(None),
            Engine::Device(step) => step.finish(),
        }
    }
}

#[cfg(test)]
mod tests;
