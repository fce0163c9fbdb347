//! Rows of parameters with actions, by whatever they are compared with: torch, the definitions, what was drawn.

mod bounds;
mod definition;
mod draws;
mod fast_path;
mod torch;

use super::*;
use impala_env::array::{Array, Dtype};
use impala_env::seed::{self, Purpose};
use rand::RngExt;
use serde::Deserialize;

/// n rows over one space.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    space: ActionSpace,
    masked: bool,
    squash: Squash,
    /// `[n, P]`
    parameters: Vec<f32>,
    /// `[n, M]`
    masks: Vec<u8>,
    /// `[n, D]`
    actions: Vec<f32>,
}

/// What the learner gets to know.
#[derive(Debug, PartialEq)]
struct Evaluated {
    /// `[n]`
    log_probs: Vec<f32>,
    /// `[n]`
    entropies: Vec<f32>,
    /// `[n, P]`
    gradient: Vec<f32>,
}

impl Case {
    /// Random parameters and masks, and actions that are drawn from them.
    fn random(name: &str, space: ActionSpace, masked: bool, squash: Squash, n: usize) -> Self {
        let distribution = Distribution::new(&space, masked, squash).unwrap();
        let mut rng = seed::rng(1, Purpose::Initialisation);
        let mut case =
            Self { name: name.into(), space, masked, squash, parameters: vec![], masks: vec![], actions: vec![] };
        case.parameters = (0..n * distribution.parameters()).map(|_| rng.random::<f32>() * 3.0 - 1.5).collect();
        case.masks = (0..n * distribution.mask_len()).map(|_| u8::from(rng.random::<f32>() < 0.6)).collect();
        for mask in case.masks.chunks_exact_mut(distribution.mask_len().max(1)) {
            let mut start = 0;
            for choices in case.space.choices() {
                mask[start + rng.random_range(0..*choices)] = 1;
                start += choices;
            }
        }
        case.actions = case.draw(1).0;
        case
    }

    fn distribution(&self) -> Distribution {
        Distribution::new(&self.space, self.masked, self.squash).unwrap()
    }

    /// n
    fn len(&self) -> usize {
        self.parameters.len() / self.distribution().parameters()
    }

    fn array(&self) -> Array {
        match self.space.dtype() {
            Dtype::F32 => self.actions.clone().into(),
            Dtype::U8 => self.actions.iter().map(|action| *action as u8).collect::<Vec<_>>().into(),
        }
    }

    /// One row alone.
    fn row(&self, i: usize) -> Self {
        let distribution = self.distribution();
        let (p, m, d) = (distribution.parameters(), distribution.mask_len(), distribution.components());
        Self {
            parameters: self.parameters[i * p..][..p].to_vec(),
            masks: self.masks[i * m..][..m].to_vec(),
            actions: self.actions[i * d..][..d].to_vec(),
            ..self.clone()
        }
    }

    /// An action a row, with its log-probability; the rows lie 2 numbers apart.
    fn draw(&self, seed: u64) -> (Vec<f32>, Vec<f32>) {
        let (distribution, n) = (self.distribution(), self.len());
        let mut outputs = vec![];
        for row in self.parameters.chunks_exact(distribution.parameters()) {
            outputs.extend(row.iter().chain(&[f32::NAN; 2]));
        }
        let rows = Rows { outputs: &outputs, stride: distribution.parameters() + 2, masks: &self.masks };
        let mut actions = Array::zeros(self.space.dtype(), n * distribution.components());
        let (mut memory, mut log_probs) = (Memory::default(), vec![f32::NAN; n]);
        let mut rng = seed::rng(seed, Purpose::Policy { actor: 0 });
        distribution.sample(rows, &mut rng, &mut memory, actions.view_mut(), &mut log_probs);
        (numbers(actions.view()), log_probs)
    }

    fn mode(&self) -> Vec<f32> {
        let distribution = self.distribution();
        let rows = Rows { outputs: &self.parameters, stride: distribution.parameters(), masks: &self.masks };
        let mut actions = Array::zeros(self.space.dtype(), self.len() * distribution.components());
        distribution.mode(rows, actions.view_mut());
        numbers(actions.view())
    }

    /// In columns that are longer by `spare` rows and more by one than what is meant, which hold no numbers.
    fn evaluate(&self, spare: usize, d_log_probs: &[f32], d_entropy: f32) -> Evaluated {
        let (distribution, n, rows) = (self.distribution(), self.len(), self.len() + spare);
        let p = distribution.parameters();
        let mut outputs = vec![f32::NAN; (p + 1) * rows];
        for (i, row) in self.parameters.chunks_exact(p).enumerate() {
            row.iter().enumerate().for_each(|(column, number)| outputs[column * rows + i] = *number);
        }
        let actions = self.array();
        let frames = Frames { outputs: &outputs, rows, masks: &self.masks, actions: actions.view() };
        let mut memory = Memory::default();
        let (mut log_probs, mut entropies) = (vec![f32::NAN; n], vec![f32::NAN; n]);
        distribution.evaluate(&frames, &mut memory, &mut log_probs, &mut entropies);
        let mut columns = vec![f32::NAN; p * n];
        distribution.gradient(&frames, &memory, d_log_probs, d_entropy, &mut columns);
        let gradient = (0..n * p).map(|at| columns[at % p * n + at / p]).collect();
        Evaluated { log_probs, entropies, gradient }
    }
}

fn numbers(array: ArrayRef<'_>) -> Vec<f32> {
    match array {
        ArrayRef::F32(numbers) => numbers.to_vec(),
        ArrayRef::U8(numbers) => numbers.iter().map(|number| f32::from(*number)).collect(),
    }
}

/// A case of each kind.
fn cases(n: usize) -> Vec<Case> {
    let discrete = || ActionSpace::Discrete(5);
    let several = || ActionSpace::MultiDiscrete(vec![3, 1, 4, 2]);
    let one_number = || ActionSpace::bounded(&[-2.0], &[2.0]);
    let numbers = || ActionSpace::bounded(&[-1.0, -2.0, 0.0], &[1.0, 2.0, 5.0]);
    let boundless = ActionSpace::bounded(&[f32::NEG_INFINITY, 0.0], &[f32::INFINITY, 1.0]);
    vec![
        Case::random("discrete", discrete(), false, Squash::None, n),
        Case::random("discrete, masked", discrete(), true, Squash::None, n),
        Case::random("several", several(), false, Squash::None, n),
        Case::random("several, masked", several(), true, Squash::None, n),
        Case::random("number", one_number(), false, Squash::None, n),
        Case::random("number, squashed", one_number(), false, Squash::Tanh, n),
        Case::random("numbers", numbers(), false, Squash::None, n),
        Case::random("numbers without bounds", boundless, false, Squash::None, n),
        Case::random("numbers, squashed", numbers(), false, Squash::Tanh, n),
    ]
}

/// Within `tolerance` of what is expected, relative to it where it is above 1.
fn assert_close(what: &str, actual: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(actual.len(), expected.len(), "{what}");
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*actual) - expected).abs() / expected.abs().max(1.0);
        assert!(error < tolerance, "{what}, number {i}: {actual} is not {expected}");
    }
}

#[test]
fn sizes_are_those_of_the_space() {
    let sizes = |space: ActionSpace, masked| {
        let distribution = Distribution::new(&space, masked, Squash::None).unwrap();
        let (head, log_stds) = (distribution.head_outputs(), distribution.log_stds());
        (distribution.parameters(), head, log_stds, distribution.components(), distribution.mask_len())
    };
    assert_eq!(sizes(ActionSpace::Discrete(4), false), (4, 4, 0, 1, 0));
    assert_eq!(sizes(ActionSpace::MultiDiscrete(vec![3, 2]), true), (5, 5, 0, 2, 5));
    assert_eq!(sizes(ActionSpace::bounded(&[0.0; 3], &[1.0; 3]), false), (6, 3, 3, 3, 0));
}

#[test]
fn names_of_squashes_round_trip() {
    for squash in Squash::ALL {
        assert_eq!(squash.name().parse(), Ok(squash));
        assert_eq!(serde_json::to_string(&squash).unwrap(), format!("\"{squash}\""));
    }
}

#[test]
fn a_space_without_such_a_distribution_is_named() {
    let refused =
        |space: ActionSpace, masked, squash| Distribution::new(&space, masked, squash).unwrap_err().to_string();
    let boundless = ActionSpace::bounded(&[0.0, f32::NEG_INFINITY], &[1.0, 1.0]);
    let wide = ActionSpace::bounded(&[-3e38], &[3e38]);
    assert!(
        refused(boundless.clone(), false, Squash::Tanh).starts_with("component 1 of an action reaches from -inf to 1,")
    );
    assert!(refused(wide, false, Squash::Tanh).contains("use squash none"));
    assert_eq!(
        refused(ActionSpace::bounded(&[0.0], &[1.0]), true, Squash::None),
        "actions of 1 numbers, 0 to 1 cannot be masked: only choices can"
    );
    assert_eq!(refused(ActionSpace::Discrete(0), false, Squash::None), "action_count = 0, it must be 1 to 256");
    assert!(Distribution::new(&boundless, false, Squash::None).is_ok());
}

#[test]
fn rows_beside_one_do_not_change_it() {
    for case in cases(37) {
        let n = case.len();
        let d_log_probs: Vec<_> = (0..n).map(|i| i as f32 * 0.1 - 1.0).collect();
        let all = case.evaluate(0, &d_log_probs, 0.3);
        assert_eq!(case.evaluate(3, &d_log_probs, 0.3), all, "{}", case.name);
        let p = all.gradient.len() / n;
        for i in [0, 1, 8, 36] {
            let alone = case.row(i).evaluate(0, &d_log_probs[i..=i], 0.3);
            assert_eq!((alone.log_probs[0], alone.entropies[0]), (all.log_probs[i], all.entropies[i]), "{}", case.name);
            assert_eq!(alone.gradient, all.gradient[i * p..][..p], "{}", case.name);
        }
        let (actions, log_probs) = case.draw(2);
        let (first, log_prob) = case.row(0).draw(2);
        assert_eq!((&actions[..first.len()], log_probs[0]), (&*first, log_prob[0]), "{}", case.name);
    }
}

#[test]
fn no_rows_are_no_work() {
    for case in cases(0) {
        assert_eq!(case.evaluate(0, &[], 0.1), Evaluated { log_probs: vec![], entropies: vec![], gradient: vec![] });
        assert!(case.mode().is_empty());
    }
}
