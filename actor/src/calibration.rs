//! How long an unroll takes here: a few real ones in this thread, before a run begins. What they take hardly depends on the
//! weights, only on environment, network and machine.

use crate::rollout::{RollPlan, Roller};
use crate::weights::Weights;
use impala_common::ids::{Sequence, WeightsVersion};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most unrolls that are timed.
const UNROLLS_MAX: u64 = 32;

/// Median time of an unroll, from as many as fit into `limit` (but one at least, after one that warms up).
pub fn unroll_time(plan: RollPlan, limit: Duration) -> Duration {
    // Small and never zero: activations neither saturate nor vanish.
    let parameters = (0..plan.network.parameter_count()).map(|i| ((i % 13) as f32 - 6.5) * 1e-3).collect();
    let weights = Arc::new(Weights { version: WeightsVersion(0), parameters });
    let mut roller = Roller::new(plan);
    let mut unroll = |sequence| {
        let since = Instant::now();
        // The outcome of a made-up policy does not matter.
        let _ = roller.unroll(Sequence(sequence), &weights);
        since.elapsed()
    };
    let began = Instant::now();
    unroll(0);
    let mut times = vec![unroll(1)];
    while times.len() < UNROLLS_MAX as usize && began.elapsed() < limit {
        times.push(unroll(times.len() as u64 + 1));
    }
    times.sort();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::ids::ActorIndex;
    use impala_policy::activation::Activation;
    use impala_policy::network::{NetworkSpec, PolicyHead};

    #[test]
    fn an_unroll_takes_time_even_within_no_limit() {
        let hidden = vec![8];
        let network = NetworkSpec {
            observation_len: 4,
            hidden,
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let plan = RollPlan {
            environment: impala_env::builtin().kinds()[0].clone(),
            network,
            unroll_length: 4,
            environments: 2,
            seed: 1,
            actor_index: ActorIndex(0),
        };
        assert!(unroll_time(plan, Duration::ZERO) > Duration::ZERO);
    }
}
