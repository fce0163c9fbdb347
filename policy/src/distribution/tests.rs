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

/// n rows of one head.
#[derive(Clone, Debug, Deserialize)]
struct Case {
    name: String,
    head: PolicyHead,
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
    fn random(name: &str, head: PolicyHead, n: usize) -> Self {
        let mut rng = seed::rng(1, Purpose::Initialisation);
        let parameters = (0..n * head.parameters()).map(|_| rng.random::<f32>() * 3.0 - 1.5).collect();
        let mut masks: Vec<_> = (0..n * head.mask_len()).map(|_| u8::from(rng.random::<f32>() < 0.6)).collect();
        for mask in masks.chunks_exact_mut(head.mask_len().max(1)) {
            let mut start = 0;
            for choices in choices(&head) {
                mask[start + rng.random_range(0..*choices)] = 1;
                start += choices;
            }
        }
        let mut case = Self { name: name.into(), head, parameters, masks, actions: vec![] };
        case.actions = case.draw(1).0;
        case
    }

    fn distribution(&self) -> Distribution {
        Distribution::of(&self.head)
    }

    fn dtype(&self) -> Dtype {
        if choices(&self.head).is_empty() { Dtype::F32 } else { Dtype::U8 }
    }

    /// n
    fn len(&self) -> usize {
        self.parameters.len() / self.head.parameters()
    }

    fn array(&self) -> Array {
        match self.dtype() {
            Dtype::F32 => self.actions.clone().into(),
            Dtype::U8 => self.actions.iter().map(|action| *action as u8).collect::<Vec<_>>().into(),
        }
    }

    /// One row alone.
    fn row(&self, i: usize) -> Self {
        let (p, m, d) = (self.head.parameters(), self.head.mask_len(), self.head.components());
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
        for row in self.parameters.chunks_exact(self.head.parameters()) {
            outputs.extend(row.iter().chain(&[f32::NAN; 2]));
        }
        let rows = Rows { outputs: &outputs, stride: self.head.parameters() + 2, masks: &self.masks };
        let mut actions = Array::zeros(self.dtype(), n * self.head.components());
        let (mut memory, mut log_probs) = (Memory::default(), vec![f32::NAN; n]);
        let mut rng = seed::rng(seed, Purpose::Policy { actor: 0 });
        distribution.sample(rows, &mut rng, &mut memory, actions.view_mut(), &mut log_probs);
        (numbers(actions.view()), log_probs)
    }

    fn mode(&self) -> Vec<f32> {
        let distribution = self.distribution();
        let rows = Rows { outputs: &self.parameters, stride: self.head.parameters(), masks: &self.masks };
        let mut actions = Array::zeros(self.dtype(), self.len() * self.head.components());
        distribution.mode(rows, actions.view_mut());
        numbers(actions.view())
    }

    /// In columns that are longer by `spare` rows and more by one than what is meant, which hold no numbers.
    fn evaluate(&self, spare: usize, d_log_probs: &[f32], d_entropy: f32) -> Evaluated {
        let (distribution, n, rows) = (self.distribution(), self.len(), self.len() + spare);
        let p = self.head.parameters();
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

/// `[D]`: the choices of every component; none of a Gaussian.
fn choices(head: &PolicyHead) -> &[usize] {
    match head {
        PolicyHead::Choices(choices) | PolicyHead::MaskedChoices(choices) => choices,
        PolicyHead::Gaussian(_) | PolicyHead::SquashedGaussian(_) => &[],
    }
}

/// A case of each kind.
fn cases(n: usize) -> Vec<Case> {
    let several = || vec![3, 1, 4, 2];
    vec![
        Case::random("one of choices", PolicyHead::single(5), n),
        Case::random("one of choices, masked", PolicyHead::MaskedChoices(vec![5]), n),
        Case::random("several", PolicyHead::Choices(several()), n),
        Case::random("several, masked", PolicyHead::MaskedChoices(several()), n),
        Case::random("number", PolicyHead::Gaussian(1), n),
        Case::random("number, squashed", PolicyHead::SquashedGaussian(1), n),
        Case::random("numbers", PolicyHead::Gaussian(3), n),
        Case::random("numbers, squashed", PolicyHead::SquashedGaussian(3), n),
    ]
}

/// Those of numbers, as they are and squashed.
fn gaussians(components: usize) -> [PolicyHead; 2] {
    [PolicyHead::Gaussian(components), PolicyHead::SquashedGaussian(components)]
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
