use super::*;
use impala_env::seed::{self, Purpose};
use rand::RngExt;

fn specs() -> Vec<NetworkSpec> {
    let spec = |observation_len, hidden: &[usize], activation, action_count| NetworkSpec {
        observation_len,
        hidden: hidden.to_vec(),
        activation,
        action_count,
    };
    vec![
        spec(4, &[64, 64], Activation::Tanh, 2),
        spec(50, &[33, 7], Activation::Relu, 3),
        spec(4, &[], Activation::Tanh, 2),
        spec(3, &[16], Activation::Tanh, 40),
        spec(5, &[1, 100, 17], Activation::Tanh, 1),
    ]
}

fn draws(seed: u64, len: usize, scale: f32) -> Vec<f32> {
    let mut rng = seed::rng(seed, Purpose::Initialisation);
    (0..len).map(|_| (rng.random::<f32>() * 2.0 - 1.0) * scale).collect()
}

/// Logits and value of one row in double precision, straight from the layout's formula.
fn reference(spec: &NetworkSpec, parameters: &[f32], row: &[f32]) -> (Vec<f64>, f64) {
    let layout = spec.layout();
    let linear = |layer: usize, x: &[f64]| -> Vec<f64> {
        let (weight, bias) = (&parameters[layout[2 * layer].range.clone()], &layout[2 * layer + 1]);
        let bias = &parameters[bias.range.clone()];
        let outputs = bias.len();
        let sum = |j: usize| x.iter().enumerate().map(|(i, x)| x * f64::from(weight[i * outputs + j])).sum::<f64>();
        (0..outputs).map(|j| sum(j) + f64::from(bias[j])).collect()
    };
    let mut x: Vec<f64> = row.iter().map(|x| f64::from(*x)).collect();
    let depth = spec.hidden.len();
    for layer in 0..depth {
        x = linear(layer, &x);
        x.iter_mut().for_each(|x| match spec.activation {
            Activation::Tanh => *x = x.tanh(),
            Activation::Relu => *x = x.max(0.0),
        });
    }
    (linear(depth, &x), linear(depth + 1, &x)[0])
}

/// Every instruction set that this machine has.
fn archs() -> Vec<Arch> {
    let mut archs = vec![Arch::new(), Arch::Scalar];
    #[cfg(target_arch = "x86_64")]
    archs.extend(pulp::x86::V3::try_new().map(Arch::V3));
    archs
}

#[test]
fn logits_and_values_are_those_of_the_formula() {
    for (spec, arch) in specs().into_iter().flat_map(|spec| archs().into_iter().map(move |arch| (spec.clone(), arch))) {
        let parameters = draws(1, spec.parameter_count(), 0.3);
        let mut policy = Policy { arch, ..Policy::new(&spec) };
        policy.set_parameters(&parameters);
        for n in [1, 7, 8, 64, 65, 200] {
            let observations = draws(n as u64, n * spec.observation_len, 2.0);
            let out = policy.forward(&observations, n);
            assert_eq!((out.logits.len(), out.values.len()), (n * spec.action_count, n));
            for (i, row) in observations.chunks_exact(spec.observation_len).enumerate() {
                let (logits, value) = reference(&spec, &parameters, row);
                let actual = &out.logits[i * spec.action_count..][..spec.action_count];
                for (actual, expected) in actual.iter().zip(logits).chain([(&out.values[i], value)]) {
                    let error = (f64::from(*actual) - expected).abs() / expected.abs().max(1.0);
                    assert!(error < 2e-6, "{spec:?} row {i} of {n}: {actual} for {expected}");
                }
            }
        }
    }
}

#[test]
fn a_row_does_not_depend_on_the_rows_beside_it() {
    let spec = &specs()[0];
    for arch in archs() {
        let mut policy = Policy { arch, ..Policy::new(spec) };
        policy.set_parameters(&draws(1, spec.parameter_count(), 0.3));
        let n = 3 * BLOCK_ROWS + 5;
        let observations = draws(2, n * spec.observation_len, 2.0);
        let together = policy.forward(&observations, n).logits.to_vec();
        for (row, expected) in observations.chunks_exact(spec.observation_len).zip(together.chunks_exact(2)) {
            assert_eq!(policy.forward(row, 1).logits, expected);
        }
    }
}

#[test]
fn drawn_actions_carry_the_log_probability_of_the_forward_pass() {
    for spec in specs() {
        let mut policy = Policy::new(&spec);
        policy.set_parameters(&draws(1, spec.parameter_count(), 0.5));
        let n = 50;
        let observations = draws(3, n * spec.observation_len, 2.0);
        let (mut actions, mut behaviour_log_probs) = (vec![0; n], vec![0.0; n]);
        let mut rng = seed::rng(1, Purpose::Policy { actor: 0 });
        let decision = Decision { actions: &mut actions, behaviour_log_probs: &mut behaviour_log_probs };
        policy.act(&observations, &mut rng, decision);
        let logits = policy.forward(&observations, n).logits;
        for (i, row) in logits.chunks_exact(spec.action_count).enumerate() {
            let total = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let expected = f64::from(row[usize::from(actions[i])]) - total;
            let actual = f64::from(behaviour_log_probs[i]);
            assert!(actual <= 0.0 && (actual - expected).abs() < 1e-6, "{actual} for {expected}");
        }
    }
}

#[test]
fn the_greedy_action_is_the_first_of_the_largest_logits() {
    let spec = NetworkSpec { observation_len: 3, hidden: vec![], activation: Activation::Relu, action_count: 3 };
    let mut policy = Policy::new(&spec);
    // The policy's weight is the identity: logits are the observation. The value's weight is zero.
    let mut parameters = vec![0.0; spec.parameter_count()];
    (0..3).for_each(|i| parameters[4 * i] = 1.0);
    policy.set_parameters(&parameters);
    let mut actions = [9; 4];
    policy.act_greedily(&[0.0, 1.0, 2.0, 5.0, 1.0, 5.0, -3.0, -1.0, -2.0, 0.0, 0.0, 0.0], &mut actions);
    assert_eq!(actions, [2, 0, 1, 0]);
}

#[test]
#[should_panic(expected = "parameters of another network")]
fn parameters_of_another_network_are_refused() {
    Policy::new(&specs()[0]).set_parameters(&[0.0; 3]);
}
