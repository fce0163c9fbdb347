//! What a policy's outputs mean: the [`Distribution`] over actions that a [`PolicyHead`] stands for, from which an actor draws and of
//! which a learner asks log-probabilities, entropies and their gradients. It knows no network, no objective and no environment.
//!
//! | head | distribution | P parameters of a row |
//! |---|---|---|
//! | `Choices`, `MaskedChoices` | independent categoricals (`categorical`) | the logits of every component's choices, side by side |
//! | `Gaussian`, `SquashedGaussian` | a diagonal Gaussian, as it is or through tanh (`gaussian`) | D means, then D log standard deviations |
//!
//! An actor brings rows and a learner columns, as their networks give them. Both pass the same loops, so a policy that acted and one
//! with the same parameters that learns agree to the last bit. A row's results depend neither on the rows beside it nor on the machine.
//! Numbers are in the policy's own unit and are stored and sent as they were drawn; what an environment is told of them is up to
//! [`ActionScale`](crate::action_scale::ActionScale).

mod categorical;
mod gaussian;
mod normal;

use crate::network::PolicyHead;
use categorical::Categorical;
use gaussian::Gaussian;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;

/// The distributions over actions that one head stands for, one for each row of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    head: PolicyHead,
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq)]
enum Kind {
    Categorical(Categorical),
    Gaussian(Gaussian),
}

/// What the network of an actor says about n observations.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[n, stride]`: the first P columns are parameters.
    pub outputs: &'a [f32],
    /// Numbers from one row to the next, P or more.
    pub stride: usize,
    /// `[n, M]`: 0 for every choice that is not allowed, at least one of each component is; empty where nothing is masked.
    pub masks: &'a [u8],
}

/// What the network of a learner says about n frames, and what was done in them.
#[derive(Clone, Copy, Debug)]
pub struct Frames<'a> {
    /// `[P or more, rows]`: the first P columns are parameters, the first n of the rows are frames.
    pub outputs: &'a [f32],
    /// Numbers from one column to the next, n or more.
    pub rows: usize,
    /// `[n, M]`, as in [`Rows`]
    pub masks: &'a [u8],
    /// `[n, D]`: a byte below the component's choices that the mask allows, or what was drawn for a Gaussian.
    pub actions: ArrayRef<'a>,
}

/// Buffers that are used again; they grow to the largest number of rows once.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    categorical: categorical::Buffers,
    gaussian: gaussian::Buffers,
}

impl Distribution {
    /// What the parameters of this head mean.
    ///
    /// # Panics
    /// The head has no components, or one with no choices or more than a byte can name: it is for no valid space.
    pub fn of(head: &PolicyHead) -> Self {
        let kind = match head {
            PolicyHead::Choices(choices) => Kind::Categorical(Categorical::new(choices, false)),
            PolicyHead::MaskedChoices(choices) => Kind::Categorical(Categorical::new(choices, true)),
            PolicyHead::Gaussian(components) => Kind::Gaussian(Gaussian::new(*components, false)),
            PolicyHead::SquashedGaussian(components) => Kind::Gaussian(Gaussian::new(*components, true)),
        };
        Self { head: head.clone(), kind }
    }

    /// No log-probability that [`Self::sample`] tells is above this: 1e-5 for choices, whose probabilities are at most 1; a Gaussian's
    /// are densities, which end where its standard deviations do.
    pub fn log_prob_max(&self) -> f32 {
        match &self.kind {
            Kind::Categorical(_) => 1e-5,
            Kind::Gaussian(gaussian) => gaussian.log_prob_max(),
        }
    }

    /// No number that [`Self::sample`] draws is farther from 0 than this. Where numbers are squashed it is near: log-probabilities of
    /// those beyond would have no digits left. Choices are bytes.
    pub fn action_max(&self) -> f32 {
        match &self.kind {
            Kind::Categorical(_) => f32::from(u8::MAX),
            Kind::Gaussian(gaussian) => gaussian.action_max(),
        }
    }

    /// Draws an action for each of n rows and tells its log-probability. A row takes as many numbers from the random source as an
    /// action has components. Parameters that are no numbers show in the log-probability, never in the action.
    ///
    /// # Shapes
    /// `actions`: `[n, D]`, `log_probs`: `[n]`
    ///
    /// # Panics
    /// The shapes or the kind of numbers are others.
    pub fn sample(
        &self,
        rows: Rows<'_>,
        rng: &mut Rng,
        memory: &mut Memory,
        actions: ArrayMut<'_>,
        log_probs: &mut [f32],
    ) {
        let n = log_probs.len();
        self.check_rows(rows, n, actions.view());
        match &self.kind {
            _ if n == 0 => {}
            Kind::Categorical(categorical) => {
                categorical.sample(rows, rng, &mut memory.categorical, actions.u8(), log_probs);
            }
            Kind::Gaussian(gaussian) => gaussian.sample(rows, rng, &mut memory.gaussian, actions.f32(), log_probs),
        }
    }

    /// The most probable choice of each component among those that are allowed, the first of equals; of a Gaussian the mean, which squashed
    /// becomes the median.
    ///
    /// # Shapes
    /// `actions`: `[n, D]`
    ///
    /// # Panics
    /// The shapes or the kind of numbers are others.
    pub fn mode(&self, rows: Rows<'_>, actions: ArrayMut<'_>) {
        let n = actions.view().len() / self.head.components();
        self.check_rows(rows, n, actions.view());
        match &self.kind {
            Kind::Categorical(categorical) => categorical.mode(rows, actions.u8()),
            Kind::Gaussian(gaussian) => gaussian.mode(rows, actions.f32()),
        }
    }

    /// Log-probabilities of the actions, and entropies, of each of n frames; keeps in `memory` what [`Self::gradient`] needs.
    ///
    /// A choice that its mask does not allow has the log-probability minus infinity: whoever takes trajectories in refuses it. The
    /// entropy of a squashed Gaussian is an estimate from the action (`gaussian`).
    ///
    /// # Shapes
    /// `log_probs`, `entropies`: `[n]`
    ///
    /// # Panics
    /// The shapes or the kind of numbers are others, or an action is none of the choices.
    pub fn evaluate(&self, frames: &Frames<'_>, memory: &mut Memory, log_probs: &mut [f32], entropies: &mut [f32]) {
        let n = log_probs.len();
        assert_eq!(n, entropies.len(), "log-probabilities and entropies of as many frames");
        self.check_frames(frames, n);
        match &self.kind {
            _ if n == 0 => {}
            Kind::Categorical(categorical) => {
                categorical.evaluate(frames, &mut memory.categorical, log_probs, entropies);
            }
            Kind::Gaussian(gaussian) => gaussian.evaluate(frames, &mut memory.gaussian, log_probs, entropies),
        }
    }

    /// The gradient of `sum_i d_log_probs[i] log p(a_i) + d_entropy H_i` with respect to the parameters of the frames that
    /// [`Self::evaluate`] left in `memory`.
    ///
    /// # Shapes
    /// - `d_log_probs`: `[n]`
    /// - `gradient`: overwritten by `[P, n]`
    ///
    /// # Panics
    /// The shapes are others, or those of other frames.
    pub fn gradient(
        &self,
        frames: &Frames<'_>,
        memory: &Memory,
        d_log_probs: &[f32],
        d_entropy: f32,
        gradient: &mut [f32],
    ) {
        let n = d_log_probs.len();
        self.check_frames(frames, n);
        assert_eq!(gradient.len(), n * self.head.parameters(), "a gradient for each parameter of {n} frames");
        match &self.kind {
            _ if n == 0 => {}
            Kind::Categorical(categorical) => {
                categorical.gradient(frames, &memory.categorical, d_log_probs, d_entropy, gradient);
            }
            Kind::Gaussian(gaussian) => {
                gaussian.gradient(frames, &memory.gaussian, d_log_probs, d_entropy, gradient);
            }
        }
    }

    fn check_rows(&self, rows: Rows<'_>, n: usize, actions: ArrayRef<'_>) {
        let Rows { outputs, stride, masks } = rows;
        assert!(stride >= self.head.parameters() && outputs.len() >= n * stride, "outputs are too few for {n} rows");
        assert_eq!(actions.len(), n * self.head.components(), "actions of {n} rows");
        assert_eq!(masks.len(), n * self.head.mask_len(), "masks of {n} rows");
    }

    fn check_frames(&self, frames: &Frames<'_>, n: usize) {
        let Frames { outputs, rows, masks, actions } = *frames;
        assert!(rows >= n && outputs.len() >= rows * self.head.parameters(), "outputs are too few for {n} frames");
        assert_eq!(actions.len(), n * self.head.components(), "actions of {n} frames");
        assert_eq!(masks.len(), n * self.head.mask_len(), "masks of {n} frames");
    }
}

#[cfg(test)]
mod tests;
