//! Spaces: of what an observation and an action are made, in the terms of gymnasium's `Box`, `Discrete` and `MultiDiscrete`.
//!
//! An action has D components. A component of a discrete space is one of n choices, a byte; one of a box is a number. Masks have
//! a byte for every choice of every component.

use crate::array::Dtype;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most dimensions of an observation.
pub const DIMENSIONS_MAX: usize = 8;
/// Most numbers in an observation: a picture of 1024 x 1024 in four colours.
pub const OBSERVATION_LEN_MAX: usize = 1 << 22;
/// Most components of an action.
pub const COMPONENTS_MAX: usize = 256;
/// Most choices of one component: an action is a byte.
pub const CHOICES_MAX: usize = 256;

/// What an environment shows: an array of one shape, flattened row by row wherever it lies or travels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObservationSpace {
    /// Its dimensions, outermost first; none for a single number.
    pub shape: Vec<usize>,
    /// Its numbers.
    pub dtype: Dtype,
}

/// What an environment is told to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActionSpace {
    /// One of n choices.
    Discrete(usize),
    /// One of n choices in each of D components.
    MultiDiscrete(Vec<usize>),
    /// A number for each of D components.
    Box(Bounds),
}

/// The least and the most of every component. An infinite one is no bound.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// `[D]`
    pub low: Vec<f32>,
    /// `[D]`, each above its `low`.
    pub high: Vec<f32>,
}

/// A space that nothing can be trained on.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("{field} = {value}, it must be {bounds}")]
pub struct SpaceError {
    /// What is out of bounds.
    pub field: &'static str,
    /// Its value.
    pub value: String,
    /// What it must be.
    pub bounds: &'static str,
}

// Bounds that were validated are not NaN, and equality of specs is asked of validated ones alone.
impl Eq for ActionSpace {}

impl From<usize> for ObservationSpace {
    fn from(len: usize) -> Self {
        Self::vector(len)
    }
}

impl From<usize> for ActionSpace {
    fn from(choices: usize) -> Self {
        Self::Discrete(choices)
    }
}

impl ObservationSpace {
    /// So many numbers in single precision.
    pub fn vector(len: usize) -> Self {
        Self { shape: vec![len], dtype: Dtype::F32 }
    }

    /// Bytes of this shape: pictures, boards. A network sees each divided by 255.
    pub fn bytes(shape: &[usize]) -> Self {
        Self { shape: shape.to_vec(), dtype: Dtype::U8 }
    }

    /// O: numbers in one observation; saturates instead of overflowing on absurd shapes.
    #[allow(clippy::len_without_is_empty, reason = "a valid space is never empty")]
    pub fn len(&self) -> usize {
        self.shape.iter().fold(1, |len: usize, dimension| len.saturating_mul(*dimension))
    }

    /// # Errors
    /// There are too many dimensions, or numbers, or none.
    pub fn validate(&self) -> Result<(), SpaceError> {
        if self.shape.len() > DIMENSIONS_MAX {
            let value = self.shape.len().to_string();
            return Err(SpaceError { field: "dimensions of an observation", value, bounds: "8 or fewer" });
        }
        match self.len() {
            1..=OBSERVATION_LEN_MAX => Ok(()),
            len => Err(SpaceError { field: "observation_len", value: len.to_string(), bounds: "1 to 4194304" }),
        }
    }
}

impl fmt::Display for ObservationSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape: Vec<_> = self.shape.iter().map(ToString::to_string).collect();
        write!(f, "{}[{}]", self.dtype, shape.join(", "))
    }
}

impl ActionSpace {
    /// A box whose components have these bounds.
    pub fn bounded(low: &[f32], high: &[f32]) -> Self {
        Self::Box(Bounds { low: low.to_vec(), high: high.to_vec() })
    }

    /// What an action's components are.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::Discrete(_) | Self::MultiDiscrete(_) => Dtype::U8,
            Self::Box(_) => Dtype::F32,
        }
    }

    /// D: components of an action.
    pub fn components(&self) -> usize {
        match self {
            Self::Discrete(_) => 1,
            Self::MultiDiscrete(choices) => choices.len(),
            Self::Box(bounds) => bounds.low.len(),
        }
    }

    /// `[D]`: the choices of every component; none of a box.
    pub fn choices(&self) -> &[usize] {
        match self {
            Self::Discrete(choices) => std::slice::from_ref(choices),
            Self::MultiDiscrete(choices) => choices,
            Self::Box(_) => &[],
        }
    }

    /// # Errors
    /// A component has no choices or too many, there are too many components or none, or bounds are not in order.
    pub fn validate(&self) -> Result<(), SpaceError> {
        let components = self.components();
        if !(1..=COMPONENTS_MAX).contains(&components) {
            let value = components.to_string();
            return Err(SpaceError { field: "components of an action", value, bounds: "1 to 256" });
        }
        if let Some(choices) = self.choices().iter().find(|choices| !(1..=CHOICES_MAX).contains(*choices)) {
            return Err(SpaceError { field: "action_count", value: choices.to_string(), bounds: "1 to 256" });
        }
        let Self::Box(Bounds { low, high }) = self else {
            return Ok(());
        };
        if low.len() != high.len() {
            let value = format!("{} low, {} high", low.len(), high.len());
            return Err(SpaceError { field: "bounds of an action", value, bounds: "as many low as high" });
        }
        match low.iter().zip(high).find(|(low, high)| low.partial_cmp(high) != Some(std::cmp::Ordering::Less)) {
            None => Ok(()),
            Some((low, high)) => {
                let value = format!("{low} to {high}");
                Err(SpaceError { field: "bounds of an action", value, bounds: "from the least to the most" })
            }
        }
    }
}

impl fmt::Display for ActionSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discrete(choices) => write!(f, "{choices} actions"),
            Self::MultiDiscrete(choices) => {
                let choices: Vec<_> = choices.iter().map(ToString::to_string).collect();
                write!(f, "{} actions", choices.join(" x "))
            }
            Self::Box(Bounds { low, high }) => {
                let ranges = low.iter().zip(high);
                let mut ranges: Vec<_> = ranges.map(|(low, high)| format!("{low} to {high}")).collect();
                // A robot's joints have mostly the same bounds, and there may be many.
                let components = ranges.len();
                ranges.dedup();
                let shown = if ranges.len() > 4 { "bounds of their own".into() } else { ranges.join(", ") };
                write!(f, "actions in {}, {shown}", dimensions(components))
            }
        }
    }
}

/// So many dimensions, for people.
pub fn dimensions(count: usize) -> String {
    format!("{count} dimension{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spaces_tell_their_sizes() {
        assert_eq!(ObservationSpace::bytes(&[10, 10, 4]).len(), 400);
        assert_eq!(ObservationSpace::bytes(&[10, 10, 4]).to_string(), "u8[10, 10, 4]");
        assert_eq!(ObservationSpace { shape: vec![], dtype: Dtype::F32 }.len(), 1);
        let spaces = [
            (ActionSpace::Discrete(3), 1, vec![3], "3 actions"),
            (ActionSpace::MultiDiscrete(vec![3, 2]), 2, vec![3, 2], "3 x 2 actions"),
            (ActionSpace::bounded(&[-1.0; 3], &[1.0; 3]), 3, vec![], "actions in 3 dimensions, -1 to 1"),
            (ActionSpace::bounded(&[0.0, -1.0], &[1.0; 2]), 2, vec![], "actions in 2 dimensions, 0 to 1, -1 to 1"),
        ];
        for (space, components, choices, text) in spaces {
            assert_eq!(space.validate(), Ok(()));
            assert_eq!(
                (space.components(), space.choices(), space.to_string().as_str()),
                (components, &*choices, text)
            );
            let read: ActionSpace = serde_json::from_str(&serde_json::to_string(&space).unwrap()).unwrap();
            assert_eq!(read, space);
        }
    }

    #[test]
    fn what_cannot_be_trained_on_is_named() {
        let refused = |space: ActionSpace| space.validate().unwrap_err().to_string();
        assert_eq!(refused(ActionSpace::Discrete(0)), "action_count = 0, it must be 1 to 256");
        assert_eq!(refused(ActionSpace::MultiDiscrete(vec![2, 257])), "action_count = 257, it must be 1 to 256");
        assert_eq!(refused(ActionSpace::MultiDiscrete(vec![])), "components of an action = 0, it must be 1 to 256");
        for (low, high) in [(1.0, 1.0), (f32::NAN, 1.0), (0.0, f32::NAN), (1.0, -1.0)] {
            assert!(refused(ActionSpace::bounded(&[low], &[high])).contains("from the least to the most"));
        }
        assert!(refused(ActionSpace::bounded(&[0.0], &[])).contains("1 low, 0 high"));
        assert_eq!(ActionSpace::bounded(&[f32::NEG_INFINITY], &[f32::INFINITY]).validate(), Ok(()));
        let refused = |shape: &[usize]| ObservationSpace::bytes(shape).validate().unwrap_err().to_string();
        assert_eq!(refused(&[3, 0]), "observation_len = 0, it must be 1 to 4194304");
        assert!(refused(&[usize::MAX, 2]).contains("it must be 1 to 4194304"));
        assert_eq!(refused(&[1; 9]), "dimensions of an observation = 9, it must be 8 or fewer");
    }
}
