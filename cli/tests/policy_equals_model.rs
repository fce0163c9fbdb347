//! The actor's own forward pass and the learner's, on the CPU and as a burn module, are the same function.

use burn::tensor::{Tensor, TensorData};
use impala_env::array::{Array, ArrayRef, Dtype};
use impala_env::seed::{Purpose, Rng, rng};
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::model::{ActorCritic, floats};
use impala_learner::learn::network::Network;
use impala_learner::learn::perceptron::{Perceptron, PerceptronPass};
use impala_policy::activation::Activation;
use impala_policy::distribution::{Distribution, Frames, Memory};
use impala_policy::network::{LOG_STD, NetworkSpec, PolicyHead};
use impala_policy::policy::{Decision, Policy};
use rand::RngExt;

const OBSERVATION_LEN: usize = 4;

fn heads() -> [PolicyHead; 5] {
    [
        PolicyHead::single(3),
        PolicyHead::Choices(vec![2, 9]),
        PolicyHead::MaskedChoices(vec![3, 2]),
        PolicyHead::Gaussian(3),
        PolicyHead::SquashedGaussian(2),
    ]
}

/// Parameters that are all different, also where they begin as zeros.
fn parameters(spec: &NetworkSpec, draws: &mut Rng) -> Vec<f32> {
    let mut parameters = initial_parameters(spec, 1);
    parameters.iter_mut().for_each(|p| *p += draws.random_range(-0.1..0.1));
    parameters
}

fn observations(rows: usize, draws: &mut Rng) -> Vec<f32> {
    (0..rows * OBSERVATION_LEN).map(|_| draws.random_range(-2.0..2.0)).collect()
}

/// `[P + 1, rows]`, as the learner's passes on the CPU give them.
fn columns(spec: &NetworkSpec, parameters: &[f32], observations: &[f32]) -> Vec<f32> {
    let mut perceptron = Perceptron::new(spec);
    perceptron.load(parameters);
    let mut outputs = vec![];
    perceptron.forward(observations, &mut PerceptronPass::default(), &mut outputs);
    outputs
}

#[test]
fn outputs_and_values_agree_with_the_module_to_1e_5_and_with_the_learners_columns_to_the_bit() {
    let mut draws = rng(7, Purpose::Initialisation);
    for head in heads() {
        for activation in Activation::ALL {
            for hidden in [vec![64, 64], vec![37], vec![], vec![5, 130, 17]] {
                let spec = NetworkSpec {
                    observation_len: OBSERVATION_LEN,
                    hidden,
                    activation,
                    head: head.clone(),
                    normalises: false,
                };
                let parameters = parameters(&spec, &mut draws);
                for rows in [1, 7, 64] {
                    let observations = observations(rows, &mut draws);
                    assert_same_function(&spec, &parameters, &observations, rows);
                }
            }
        }
    }
}

fn assert_same_function(spec: &NetworkSpec, parameters: &[f32], observations: &[f32], rows: usize) {
    let mut policy = Policy::new(spec);
    policy.set_parameters(parameters);
    let actor = policy.forward(ArrayRef::F32(observations), rows);
    let log_stds = spec.layout().into_iter().find(|block| block.name == LOG_STD).map_or(0..0, |block| block.range);
    let log_stds = &parameters[log_stds];
    assert_eq!(log_stds.len(), spec.head.log_stds());
    // What makes a row's distribution: the head's outputs and, of a Gaussian, the same standard deviations in every row.
    let rows_of_actor: Vec<f32> =
        actor.logits.chunks_exact(spec.head.outputs()).flat_map(|row| row.iter().chain(log_stds)).copied().collect();
    let what = format!("{:?}, {}, {:?}, {rows} rows", spec.head, spec.activation, spec.hidden);

    let device = ComputeDevice::cpu();
    let input =
        Tensor::<2>::from_data(TensorData::new(observations.to_vec(), [rows, OBSERVATION_LEN]), device.tensors());
    let outputs = ActorCritic::load(spec, parameters, &device).forward(input);
    close(&rows_of_actor, floats(&outputs.policy.into_data()), &what);
    close(actor.values, floats(&outputs.values.into_data()), &what);

    // The same kernels on both sides: the same bits.
    let (columns, width) = (columns(spec, parameters, observations), spec.head.parameters());
    assert_eq!(columns.len(), (width + 1) * rows, "{what}");
    let bits = |numbers: &[f32]| numbers.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
    let rows_of_learner: Vec<f32> = (0..rows * width).map(|i| columns[i % width * rows + i / width]).collect();
    assert_eq!(bits(&rows_of_actor), bits(&rows_of_learner), "{what}");
    assert_eq!(bits(actor.values), bits(&columns[width * rows..]), "{what}");
}

#[test]
fn an_action_has_the_log_probability_of_who_drew_it_to_the_bit_where_it_is_learned_from() {
    let mut draws = rng(8, Purpose::Initialisation);
    for head in heads() {
        let spec = NetworkSpec {
            observation_len: OBSERVATION_LEN,
            hidden: vec![64, 64],
            activation: Activation::Tanh,
            head: head.clone(),
            normalises: false,
        };
        let (rows, parameters) = (64, parameters(&spec, &mut draws));
        let observations = observations(rows, &mut draws);
        // The first choice of three is forbidden to every other row.
        let masks: Vec<u8> = (0..rows * head.mask_len()).map(|i| u8::from(i % 10 != 0)).collect();
        let dtype = if head.log_stds() > 0 { Dtype::F32 } else { Dtype::U8 };
        let (mut actions, mut behaviour) = (Array::zeros(dtype, rows * head.components()), vec![f32::NAN; rows]);
        let decision = Decision { actions: actions.view_mut(), behaviour_log_probs: &mut behaviour };
        let mut policy = Policy::new(&spec);
        policy.set_parameters(&parameters);
        policy.act(ArrayRef::F32(&observations), &masks, &mut draws, decision);

        let outputs = columns(&spec, &parameters, &observations);
        let frames = Frames { outputs: &outputs, rows, masks: &masks, actions: actions.view() };
        let (mut target, mut entropies) = (vec![f32::NAN; rows], vec![f32::NAN; rows]);
        Distribution::of(&head).evaluate(&frames, &mut Memory::default(), &mut target, &mut entropies);
        assert!(behaviour.iter().chain(&entropies).all(|x| x.is_finite()), "{head:?}");
        assert_eq!(behaviour, target, "{head:?}: a policy's ratio to itself is 1");
    }
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5, "{what}: differ by {worst:e}");
}
