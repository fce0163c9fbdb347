//! How long an update takes here: a few real ones on a made-up batch of the run's own shape, before the run begins. What
//! they take does not depend on the numbers, only on network, batch and machine.

use crate::batch::Batch;
use crate::config::Config;
use crate::device::ComputeDevice;
use crate::step::LearnerStep;
use impala_common::trajectory::Outcome;
use std::time::{Duration, Instant};

/// Most updates that are timed.
const UPDATES_MAX: usize = 32;

/// Median time of an update on `device`, from as many as fit into `limit` (but one at least, after one that warms up).
pub fn update_time(config: &Config, device: &ComputeDevice, limit: Duration) -> Duration {
    let network = config.network();
    // Small and never zero: activations neither saturate nor vanish.
    let parameters = (0..network.parameter_count()).map(|i| ((i % 13) as f32 - 6.5) * 1e-3).collect();
    let mut step = LearnerStep::new(network, parameters, config.step(), device.clone());
    let batch = batch(config);
    let mut update = || {
        let since = Instant::now();
        // The outcome of a made-up update does not matter.
        let _ = step.run(&batch, 0.0);
        since.elapsed()
    };
    let began = Instant::now();
    update();
    let mut times = vec![update()];
    while times.len() < UPDATES_MAX && began.elapsed() < limit {
        times.push(update());
    }
    times.sort();
    times[times.len() / 2]
}

/// A batch of the run's shape.
fn batch(config: &Config) -> Batch {
    let network = config.network();
    let (steps, columns, width) = (config.unroll_length, config.batch_size, network.observation_len);
    let frames = steps * columns;
    Batch {
        unroll_length: steps,
        columns,
        observation_len: width,
        observations: (0..(frames + columns) * width).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect(),
        actions: vec![0; frames],
        behaviour_log_probs: vec![-(network.action_count as f32).ln(); frames],
        rewards: vec![1.0; frames],
        outcomes: vec![Outcome::Continues; frames],
        ..Batch::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::GivenSettings;

    #[test]
    fn an_update_takes_time_even_within_no_limit() {
        let config = Config::complete(GivenSettings::default()).unwrap();
        assert!(update_time(&config, &ComputeDevice::cpu(), Duration::ZERO) > Duration::ZERO);
    }
}
