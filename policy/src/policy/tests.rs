use super::*;
use crate::network::PolicyHead;
use impala_env::array::{Array, ArrayMut, ArrayRef, Dtype};
use impala_env::seed::{self, Purpose};
use rand::RngExt;

fn specs() -> Vec<NetworkSpec> {
    let spec = |observation_len, hidden: &[usize], activation, action_count| NetworkSpec {
        observation_len,
        hidden: hidden.to_vec(),
        activation,
        head: PolicyHead::single(action_count),
        normalises: false,
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
            let out = policy.forward(ArrayRef::F32(&observations), n);
            let outputs = spec.head.outputs();
            assert_eq!((out.logits.len(), out.values.len()), (n * outputs, n));
            for (i, row) in observations.chunks_exact(spec.observation_len).enumerate() {
                let (logits, value) = reference(&spec, &parameters, row);
                let actual = &out.logits[i * outputs..][..outputs];
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
        let together = policy.forward(ArrayRef::F32(&observations), n).logits.to_vec();
        for (row, expected) in observations.chunks_exact(spec.observation_len).zip(together.chunks_exact(2)) {
            assert_eq!(policy.forward(ArrayRef::F32(row), 1).logits, expected);
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
        let decision = Decision { actions: ArrayMut::U8(&mut actions), behaviour_log_probs: &mut behaviour_log_probs };
        policy.act(ArrayRef::F32(&observations), &[], &mut rng, decision);
        let logits = policy.forward(ArrayRef::F32(&observations), n).logits;
        for (i, row) in logits.chunks_exact(spec.head.outputs()).enumerate() {
            let total = row.iter().map(|x| f64::from(*x).exp()).sum::<f64>().ln();
            let expected = f64::from(row[usize::from(actions[i])]) - total;
            let actual = f64::from(behaviour_log_probs[i]);
            assert!(actual <= 0.0 && (actual - expected).abs() < 1e-6, "{actual} for {expected}");
        }
    }
}

#[test]
fn the_greedy_action_is_the_first_of_the_largest_logits() {
    let spec = NetworkSpec {
        observation_len: 3,
        hidden: vec![],
        activation: Activation::Relu,
        head: PolicyHead::single(3),
        normalises: false,
    };
    let mut policy = Policy::new(&spec);
    // The policy's weight is the identity: logits are the observation. The value's weight is zero.
    let mut parameters = vec![0.0; spec.parameter_count()];
    (0..3).for_each(|i| parameters[4 * i] = 1.0);
    policy.set_parameters(&parameters);
    let mut actions = [9; 4];
    let observations = [0.0, 1.0, 2.0, 5.0, 1.0, 5.0, -3.0, -1.0, -2.0, 0.0, 0.0, 0.0];
    policy.act_greedily(ArrayRef::F32(&observations), &[], ArrayMut::U8(&mut actions));
    assert_eq!(actions, [2, 0, 1, 0]);
}

#[test]
fn bytes_are_seen_as_numbers_from_0_to_1() {
    let spec = &specs()[0];
    let mut policy = Policy::new(spec);
    policy.set_parameters(&draws(1, spec.parameter_count(), 0.3));
    let bytes = [0, 51, 255, 102];
    let expected = policy.forward(ArrayRef::F32(&[0.0, 0.2, 1.0, 0.4]), 1).logits.to_vec();
    let seen = policy.forward(ArrayRef::U8(&bytes), 1).logits;
    seen.iter().zip(&expected).for_each(|(seen, expected)| assert!((seen - expected).abs() < 1e-6));
}

#[test]
fn every_head_chooses_by_its_distribution() {
    let heads = [
        PolicyHead::Choices(vec![2, 3]),
        PolicyHead::MaskedChoices(vec![3]),
        PolicyHead::Gaussian(2),
        PolicyHead::SquashedGaussian(2),
    ];
    for head in heads {
        let spec =
            NetworkSpec { observation_len: 3, hidden: vec![8], activation: Activation::Tanh, head, normalises: false };
        let (n, components) = (40, spec.head.components());
        let mut policy = Policy::new(&spec);
        policy.set_parameters(&draws(4, spec.parameter_count(), 0.5));
        let observations = draws(5, n * 3, 1.0);
        // The second choice of three is forbidden to every other row.
        let masks: Vec<u8> = (0..n * spec.head.mask_len()).map(|i| u8::from(i % 6 != 1)).collect();
        let numbers = matches!(spec.head, PolicyHead::Gaussian(_) | PolicyHead::SquashedGaussian(_));
        let dtype = if numbers { Dtype::F32 } else { Dtype::U8 };
        let mut rng = seed::rng(2, Purpose::Policy { actor: 0 });
        let (mut actions, mut log_probs) = (Array::zeros(dtype, n * components), vec![f32::NAN; n]);
        let decision = Decision { actions: actions.view_mut(), behaviour_log_probs: &mut log_probs };
        policy.act(ArrayRef::F32(&observations), &masks, &mut rng, decision);
        assert!(log_probs.iter().all(|p| p.is_finite()));
        let mut best = Array::zeros(dtype, n * components);
        policy.act_greedily(ArrayRef::F32(&observations), &masks, best.view_mut());
        let outputs = spec.head.outputs();
        let out = policy.forward(ArrayRef::F32(&observations), n).logits.to_vec();
        match &spec.head {
            PolicyHead::Choices(choices) => {
                let (first, second) = (choices[0], choices[1]);
                for (row, best) in out.chunks_exact(outputs).zip(best.view().u8().chunks_exact(2)) {
                    let larger = |logits: &[f32], than: u8| logits.iter().all(|x| *x <= logits[usize::from(than)]);
                    assert!(larger(&row[..first], best[0]) && larger(&row[first..first + second], best[1]));
                }
            }
            PolicyHead::MaskedChoices(_) => {
                let chosen = actions.view().u8().iter().chain(best.view().u8());
                let forbidden = (0..n).map(|row| row % 2 == 0).cycle();
                assert!(chosen.zip(forbidden).all(|(action, forbidden)| !forbidden || *action != 1));
            }
            PolicyHead::Gaussian(_) | PolicyHead::SquashedGaussian(_) => {
                assert_eq!(best.view().f32(), out, "the mean is the mode");
                assert_ne!(actions, best);
            }
        }
    }
}

#[test]
#[should_panic(expected = "parameters of another network")]
fn parameters_of_another_network_are_refused() {
    Policy::new(&specs()[0]).set_parameters(&[0.0; 3]);
}

#[test]
fn a_policy_that_normalises_sees_what_it_would_be_given_normalised() {
    let spec = NetworkSpec {
        observation_len: 3,
        hidden: vec![8],
        activation: Activation::Tanh,
        head: PolicyHead::single(3),
        normalises: true,
    };
    let trained = spec.trained();
    let mut parameters: Vec<f32> = (0..trained.parameter_count()).map(|i| (i as f32 * 0.37).sin()).collect();
    let mut plain = Policy::new(&trained);
    plain.set_parameters(&parameters);
    parameters.extend([1.0, 0.0, -2.0, 0.5, 1000.0, 2.0]);
    let mut policy = Policy::new(&spec);
    policy.set_parameters(&parameters);
    let normalised = plain.forward(ArrayRef::F32(&[-0.5, 1.0, -2.0, 0.0, 10.0, 4.0]), 2);
    assert_eq!(policy.forward(ArrayRef::F32(&[0.0, 1e-3, -3.0, 1.0, 7.0, 0.0]), 2), normalised);
    // Bytes are numbers from 0 to 1 before that.
    let of_numbers = policy.forward(ArrayRef::F32(&[1.0, 0.0, 0.2]), 1);
    let (logits, values) = (of_numbers.logits.to_vec(), of_numbers.values.to_vec());
    let of_bytes = policy.forward(ArrayRef::U8(&[255, 0, 51]), 1);
    assert_eq!((of_bytes.logits, of_bytes.values), (&logits[..], &values[..]));
}
