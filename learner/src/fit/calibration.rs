//! How long an update takes here: a few real ones on a made-up batch of the run's own shape, before the run begins. What
//! they take does not depend on the numbers, only on network, batch and machine.

use crate::config::Config;
use crate::learn::batch::Batch;
use crate::learn::compute::ComputeDevice;
use crate::learn::step::LearnerStep;
use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;
use impala_policy::network::NetworkSpec;
use std::time::{Duration, Instant};

/// Most updates that are timed.
const UPDATES_MAX: usize = 32;
/// What the CPU backend does at least on one core, multiplications and additions of a product of matrices: a careful guess,
/// to know beforehand what would take too long.
const CPU_FLOPS_MIN: f64 = 10e9;

/// Median time of an update on `device`, from as many as fit into `limit` (but one at least, after one that warms up).
pub fn update_time(config: &Config, device: &ComputeDevice, limit: Duration) -> Duration {
    update_time_of(config, config.batch_size, device, limit, &|| false)
}

/// The same with so many columns in the batch; after each update it may be told to stop, and what it then gives is of no
/// use.
pub fn update_time_of(
    config: &Config,
    columns: usize,
    device: &ComputeDevice,
    limit: Duration,
    stops: &dyn Fn() -> bool,
) -> Duration {
    let network = config.network();
    let parameters = made_up_parameters(&network);
    let batch = made_up_batch(&network, config.unroll_length, columns);
    let mut step = LearnerStep::new(network, parameters, config.step(), device.clone());
    let mut update = || {
        let since = Instant::now();
        // The outcome of a made-up update does not matter.
        let _ = step.run(&batch, 0.0);
        // A published version is read back, which an accelerator takes time for.
        if config.publish_every == 1 {
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
pub fn columns_within(config: &Config, limit: Duration) -> usize {
    let network = config.network();
    // Forward, and twice as much backward, a multiplication and an addition each; half the limit, for two updates at least.
    let column = 6.0 * network.parameter_count() as f64 * (config.unroll_length + 1) as f64;
    let columns = limit.as_secs_f64() / 4.0 * CPU_FLOPS_MIN / column;
    (columns as usize).clamp(1, config.batch_size)
}

/// Parameters that are small and never zero: activations neither saturate nor vanish.
pub fn made_up_parameters(network: &NetworkSpec) -> Vec<f32> {
    (0..network.parameter_count()).map(|i| ((i % 13) as f32 - 6.5) * 1e-3).collect()
}

/// A batch of so many steps and columns.
pub fn made_up_batch(network: &NetworkSpec, steps: usize, columns: usize) -> Batch {
    let (frames, width) = (steps * columns, network.observation_len);
    let shape = TrajectoryShape {
        unroll_length: steps,
        environments: columns,
        observation_len: width,
        action_count: network.action_count,
    };
    let parts = TrajectoryParts {
        observations: (0..(frames + columns) * width).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect(),
        actions: vec![0; frames],
        behaviour_log_probs: vec![-(network.action_count as f32).ln(); frames],
        rewards: vec![1.0; frames],
        outcomes: vec![Outcome::Continues; frames],
        ..TrajectoryParts::default()
    };
    Batch::new(vec![Trajectory::try_new(shape, parts).expect("arrays of this shape")])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::{GivenSettings, Hidden};

    #[test]
    fn an_update_takes_time_even_within_no_limit() {
        let config = Config::complete(GivenSettings::default()).unwrap();
        assert!(update_time(&config, &ComputeDevice::cpu(), Duration::ZERO) > Duration::ZERO);
        let stopped = update_time_of(&config, 1, &ComputeDevice::cpu(), Duration::MAX, &|| true);
        assert!(stopped > Duration::ZERO);
    }

    #[test]
    fn a_large_network_is_measured_with_a_part_of_the_batch() {
        let small = Config::complete(GivenSettings::default()).unwrap();
        assert_eq!(columns_within(&small, Duration::from_millis(300)), small.batch_size);
        let given = GivenSettings { hidden: Some(Hidden(vec![2048, 2048])), ..GivenSettings::default() };
        let large = Config::complete(given).unwrap();
        assert_eq!(columns_within(&large, Duration::from_millis(300)), 2);
        assert_eq!(columns_within(&large, Duration::ZERO), 1);
    }
}
