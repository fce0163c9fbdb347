//! Initial parameters: orthogonal weights (Saxe et al. 2013), zero biases, drawn on the host from the run's seed, so that
//! every device starts from the same numbers.

use crate::learn::compute::ComputeDevice;
use crate::learn::model::floats;
use burn::tensor::{Tensor, TensorData};
use impala_env::seed::{Purpose, Rng, rng};
use impala_policy::network::{NetworkSpec, SCALE};
use rand::RngExt;
use rand_distr::StandardNormal;

/// Gain of the hidden layers.
const HIDDEN_GAIN: f64 = std::f64::consts::SQRT_2;
/// Gain of the policy head: small, so that the first policy is near uniform.
const POLICY_GAIN: f64 = 0.01;
/// Gain of the value head.
const VALUE_GAIN: f64 = 1.0;
/// Vectors that are made orthogonal together: few enough that those among one another cost little, many enough for fast
/// products with all before.
const PANEL: usize = 64;

/// Parameters of version 0 in the layout of [`NetworkSpec::layout`].
pub fn initial_parameters(spec: &NetworkSpec, run_seed: u64) -> Vec<f32> {
    let mut rng = rng(run_seed, Purpose::Initialisation);
    let mut parameters = vec![0.0; spec.parameter_count()];
    for block in spec.layout() {
        // Of observations nothing is known yet: what they are multiplied by is 1.
        if block.name == SCALE {
            parameters[block.range.clone()].fill(1.0);
        }
        // Biases are zeros, and so are the logarithms of standard deviations and the means of observations.
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
/// `gain`: Gram-Schmidt on normal draws.
///
/// Vectors are taken in panels: a panel is freed of all earlier ones by matrix products, then its vectors of one another.
/// Both are done twice, because once loses orthogonality to rounding.
fn orthogonal(inputs: usize, outputs: usize, gain: f64, rng: &mut Rng) -> Vec<f32> {
    let (count, len) = (inputs.min(outputs), inputs.max(outputs));
    let mut basis: Vec<f32> = Vec::with_capacity(count * len);
    while basis.len() < count * len {
        let vectors = PANEL.min(count - basis.len() / len);
        let mut panel: Vec<f64> = (0..vectors * len).map(|_| rng.sample(StandardNormal)).collect();
        for _ in 0..2 {
            project_out(&basis, &mut panel, len);
            normalise_panel(&mut panel, len);
        }
        basis.extend(panel.iter().map(|x| *x as f32));
    }
    let gain = gain as f32;
    let at = |input: usize, output: usize| match inputs <= outputs {
        true => gain * basis[input * len + output],
        false => gain * basis[output * len + input],
    };
    (0..inputs).flat_map(|input| (0..outputs).map(move |output| (input, output))).map(|(i, o)| at(i, o)).collect()
}

/// Takes from every vector of the panel what lies in the span of the basis: `P - (P Q^T) Q`.
fn project_out(basis: &[f32], panel: &mut [f64], len: usize) {
    if basis.is_empty() {
        return;
    }
    let device = ComputeDevice::cpu();
    let matrix = |values: Vec<f32>| {
        let rows = values.len() / len;
        Tensor::<2>::from_data(TensorData::new(values, [rows, len]), device.plain())
    };
    let (q, p) = (matrix(basis.to_vec()), matrix(panel.iter().map(|x| *x as f32).collect()));
    let inside = p.matmul(q.clone().transpose()).matmul(q).into_data();
    panel.iter_mut().zip(floats(&inside)).for_each(|(x, y)| *x -= f64::from(*y));
}

/// Gram-Schmidt among the vectors of a panel. Normal draws are dependent with probability 0.
fn normalise_panel(panel: &mut [f64], len: usize) {
    for i in 0..panel.len() / len {
        let (before, rest) = panel.split_at_mut(i * len);
        let vector = &mut rest[..len];
        for other in before.chunks_exact(len) {
            let overlap = dot(vector, other);
            vector.iter_mut().zip(other).for_each(|(x, y)| *x -= overlap * y);
        }
        let norm = dot(vector, vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= norm);
    }
}

/// In eight sums, which compilers turn into vectors.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, b) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f64 = a.remainder().iter().zip(b.remainder()).map(|(x, y)| x * y).sum();
    let mut sums = [0.0; 8];
    for (a, b) in a.zip(b) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (x, y))| *sum += x * y);
    }
    sums.iter().sum::<f64>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_policy::activation::Activation;
    use impala_policy::network::PolicyHead;

    #[test]
    fn rows_or_columns_are_orthogonal_with_the_gain_as_norm() {
        let mut rng = rng(1, Purpose::Initialisation);
        for (inputs, outputs) in [(4, 64), (64, 64), (64, 2), (1, 1), (150, 200), (200, 150)] {
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
        let spec = NetworkSpec {
            observation_len: 4,
            hidden: vec![8],
            activation: Activation::Tanh,
            head: PolicyHead::single(2),
            normalises: false,
        };
        let parameters = initial_parameters(&spec, 3);
        for block in spec.layout() {
            let zero = parameters[block.range].iter().all(|p| *p == 0.0);
            assert_eq!(zero, block.name.ends_with("bias"), "{}", block.name);
        }
        assert_eq!(parameters, initial_parameters(&spec, 3));
        assert_ne!(parameters, initial_parameters(&spec, 4));
    }
}
