//! Parameters and batches that nobody trained or played: to know what an update takes before a run begins, and for tests.

use crate::learn::batch::Batch;
use impala_common::trajectory::{Trajectory, TrajectoryParts, TrajectoryShape};
use impala_env::Outcome;
use impala_env::array::Array;
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::spec::EnvironmentSpec;
use impala_policy::network::{NetworkSpec, PolicyHead};

/// Parameters that are small and never zero: activations neither saturate nor vanish.
pub fn made_up_parameters(network: &NetworkSpec) -> Vec<f32> {
    (0..network.parameter_count()).map(|i| ((i % 13) as f32 - 6.5) * 1e-3).collect()
}

/// A batch of so many steps and columns.
pub fn made_up_batch(network: &NetworkSpec, steps: usize, columns: usize) -> Batch {
    let (frames, width) = (steps * columns, network.observation_len);
    let spec = made_up_environment(network);
    let shape = TrajectoryShape::new(steps, columns, &spec, &network.head);
    let log_prob: f32 = spec.actions.choices().iter().map(|choices| -(*choices as f32).ln()).sum();
    let parts = TrajectoryParts {
        observations: (0..(frames + columns) * width).map(|i| (i % 17) as f32 * 0.1 - 0.8).collect(),
        actions: Array::zeros(spec.actions.dtype(), frames * spec.actions.components()),
        masks: vec![1; frames * spec.mask_len()],
        behaviour_log_probs: vec![log_prob; frames],
        rewards: vec![1.0; frames],
        outcomes: vec![Outcome::Continues; frames],
        ..TrajectoryParts::default()
    };
    Batch::new(vec![Trajectory::try_new(shape, parts).expect("arrays of this shape")])
}

/// An environment that the network fits.
fn made_up_environment(network: &NetworkSpec) -> EnvironmentSpec {
    let actions = match &network.head {
        PolicyHead::Choices(choices) | PolicyHead::MaskedChoices(choices) => match choices[..] {
            [choices] => ActionSpace::Discrete(choices),
            _ => ActionSpace::MultiDiscrete(choices.clone()),
        },
        PolicyHead::Gaussian(components) | PolicyHead::SquashedGaussian(components) => {
            ActionSpace::bounded(&vec![-1.0; *components], &vec![1.0; *components])
        }
    };
    let masked = network.head.mask_len() > 0;
    let observations = ObservationSpace::vector(network.observation_len);
    EnvironmentSpec { masked, ..EnvironmentSpec::new("made up", observations, actions) }
}
