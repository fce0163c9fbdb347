//! Initial parameters: orthogonal weights (Saxe et al. 2013), zero biases, drawn on the host from the run's seed, so that
//! every device starts from the same numbers.

use impala_common::network::NetworkSpec;
use impala_common::seed::{Purpose, Rng, rng};
use rand::RngExt;
use rand_distr::StandardNormal;

/// Gain of the hidden layers.
const HIDDEN_GAIN: f64 = std::f64::consts::SQRT_2;
/// Gain of the policy head: small, so that the first policy is near uniform.
const POLICY_GAIN: f64 = 0.01;
/// Gain of the value head.
const VALUE_GAIN: f64 = 1.0;

/// Parameters of version 0 in the layout of [`NetworkSpec::layout`].
pub fn initial_parameters(spec: &NetworkSpec, run_seed: u64) -> Vec<f32> {
    let mut rng = rng(run_seed, Purpose::Initialisation);
    let mut parameters = vec![0.0; spec.parameter_count()];
    for block in spec.layout() {
        let [inputs, outputs] = block.shape[..] else { continue };
        let gain = match block.name.as_str() {
            "policy.weight" => POLICY_GAIN,
            "value.weight" => VALUE_GAIN,
            _ => HIDDEN_GAIN,
        };
        let weight = orthogonal(inputs, outputs, gain, &mut rng);
        parameters[block.range].copy_from_slice(&weight);
    }
    parameters
}

/// A `[inputs, outputs]` matrix, row-major, whose rows (or columns, whichever are fewer) are orthogonal and have norm
/// `gain`: Gram-Schmidt on normal draws, twice, because once loses orthogonality to rounding.
fn orthogonal(inputs: usize, outputs: usize, gain: f64, rng: &mut Rng) -> Vec<f32> {
    let (count, len) = (inputs.min(outputs), inputs.max(outputs));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut vector: Vec<f64> = (0..len).map(|_| rng.sample(StandardNormal)).collect();
        for _ in 0..2 {
            for other in &vectors {
                let overlap = dot(&vector, other);
                vector.iter_mut().zip(other).for_each(|(x, y)| *x -= overlap * y);
            }
        }
        let norm = dot(&vector, &vector).sqrt();
        // A draw inside the span of the others has probability 0; draw again instead of dividing by rounding noise.
        if norm > 1e-6 {
            vector.iter_mut().for_each(|x| *x /= norm);
            vectors.push(vector);
        }
    }
    let at = |input: usize, output: usize| match inputs <= outputs {
        true => vectors[input][output],
        false => vectors[output][input],
    };
    let cells = (0..inputs).flat_map(|input| (0..outputs).map(move |output| (input, output)));
    cells.map(|(input, output)| (gain * at(input, output)) as f32).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::activation::Activation;

    #[test]
    fn rows_or_columns_are_orthogonal_with_the_gain_as_norm() {
        let mut rng = rng(1, Purpose::Initialisation);
        for (inputs, outputs) in [(4, 64), (64, 64), (64, 2), (1, 1)] {
            let weight = orthogonal(inputs, outputs, 1.5, &mut rng);
            let row = |i: usize| -> Vec<f64> { (0..outputs).map(|j| f64::from(weight[i * outputs + j])).collect() };
            let column = |j: usize| -> Vec<f64> { (0..inputs).map(|i| f64::from(weight[i * outputs + j])).collect() };
            let vectors: Vec<_> = match inputs <= outputs {
                true => (0..inputs).map(row).collect(),
                false => (0..outputs).map(column).collect(),
            };
            for (i, a) in vectors.iter().enumerate() {
                for (j, b) in vectors.iter().enumerate() {
                    let expected = if i == j { 2.25 } else { 0.0 };
                    assert!((dot(a, b) - expected).abs() < 1e-6, "{inputs}x{outputs}: {i}, {j}");
                }
            }
        }
    }

    #[test]
    fn biases_are_zero_and_the_seed_decides_the_rest() {
        let spec = NetworkSpec { observation_len: 4, hidden: vec![8], activation: Activation::Tanh, action_count: 2 };
        let parameters = initial_parameters(&spec, 3);
        for block in spec.layout() {
            let zero = parameters[block.range].iter().all(|p| *p == 0.0);
            assert_eq!(zero, block.name.ends_with("bias"), "{}", block.name);
        }
        assert_eq!(parameters, initial_parameters(&spec, 3));
        assert_ne!(parameters, initial_parameters(&spec, 4));
    }
}
