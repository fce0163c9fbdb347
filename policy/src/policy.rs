//! The behaviour policy: the network of [`NetworkSpec`] as a plain batched forward pass, and the choice of actions.
//!
//! It computes what the learner's model computes, without a tensor library: an actor stays small, quick to build and
//! quick for the few rows that it asks for. The caller brings the random source; weights are set between two unrolls.
//!
//! A row's results do not depend on the rows beside it: every number is the same sum in the same order wherever the row
//! lies. They do depend on the machine's vector width in the last bits, through fused multiplication and addition.

mod sample;

use crate::activation::Activation;
use crate::distribution::{Distribution, Memory, Rows};
use crate::linear::{Finish, Layout, Linear};
use crate::network::NetworkSpec;
use crate::normalisation::ObservationScale;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use pulp::{Arch, Simd, WithSimd};
use sample::Sampler;

/// Rows that pass through all layers together: their activations stay in the first-level cache.
const BLOCK_ROWS: usize = 64;

/// The network with one version of its parameters, and the buffers of its forward pass.
pub struct Policy {
    arch: Arch,
    spec: NetworkSpec,
    torso: Vec<Linear>,
    /// Both heads in one layer: H columns for the policy, then the value.
    heads: Linear,
    /// `[H]` of a Gaussian policy, else none.
    log_stds: Vec<f32>,
    /// What observations are normalised by, if they are.
    scale: Option<ObservationScale>,
    /// Observations that came as bytes or are normalised: bytes are numbers from 0 to 1.
    changed: Vec<f32>,
    /// Outputs of each hidden layer for one block of rows.
    activations: Vec<Vec<f32>>,
    /// Outputs of the heads, `[n, heads.stride()]`.
    outputs: Vec<f32>,
    logits: Vec<f32>,
    values: Vec<f32>,
    chooser: Chooser,
}

/// How actions come from outputs.
enum Chooser {
    /// One choice, never masked.
    Single(Sampler),
    /// Any other distribution.
    General(Box<General>),
}

/// A distribution and its memory.
struct General {
    distribution: Distribution,
    memory: Memory,
    /// `[n, P]`: its parameters row by row, where they are not the outputs alone.
    parameters: Vec<f32>,
}

/// What the network says about n observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitsAndValues<'a> {
    /// `[n, H]`: unnormalised log-probabilities, or means.
    pub logits: &'a [f32],
    /// `[n]`
    pub values: &'a [f32],
}

/// What the policy chose, written where the caller wants it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// `[n, D]`
    pub actions: ArrayMut<'a>,
    /// `[n]`: natural logarithm of the probability (of choices, at most 0) or the density (of numbers) with which each action was chosen.
    pub behaviour_log_probs: &'a mut [f32],
}

impl Policy {
    /// A network whose parameters are all zero.
    pub fn new(spec: &NetworkSpec) -> Self {
        let inputs = std::iter::once(spec.observation_len).chain(spec.hidden.iter().copied());
        let torso: Vec<_> = inputs.zip(&spec.hidden).map(|(inputs, outputs)| Linear::new(inputs, *outputs)).collect();
        let activations = torso.iter().map(|layer| vec![0.0; BLOCK_ROWS * layer.stride()]).collect();
        Self {
            arch: Arch::new(),
            spec: spec.clone(),
            heads: Linear::new(spec.torso_len(), spec.head.outputs() + 1),
            log_stds: vec![0.0; spec.head.log_stds()],
            scale: spec.normalises.then(|| ObservationScale::identity(spec.observation_len)),
            changed: Vec::new(),
            torso,
            activations,
            outputs: Vec::new(),
            logits: Vec::new(),
            values: Vec::new(),
            chooser: match spec.head.as_single() {
                Some(choices) => Chooser::Single(Sampler::new(choices)),
                None => Chooser::General(Box::new(General {
                    distribution: Distribution::of(&spec.head),
                    memory: Memory::default(),
                    parameters: Vec::new(),
                })),
            },
        }
    }

    /// Sizes of the network.
    pub fn spec(&self) -> &NetworkSpec {
        &self.spec
    }

    /// Takes over parameters in the order of [`NetworkSpec::layout`].
    ///
    /// # Panics
    /// If their number is not the network's: snapshots were checked for that where they came in.
    pub fn set_parameters(&mut self, parameters: &[f32]) {
        assert_eq!(parameters.len(), self.spec.parameter_count(), "parameters of another network");
        let layout = self.spec.layout();
        let mut tensors = layout.iter().map(|block| &parameters[block.range.clone()]);
        let mut next = || tensors.next().expect("the layout has a weight and a bias for every layer");
        for layer in &mut self.torso {
            layer.set_columns(0, next(), next());
        }
        self.heads.set_columns(0, next(), next());
        if !self.log_stds.is_empty() {
            self.log_stds.copy_from_slice(next());
        }
        self.heads.set_columns(self.spec.head.outputs(), next(), next());
        if let Some(scale) = &mut self.scale {
            *scale = ObservationScale::new(next().to_vec(), next().to_vec());
        }
    }

    /// Logits and values of `n` observations.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`
    pub fn forward(&mut self, observations: ArrayRef<'_>, n: usize) -> LogitsAndValues<'_> {
        self.evaluate(observations, n);
        let policy_len = self.spec.head.outputs();
        self.logits.clear();
        self.values.clear();
        for row in self.outputs.chunks_exact(self.heads.stride()).take(n) {
            self.logits.extend_from_slice(&row[..policy_len]);
            self.values.push(row[policy_len]);
        }
        LogitsAndValues { logits: &self.logits, values: &self.values }
    }

    /// Draws one action for each observation, as many as the decision has room for.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`, `masks`: `[n, M]`
    pub fn act(&mut self, observations: ArrayRef<'_>, masks: &[u8], rng: &mut Rng, decision: Decision<'_>) {
        let n = decision.behaviour_log_probs.len();
        self.evaluate(observations, n);
        let stride = self.heads.stride();
        match &mut self.chooser {
            Chooser::Single(sampler) => sampler.sample(self.arch, &self.outputs[..n * stride], rng, decision),
            Chooser::General(general) => {
                let General { distribution, memory, parameters } = &mut **general;
                let rows = rows(&self.outputs[..n * stride], stride, &self.log_stds, parameters, masks);
                distribution.sample(rows, rng, memory, decision.actions, decision.behaviour_log_probs);
            }
        }
    }

    /// The most probable action for each observation; the first of equals.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`, `masks`: `[n, M]`, `actions`: `[n, D]`
    pub fn act_greedily(&mut self, observations: ArrayRef<'_>, masks: &[u8], actions: ArrayMut<'_>) {
        let n = actions.view().len() / self.spec.head.components();
        self.evaluate(observations, n);
        let stride = self.heads.stride();
        let outputs = &self.outputs[..n * stride];
        match &mut self.chooser {
            Chooser::Single(_) => choose_greedily(outputs, stride, self.spec.head.outputs(), actions.u8()),
            Chooser::General(general) => {
                let rows = rows(outputs, stride, &self.log_stds, &mut general.parameters, masks);
                general.distribution.mode(rows, actions);
            }
        }
    }

    fn evaluate(&mut self, observations: ArrayRef<'_>, n: usize) {
        self.changed.clear();
        let observations = match (observations, &self.scale) {
            (ArrayRef::F32(numbers), None) => numbers,
            (observations, scale) => {
                match observations {
                    ArrayRef::F32(numbers) => self.changed.extend_from_slice(numbers),
                    ArrayRef::U8(bytes) => self.changed.extend(bytes.iter().map(|byte| widened(*byte))),
                }
                scale.iter().for_each(|scale| scale.apply(&mut self.changed));
                &self.changed
            }
        };
        let len = n * self.heads.stride();
        if self.outputs.len() < len {
            self.outputs.resize(len, 0.0);
        }
        self.arch.dispatch(Evaluation {
            activation: self.spec.activation,
            torso: &self.torso,
            heads: &self.heads,
            activations: &mut self.activations,
            observations: &observations[..n * self.spec.observation_len],
            outputs: &mut self.outputs[..len],
        });
    }
}

/// What a network sees of an observation's byte: a number from 0 to 1.
#[inline]
pub fn widened(byte: u8) -> f32 {
    f32::from(byte) * (1.0 / 255.0)
}

fn choose_greedily(outputs: &[f32], stride: usize, choices: usize, actions: &mut [u8]) {
    for (row, action) in outputs.chunks_exact(stride).zip(actions) {
        let mut best = 0_u8;
        for (candidate, logit) in (0_u8..=u8::MAX).zip(&row[..choices]) {
            if *logit > row[usize::from(best)] {
                best = candidate;
            }
        }
        *action = best;
    }
}

/// The parameters of every row's distribution: those of a Gaussian's head are brought together with the standard deviations.
fn rows<'a>(
    outputs: &'a [f32],
    stride: usize,
    log_stds: &[f32],
    parameters: &'a mut Vec<f32>,
    masks: &'a [u8],
) -> Rows<'a> {
    if log_stds.is_empty() {
        return Rows { outputs, stride, masks };
    }
    parameters.clear();
    for row in outputs.chunks_exact(stride) {
        parameters.extend_from_slice(&row[..log_stds.len()]);
        parameters.extend_from_slice(log_stds);
    }
    Rows { outputs: parameters, stride: 2 * log_stds.len(), masks }
}

/// The forward pass of all rows.
struct Evaluation<'a> {
    activation: Activation,
    torso: &'a [Linear],
    heads: &'a Linear,
    activations: &'a mut [Vec<f32>],
    observations: &'a [f32],
    outputs: &'a mut [f32],
}

impl WithSimd for Evaluation<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let observation_len = self.torso.first().unwrap_or(self.heads).inputs();
        let inputs = self.observations.chunks(BLOCK_ROWS * observation_len);
        let outputs = self.outputs.chunks_mut(BLOCK_ROWS * self.heads.stride());
        for (input, output) in inputs.zip(outputs) {
            let rows = output.len() / self.heads.stride();
            let mut x = (input, Layout::rows(observation_len));
            for (layer, y) in self.torso.iter().zip(self.activations.iter_mut()) {
                let layout = Layout::panels(rows);
                layer.forward(simd, rows, x, (&mut *y, layout), Finish::Activate(self.activation));
                x = (y, layout);
            }
            self.heads.forward(simd, rows, x, (output, Layout::rows(self.heads.stride())), Finish::Keep);
        }
    }
}

#[cfg(test)]
mod tests;
