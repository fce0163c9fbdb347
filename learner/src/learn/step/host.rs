//! A learner step on the CPU: the batch's columns in blocks, on as many threads as the pool has.
//!
//! A block's columns go through everything (gather, forward pass, softmax, V-trace, loss, backward pass) on one thread, in
//! memory that stays in that core's cache: an update is one parallel section. How many blocks there are depends on the batch
//! and the network alone, never on the threads, and gradients are added in the order of the blocks, so the result is the
//! same to the bit on any number of threads.

use super::{Diverged, Gradient, StepConfig, StepReport, StepTimes};
use crate::learn::batch::{Batch, Columns};
use crate::learn::flat::{add_all, clip_by_global_norm, distance};
use crate::learn::network::Network;
use crate::learn::noise::PartSums;
use crate::learn::normalise::InputScale;
use crate::learn::objective::{ActionDistribution, Objective, ObjectiveMemory};
use crate::learn::optim::{Optimiser, OptimiserState};
use impala_policy::network::PolicyHead;
use rayon::iter::{IndexedParallelIterator, IntoParallelRefMutIterator, ParallelIterator};
use std::ops::Range;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Numbers of a block's rows in a pass: 256 KiB, half of a small second-level cache.
const BLOCK_NUMBERS: usize = 1 << 16;
/// Fewest rows of a block that is not the last, if the batch has as many: the weights of a wide network come from memory for each block anew, and its
/// gradient goes there.
const BLOCK_ROWS_MIN: usize = 256;
/// Numbers in the gradients of all blocks: 256 MiB.
const GRADIENT_NUMBERS_MAX: usize = 1 << 26;

/// Parameters and optimiser in host memory.
#[derive(Debug)]
pub(super) struct HostStep<N: Network> {
    network: N,
    actions: ActionDistribution,
    objective: Objective,
    config: StepConfig,
    parameters: Vec<f32>,
    optimiser: Optimiser,
    /// Of the newest update, after clipping and scaling.
    gradient: Gradient,
    /// The gradient of each block.
    parts: Vec<Gradient>,
    /// Of each thread that works on a block at the same time.
    memory: Mutex<Vec<BlockMemory<N>>>,
    /// The parameters before the update.
    before: Vec<f32>,
    times: StepTimes,
}

/// What a block needs, used again by the next.
#[derive(Debug)]
pub(super) struct BlockMemory<N: Network> {
    columns: Columns,
    pass: N::Pass,
    outputs: Vec<f32>,
    output_gradient: Vec<f32>,
    pub(super) objective: ObjectiveMemory,
}

impl<N: Network> HostStep<N> {
    pub(super) fn new(network: N, head: &PolicyHead, parameters: Vec<f32>, config: StepConfig) -> Self {
        Self {
            network,
            actions: ActionDistribution::of(head),
            objective: config.objective(),
            optimiser: Optimiser::new(config.optimiser, config.divisor, parameters.len()),
            config,
            parameters,
            gradient: Gradient::default(),
            parts: Vec::new(),
            memory: Mutex::default(),
            before: Vec::new(),
            times: StepTimes::default(),
        }
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
        &self.gradient.numbers
    }

    pub(super) fn times(&self) -> StepTimes {
        self.times
    }

    /// One update, whose gradient is clipped, then multiplied by `scale`.
    pub(super) fn run(
        &mut self,
        batch: &Batch,
        inputs: &InputScale,
        learning_rate: f32,
        scale: f32,
    ) -> Result<StepReport, Diverged> {
        let mut gradient = std::mem::take(&mut self.gradient);
        self.gradient_of(batch, inputs, &mut gradient);
        let report = self.apply(&mut gradient, scale, learning_rate);
        self.gradient = gradient;
        report
    }

    /// The gradient of the batch's loss at the present parameters, overwriting `into`.
    pub(super) fn gradient_of(&mut self, batch: &Batch, inputs: &InputScale, into: &mut Gradient) {
        let mut lap = Lap::begin();
        self.network.load(&self.parameters);
        self.times.load += lap.end();

        let each = self.columns_per_block(batch);
        let blocks = batch.columns().div_ceil(each);
        self.parts.resize_with(blocks, Gradient::default);
        let mut parts = std::mem::take(&mut self.parts);
        let work = |(index, part): (usize, &mut Gradient)| {
            self.block(batch, inputs, index * each..batch.columns().min((index + 1) * each), part);
        };
        // A single block or thread is not worth the way to another thread.
        match blocks == 1 || rayon::current_num_threads() == 1 {
            true => parts.iter_mut().enumerate().for_each(work),
            false => parts.par_iter_mut().enumerate().with_max_len(1).for_each(work),
        }
        self.times.blocks += lap.end();

        into.columns = batch.columns();
        let (first, others) = parts.split_first_mut().expect("a batch has columns");
        (into.losses, into.ratios, into.values, into.parts) = (first.losses, first.ratios, first.values, first.parts);
        for part in others.iter() {
            into.losses += part.losses;
            into.ratios += part.ratios;
            into.values += part.values;
            into.parts += part.parts;
        }
        // Summed into the first block's buffer; that of the sum before is the first block's next time.
        std::mem::swap(&mut into.numbers, &mut first.numbers);
        add_all(&mut into.numbers, &others.iter().map(|part| &part.numbers[..]));
        self.parts = parts;
        self.times.sum += lap.end();
    }

    /// One step against the gradient, which is clipped, then multiplied by `scale`.
    ///
    /// # Errors
    /// The losses, the gradient or the new parameters are not finite; the parameters stay as they were.
    pub(super) fn apply(
        &mut self,
        gradient: &mut Gradient,
        scale: f32,
        learning_rate: f32,
    ) -> Result<StepReport, Diverged> {
        let mut lap = Lap::begin();
        let Gradient { losses, ratios, values, parts, columns, numbers } = gradient;
        let gradient_norm = clip_by_global_norm(numbers, self.config.gradient_norm_max, scale);
        let diverged = Err(Diverged { gradient_norm, loss: losses.total });
        if !gradient_norm.is_finite() || !losses.total.is_finite() {
            return diverged;
        }
        self.before.clone_from(&self.parameters);
        self.optimiser.step(&mut self.parameters, numbers, learning_rate);
        let update_norm = distance(&self.before, &self.parameters);
        if !update_norm.is_finite() {
            self.parameters.clone_from(&self.before);
            return diverged;
        }
        self.times.apply += lap.end();
        let update_norm = update_norm as f32;
        let noise = parts.noise(gradient_norm, *columns);
        let (ratios, values) = (ratios.statistics(), values.fit());
        Ok(StepReport { losses: *losses, gradient_norm, update_norm, ratios, values, noise })
    }

    /// Columns of each block; the last has what is left.
    fn columns_per_block(&self, batch: &Batch) -> usize {
        let (columns, column_rows) = (batch.columns(), batch.unroll_length() + 1);
        let rows = (BLOCK_NUMBERS / self.network.numbers_per_row()).max(BLOCK_ROWS_MIN);
        let blocks_max = (GRADIENT_NUMBERS_MAX / self.parameters.len()).max(1);
        let blocks = columns.div_ceil((rows / column_rows).max(1)).min(blocks_max);
        columns.div_ceil(blocks)
    }

    /// Everything from the columns' trajectories to their part of the gradient.
    fn block(&self, batch: &Batch, inputs: &InputScale, columns: Range<usize>, part: &mut Gradient) {
        let mut memory = self.lock_memory().pop().unwrap_or_default();
        let BlockMemory { columns: gathered, pass, outputs, output_gradient, objective } = &mut memory;
        batch.gather(columns.clone(), gathered);
        inputs.apply(gathered);
        self.network.forward(&gathered.observations, pass, outputs);
        (part.losses, part.ratios, part.values) =
            self.objective.evaluate(&self.actions, gathered, outputs, batch.frames(), objective, output_gradient);
        part.numbers.resize(self.parameters.len(), 0.0);
        self.network.backward(&gathered.observations, pass, output_gradient, &mut part.numbers);
        let share = columns.len() as f64 / batch.columns() as f64;
        part.parts = if share < 1.0 { PartSums::of(&part.numbers, share) } else { PartSums::default() };
        self.lock_memory().push(memory);
    }

    pub(super) fn lock_memory(&self) -> std::sync::MutexGuard<'_, Vec<BlockMemory<N>>> {
        self.memory.lock().expect("nothing panics while it holds the memory")
    }
}

impl<N: Network> Default for BlockMemory<N> {
    fn default() -> Self {
        Self {
            columns: Columns::default(),
            pass: N::Pass::default(),
            outputs: Vec::new(),
            output_gradient: Vec::new(),
            objective: ObjectiveMemory::default(),
        }
    }
}

/// A stopwatch that begins anew whenever it is read.
struct Lap(Instant);

impl Lap {
    fn begin() -> Self {
        Self(Instant::now())
    }

    fn end(&mut self) -> Duration {
        let now = Instant::now();
        now.duration_since(std::mem::replace(&mut self.0, now))
    }
}
