//! What a policy's outputs mean: a [`Distribution`] over the actions of a space, from which an actor draws and of which a learner asks
//! log-probabilities, entropies and their gradients. It knows no network and no objective.
//!
//! | space | distribution | P parameters of a row |
//! |---|---|---|
//! | `Discrete`, `MultiDiscrete` | independent categoricals (`categorical`) | the logits of every component's choices, side by side |
//! | `Box` | a diagonal Gaussian, squashed into the bounds if asked for (`gaussian`) | D means, then D log standard deviations |
//!
//! An actor brings rows and a learner columns, as their networks give them. Both pass the same loops, so a policy that acted and one
//! with the same parameters that learns agree to the last bit. A row's results depend neither on the rows beside it nor on the machine.
//! An action of a box is stored and sent as it was drawn; [`Distribution::to_environment`] brings it into the bounds.

mod categorical;
mod gaussian;
mod head;
mod normal;

use categorical::Categorical;
use gaussian::Gaussian;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::named;
use impala_env::seed::Rng;
use impala_env::space::{ActionSpace, SpaceError};
use serde::{Deserialize, Serialize};

/// How what was drawn for a box gets into its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Squash {
    /// It is clipped there; log-probabilities and entropies are those of what was drawn.
    #[default]
    None,
    /// By tanh, onto the range between the bounds; log-probabilities and entropies are those of what comes out.
    Tanh,
}

impl Squash {
    /// Every way, in the order in which help texts name them.
    pub const ALL: [Self; 2] = [Self::None, Self::Tanh];

    /// The name in flags, configuration files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Tanh => "tanh",
        }
    }
}

named!(Squash, "squash");

/// A space over which there is no such distribution.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum DistributionError {
    /// Nothing can be trained on the space itself.
    #[error(transparent)]
    Space(#[from] SpaceError),
    /// Masks allow choices, and a box has none.
    #[error("{space} cannot be masked: only choices can")]
    Masked {
        /// What there is instead.
        space: String,
    },
    /// There is no range to squash onto.
    #[error(
        "component {component} of an action reaches from {low} to {high}, tanh squashes only into bounds that are finite and less \
         than 3.4e38 apart: use squash none"
    )]
    Unbounded {
        /// Number of the component, from 0.
        component: usize,
        /// Its least.
        low: f32,
        /// Its most.
        high: f32,
    },
}

/// The distributions over the actions of one space, one for each row of parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
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
    /// `[n, M]`: 0 for every choice that is not allowed, at least one of each component is; empty where the space has no masks.
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
    /// `[n, D]`: a byte below the component's choices that the mask allows, or what was drawn for a box.
    pub actions: ArrayRef<'a>,
}

/// Buffers that are used again; they grow to the largest number of rows once.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    categorical: categorical::Buffers,
    gaussian: gaussian::Buffers,
}

impl Distribution {
    /// `squash` is of boxes, and nothing to choices.
    ///
    /// # Errors
    /// The space is not valid, is masked without having choices, or is to be squashed into bounds that are not finite.
    pub fn new(space: &ActionSpace, masked: bool, squash: Squash) -> Result<Self, DistributionError> {
        space.validate()?;
        let kind = match space {
            ActionSpace::Discrete(_) | ActionSpace::MultiDiscrete(_) => {
                Kind::Categorical(Categorical::new(space.choices(), masked))
            }
            ActionSpace::Box(_) if masked => return Err(DistributionError::Masked { space: space.to_string() }),
            ActionSpace::Box(bounds) => Kind::Gaussian(Gaussian::new(bounds, squash)?),
        };
        Ok(Self { kind })
    }

    /// P: parameters of a row, which are the outputs of the policy's head and then the log standard deviations.
    pub fn parameters(&self) -> usize {
        self.head_outputs() + self.log_stds()
    }

    /// Outputs of the network's policy head, a linear layer: logits or means.
    pub fn head_outputs(&self) -> usize {
        match &self.kind {
            Kind::Categorical(categorical) => categorical.parameters(),
            Kind::Gaussian(gaussian) => gaussian.components(),
        }
    }

    /// Parameters of the network that no observation has a say in and that every row repeats after the head's outputs: the log standard
    /// deviations. They count as within -10 and 2, and have no gradient beyond.
    pub fn log_stds(&self) -> usize {
        match &self.kind {
            Kind::Categorical(_) => 0,
            Kind::Gaussian(gaussian) => gaussian.components(),
        }
    }

    /// D: components of an action.
    pub fn components(&self) -> usize {
        match &self.kind {
            Kind::Categorical(categorical) => categorical.components(),
            Kind::Gaussian(gaussian) => gaussian.components(),
        }
    }

    /// M: bytes of a row's mask, 0 where nothing is masked.
    pub fn mask_len(&self) -> usize {
        match &self.kind {
            Kind::Categorical(categorical) => categorical.mask_len(),
            Kind::Gaussian(_) => 0,
        }
    }

    /// No log-probability that [`Self::sample`] tells is above this: 1e-5 for choices, whose probabilities are at most 1; of a box they
    /// are densities, which end where its standard deviations do.
    pub fn log_prob_max(&self) -> f32 {
        match &self.kind {
            Kind::Categorical(_) => 1e-5,
            Kind::Gaussian(gaussian) => gaussian.log_prob_max(),
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

    /// The most probable choice of each component among those that are allowed, the first of equals; of a box the mean, which squashed
    /// becomes the median.
    ///
    /// # Shapes
    /// `actions`: `[n, D]`
    ///
    /// # Panics
    /// The shapes or the kind of numbers are others.
    pub fn mode(&self, rows: Rows<'_>, actions: ArrayMut<'_>) {
        let n = actions.view().len() / self.components();
        self.check_rows(rows, n, actions.view());
        match &self.kind {
            Kind::Categorical(categorical) => categorical.mode(rows, actions.u8()),
            Kind::Gaussian(gaussian) => gaussian.mode(rows, actions.f32()),
        }
    }

    /// What the environments are told: choices as they are, numbers brought into the bounds, for which `points` is memory.
    ///
    /// # Shapes
    /// `actions` and what is returned: `[n, D]`
    ///
    /// # Panics
    /// The kind of numbers is another.
    pub fn to_environment<'a>(&self, actions: ArrayRef<'a>, points: &'a mut Vec<f32>) -> ArrayRef<'a> {
        match &self.kind {
            Kind::Categorical(_) => ArrayRef::U8(actions.u8()),
            Kind::Gaussian(gaussian) => {
                gaussian.to_environment(actions.f32(), points);
                ArrayRef::F32(points)
            }
        }
    }

    /// Log-probabilities of the actions, and entropies, of each of n frames; keeps in `memory` what [`Self::gradient`] needs.
    ///
    /// A choice that its mask does not allow has the log-probability minus infinity: whoever takes trajectories in refuses it. The
    /// entropy of a squashed box is an estimate from the action (`gaussian`).
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
        assert_eq!(gradient.len(), n * self.parameters(), "a gradient for each parameter of {n} frames");
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
        assert!(stride >= self.parameters() && outputs.len() >= n * stride, "outputs are too few for {n} rows");
        assert_eq!(actions.len(), n * self.components(), "actions of {n} rows");
        assert_eq!(masks.len(), n * self.mask_len(), "masks of {n} rows");
    }

    fn check_frames(&self, frames: &Frames<'_>, n: usize) {
        let Frames { outputs, rows, masks, actions } = *frames;
        assert!(rows >= n && outputs.len() >= rows * self.parameters(), "outputs are too few for {n} frames");
        assert_eq!(actions.len(), n * self.components(), "actions of {n} frames");
        assert_eq!(masks.len(), n * self.mask_len(), "masks of {n} frames");
    }
}

#[cfg(test)]
mod tests;
