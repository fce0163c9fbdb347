//! How long an update takes here: a few real ones on a made-up batch of the run's own shape, before the run begins. What
//! they take does not depend on the numbers, only on network, batch and machine.

use crate::config::Config;
use crate::learn::compute::ComputeDevice;
use crate::learn::made_up::{made_up_batch, made_up_parameters};
use crate::learn::step::{LearnerStep, StepConfig};
use impala_policy::network::{NetworkSpec, PolicyHead};
use std::time::{Duration, Instant};

/// Most updates that are timed.
const UPDATES_MAX: usize = 32;
/// What the CPU backend does at least on one core, multiplications and additions of a product of matrices: a careful guess,
/// to know beforehand what would take too long.
const CPU_FLOPS_MIN: f64 = 10e9;

/// The updates of a run, as far as their time depends on its settings.
#[derive(Clone, Debug)]
pub struct Workload {
    network: NetworkSpec,
    step: StepConfig,
    unroll_length: usize,
    batch_size: usize,
    /// Whether the parameters are read back after every update, to be published.
    publishes_each: bool,
}

impl Workload {
    /// Of the run with this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            network: config.network(),
            step: config.step(),
            unroll_length: config.rollout.unroll_length,
            batch_size: config.few_columns(),
            publishes_each: config.weights.publish_every == 1,
        }
    }

    /// What the network's policy gives.
    pub(crate) fn head(&self) -> &PolicyHead {
        &self.network.head
    }

    /// Columns of a whole batch.
    pub(crate) fn batch_size(&self) -> usize {
        self.batch_size
    }
}

/// Median time of an update on `device`, from as many as fit into `limit` (but one at least, after one that warms up).
pub fn update_time(workload: &Workload, device: &ComputeDevice, limit: Duration) -> Duration {
    update_time_of(workload, workload.batch_size, device, limit, &|| false)
}

/// The same with so many columns in the batch; after each update it may be told to stop, and what it then gives is of no
/// use.
pub fn update_time_of(
    workload: &Workload,
    columns: usize,
    device: &ComputeDevice,
    limit: Duration,
    stops: &dyn Fn() -> bool,
) -> Duration {
    let Workload { network, step, unroll_length, publishes_each, .. } = workload;
    let parameters = made_up_parameters(network);
    let batch = made_up_batch(network, *unroll_length, columns);
    let mut step = LearnerStep::new(network, parameters, *step, device);
    let mut update = || {
        let since = Instant::now();
        // The outcome of a made-up update does not matter.
        let _ = step.run(&batch, 0.0);
        // A published version is read back, which an accelerator takes time for.
        if *publishes_each {
            step.parameters();
        }
        since.elapsed()
    };
    let began = Instant::now();
    let first = update();
    if stops() {
        return first;
    }
    let mut times = vec![update()];
    while times.len() < UPDATES_MAX && began.elapsed() < limit && !stops() {
        times.push(update());
    }
    times.sort();
    times[times.len() / 2]
}

/// Columns, at most the run's, of which even a slow CPU trains a few batches within `limit`; at least 1.
pub fn columns_within(workload: &Workload, limit: Duration) -> usize {
    // Forward, and twice as much backward, a multiplication and an addition each; half the limit, for two updates at least.
    let column = 6.0 * workload.network.parameter_count() as f64 * (workload.unroll_length + 1) as f64;
    let columns = limit.as_secs_f64() / 4.0 * CPU_FLOPS_MIN / column;
    (columns as usize).clamp(1, workload.batch_size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workload(toml: &str) -> Workload {
        Workload::of(&Config::complete(toml.parse().unwrap(), &impala_env::builtin()).unwrap())
    }

    #[test]
    fn an_update_takes_time_even_within_no_limit() {
        let workload = workload("");
        assert!(update_time(&workload, &ComputeDevice::cpu(), Duration::ZERO) > Duration::ZERO);
        let stopped = update_time_of(&workload, 1, &ComputeDevice::cpu(), Duration::MAX, &|| true);
        assert!(stopped > Duration::ZERO);
    }

    #[test]
    fn a_large_network_is_measured_with_a_part_of_the_batch() {
        let small = workload("");
        assert_eq!(columns_within(&small, Duration::from_millis(300)), small.batch_size);
        let large = workload("hidden = [2048, 2048]");
        assert_eq!(columns_within(&large, Duration::from_millis(300)), 2);
        assert_eq!(columns_within(&large, Duration::ZERO), 1);
    }
}
