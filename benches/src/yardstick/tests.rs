use super::*;
use impala_env::seed::{self, Purpose};
use impala_policy::network::PolicyHead;
use rand::RngExt;

fn draws(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let mut rng = seed::rng(seed, Purpose::Initialisation);
    (0..len).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * scale).collect()
}

/// `sum(outputs * output_gradients)` in double precision, straight from the layout's formula.
fn weighted_outputs(spec: &NetworkSpec, parameters: &[f64], observations: &[f32], output_gradients: &[f32]) -> f64 {
    let layout = spec.layout();
    let linear = |layer: usize, x: &[f64]| -> Vec<f64> {
        let (weight, bias) = (&parameters[layout[2 * layer].range.clone()], &layout[2 * layer + 1].range);
        let bias = &parameters[bias.clone()];
        let sum = |j: usize| x.iter().enumerate().map(|(i, x)| x * weight[i * bias.len() + j]).sum::<f64>();
        (0..bias.len()).map(|j| sum(j) + bias[j]).collect()
    };
    let rows =
        observations.chunks_exact(spec.observation_len).zip(output_gradients.chunks_exact(spec.head.outputs() + 1));
    let mut total = 0.0;
    for (row, weights) in rows {
        let mut x: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
        for layer in 0..spec.hidden.len() {
            x = linear(layer, &x);
            x.iter_mut().for_each(|x| match spec.activation {
                Activation::Tanh => *x = x.tanh(),
                Activation::Relu => *x = x.max(0.0),
            });
        }
        let outputs = [linear(spec.hidden.len(), &x), linear(spec.hidden.len() + 1, &x)].concat();
        total += outputs.iter().zip(weights).map(|(y, w)| y * f64::from(*w)).sum::<f64>();
    }
    total
}

/// Every instruction set that this machine has.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

#[test]
fn the_gradient_is_that_of_finite_differences() {
    let spec = |hidden: &[usize], activation| NetworkSpec {
        observation_len: 4,
        hidden: hidden.to_vec(),
        activation,
        head: PolicyHead::single(2),
        normalises: false,
    };
    let specs = [
        (spec(&[16, 7], Activation::Tanh), BLOCK_ROWS + 11),
        (spec(&[70, 18], Activation::Tanh), 9),
        (spec(&[5, 33], Activation::Relu), 13),
        (spec(&[], Activation::Tanh), 3),
    ];
    for ((spec, rows), arch) in specs.iter().flat_map(|spec| archs().into_iter().map(move |arch| (spec, arch))) {
        let parameters = draws(1, spec.parameter_count(), 0.5);
        let observations = draws(2, rows * spec.observation_len, 2.0);
        let output_gradients = draws(3, rows * (spec.head.outputs() + 1), 1.0);
        let mut yardstick = Yardstick { arch, ..Yardstick::new(spec) };
        let mut gradient = Vec::new();
        // Twice: nothing of a call may be left for the next.
        for _ in 0..2 {
            yardstick.gradient(&parameters, &observations, &output_gradients, &mut gradient);
        }
        assert_eq!(gradient.len(), parameters.len());
        let exact: Vec<f64> = parameters.iter().map(|p| f64::from(*p)).collect();
        // Every parameter of the small networks, some of the larger ones.
        for i in (0..parameters.len()).step_by(1 + parameters.len() / 150) {
            let at = |offset: f64| {
                let mut parameters = exact.clone();
                parameters[i] += offset;
                weighted_outputs(spec, &parameters, &observations, &output_gradients)
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            let error = (f64::from(gradient[i]) - expected).abs() / expected.abs().max(1.0);
            assert!(error < 2e-4, "{spec:?} parameter {i}: {} for {expected}", gradient[i]);
        }
    }
}
