//! The behaviour policy: the network of [`NetworkSpec`] as a plain batched forward pass, and the choice of actions.
//!
//! It computes what the learner's model computes, without a tensor library: an actor stays small, quick to build and
//! quick for the few rows that it asks for. The caller brings the random source; weights are set between two unrolls.
//!
//! A row's results do not depend on the rows beside it: every number is the same sum in the same order wherever the row
//! lies. They do depend on the machine's vector width in the last bits, through fused multiplication and addition.

mod sample;

use crate::activation::Activation;
use crate::linear::{Finish, Layout, Linear};
use crate::network::NetworkSpec;
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
    /// Both heads in one layer: a column for each action, then the value.
    heads: Linear,
    /// Outputs of each hidden layer for one block of rows.
    activations: Vec<Vec<f32>>,
    /// Outputs of the heads, `[n, heads.stride()]`.
    outputs: Vec<f32>,
    logits: Vec<f32>,
    values: Vec<f32>,
    sampler: Sampler,
}

/// What the network says about n observations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogitsAndValues<'a> {
    /// `[n, A]`: unnormalised log-probabilities.
    pub logits: &'a [f32],
    /// `[n]`
    pub values: &'a [f32],
}

/// What the policy chose, written where the caller wants it.
#[derive(Debug)]
pub struct Decision<'a> {
    /// `[n]`
    pub actions: &'a mut [u8],
    /// `[n]`: natural logarithm of the probability with which each action was chosen, at most 0.
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
            heads: Linear::new(spec.torso_len(), spec.action_count + 1),
            torso,
            activations,
            outputs: Vec::new(),
            logits: Vec::new(),
            values: Vec::new(),
            sampler: Sampler::new(spec.action_count),
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
        self.heads.set_columns(self.spec.action_count, next(), next());
    }

    /// Logits and values of `n` observations.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`
    pub fn forward(&mut self, observations: &[f32], n: usize) -> LogitsAndValues<'_> {
        self.evaluate(observations, n);
        let action_count = self.spec.action_count;
        self.logits.clear();
        self.values.clear();
        for row in self.outputs.chunks_exact(self.heads.stride()).take(n) {
            self.logits.extend_from_slice(&row[..action_count]);
            self.values.push(row[action_count]);
        }
        LogitsAndValues { logits: &self.logits, values: &self.values }
    }

    /// Draws one action for each observation, as many as the decision has room for.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`
    pub fn act(&mut self, observations: &[f32], rng: &mut Rng, decision: Decision<'_>) {
        let n = decision.actions.len();
        self.evaluate(observations, n);
        self.sampler.sample(self.arch, &self.outputs[..n * self.heads.stride()], rng, decision);
    }

    /// The most probable action for each observation; the first of equals.
    ///
    /// # Shapes
    /// `observations`: `[n, O]`, `actions`: `[n]`
    pub fn act_greedily(&mut self, observations: &[f32], actions: &mut [u8]) {
        self.evaluate(observations, actions.len());
        for (row, action) in self.outputs.chunks_exact(self.heads.stride()).zip(actions) {
            let mut best = 0_u8;
            for (candidate, logit) in (0_u8..=u8::MAX).zip(&row[..self.spec.action_count]) {
                if *logit > row[usize::from(best)] {
                    best = candidate;
                }
            }
            *action = best;
        }
    }

    fn evaluate(&mut self, observations: &[f32], n: usize) {
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
