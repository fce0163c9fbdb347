//! The actor's own forward pass and the learner's, on the CPU and as a burn module, are the same function.

use burn::tensor::{Tensor, TensorData};
use impala_env::array::ArrayRef;
use impala_env::seed::{Purpose, rng};
use impala_learner::learn::compute::ComputeDevice;
use impala_learner::learn::initialise::initial_parameters;
use impala_learner::learn::model::{ActorCritic, floats};
use impala_learner::learn::network::Network;
use impala_learner::learn::perceptron::{Perceptron, PerceptronPass};
use impala_policy::activation::Activation;
use impala_policy::network::{NetworkSpec, PolicyHead};
use impala_policy::policy::Policy;
use rand::RngExt;

#[test]
fn logits_and_values_agree_to_1e_5() {
    let mut draws = rng(7, Purpose::Initialisation);
    for activation in Activation::ALL {
        for hidden in [vec![64, 64], vec![37], vec![], vec![5, 130, 17]] {
            for rows in [1, 7, 64] {
                let spec =
                    NetworkSpec { observation_len: 4, hidden: hidden.clone(), activation, head: PolicyHead::single(3) };
                let mut parameters = initial_parameters(&spec, 1);
                parameters.iter_mut().for_each(|p| *p += draws.random_range(-0.1..0.1));
                let observations: Vec<f32> = (0..rows * 4).map(|_| draws.random_range(-2.0..2.0)).collect();

                let mut policy = Policy::new(&spec);
                policy.set_parameters(&parameters);
                let actor = policy.forward(ArrayRef::F32(&observations), rows);
                let device = ComputeDevice::cpu();
                let input = Tensor::<2>::from_data(TensorData::new(observations.clone(), [rows, 4]), device.tensors());
                let outputs = ActorCritic::load(&spec, &parameters, &device).forward(input);
                let (logits, values) = (outputs.policy.into_data(), outputs.values.into_data());

                let what = format!("{activation}, {hidden:?}, {rows} rows");
                close(actor.logits, floats(&logits), &what);
                close(actor.values, floats(&values), &what);
                let mut perceptron = Perceptron::new(&spec);
                perceptron.load(&parameters);
                let mut outputs = vec![];
                perceptron.forward(&observations, &mut PerceptronPass::default(), &mut outputs);
                // The same kernels on both sides: the same bits.
                for row in 0..rows {
                    let column = |column: usize| outputs[column * rows + row];
                    assert_eq!(actor.logits[3 * row..3 * row + 3], [column(0), column(1), column(2)], "{what}");
                    assert_eq!(actor.values[row], column(3), "{what}");
                }
            }
        }
    }
}

fn close(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    let worst = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(worst <= 1e-5, "{what}: differ by {worst:e}");
}
