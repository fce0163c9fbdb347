//! From what a policy draws to what an environment is told. Choices are told as they are. A Gaussian policy works in a unit of its
//! own, so that its first standard deviation, 1, suits every environment: from -1 to 1 it spans the bounds of a component that has
//! both; what it draws beyond is clipped, or has been squashed into them. Without bounds a number is told as it is.
//!
//! Trajectories carry what was drawn: its density is the policy's, and clipping leaves none.

use crate::activation::tanh;
use crate::network::PolicyHead;
use impala_env::array::ArrayRef;
use impala_env::space::ActionSpace;

/// The bounds of an environment's actions, and memory for the newest ones.
#[derive(Clone, Debug)]
pub struct ActionScale {
    is_squashed: bool,
    /// `[D]` of a box, else none: least and most of each component.
    bounds: Vec<(f32, f32)>,
    /// `[n, D]`
    told: Vec<f32>,
}

impl ActionScale {
    /// For actions of this space that a policy with this head draws.
    pub fn new(actions: &ActionSpace, head: &PolicyHead) -> Self {
        let bounds = match actions {
            ActionSpace::Discrete(_) | ActionSpace::MultiDiscrete(_) => Vec::new(),
            ActionSpace::Box(bounds) => bounds.low.iter().copied().zip(bounds.high.iter().copied()).collect(),
        };
        Self { is_squashed: matches!(head, PolicyHead::SquashedGaussian(_)), bounds, told: Vec::new() }
    }

    /// What the environments are told.
    ///
    /// # Shapes
    /// `drawn`: `[n, D]`, as the result
    pub fn apply<'a>(&'a mut self, drawn: ArrayRef<'a>) -> ArrayRef<'a> {
        let ArrayRef::F32(drawn) = drawn else {
            return drawn;
        };
        self.told.clear();
        for row in drawn.chunks_exact(self.bounds.len()) {
            let components = row.iter().zip(&self.bounds);
            self.told.extend(components.map(|(number, bounds)| told(*number, self.is_squashed, *bounds)));
        }
        ArrayRef::F32(&self.told)
    }
}

fn told(drawn: f32, is_squashed: bool, (low, high): (f32, f32)) -> f32 {
    // Our own: the machine's library may round otherwise, and a run shall be the same everywhere.
    let drawn = if is_squashed { tanh(drawn) } else { drawn };
    if low.is_finite() && high.is_finite() {
        // In this order nothing overflows, and both ends are met exactly.
        let share = (0.5 * (drawn + 1.0)).clamp(0.0, 1.0);
        return (low * (1.0 - share) + high * share).clamp(low, high);
    }
    drawn.clamp(low, high)
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_env::spec::EnvironmentSpec;

    fn scale(actions: &ActionSpace, squashed: bool) -> ActionScale {
        let spec = EnvironmentSpec::new("mine", impala_env::space::ObservationSpace::vector(1), actions.clone());
        ActionScale::new(actions, &PolicyHead::of(&spec, squashed))
    }

    #[test]
    fn choices_are_told_as_they_are() {
        let drawn = ArrayRef::U8(&[1, 0, 2]);
        assert_eq!(scale(&ActionSpace::Discrete(3), false).apply(drawn), drawn);
    }

    #[test]
    fn the_unit_spans_the_bounds_and_what_is_beyond_is_clipped() {
        let actions =
            ActionSpace::bounded(&[-2.0, 0.0, f32::NEG_INFINITY, 0.0], &[2.0, 10.0, f32::INFINITY, f32::INFINITY]);
        let mut scale = scale(&actions, false);
        let drawn = [-1.0, -1.0, -1.0, -1.0, 0.5, 0.0, 7.0, 7.0, 3.0, 1e30, 1e30, 1e30];
        let told = [-2.0, 0.0, -1.0, 0.0, 1.0, 5.0, 7.0, 7.0, 2.0, 10.0, 1e30, 1e30];
        assert_eq!(scale.apply(ArrayRef::F32(&drawn)), ArrayRef::F32(&told));
    }

    #[test]
    fn what_is_squashed_stays_within_the_bounds() {
        let mut scale = scale(&ActionSpace::bounded(&[-3.0], &[1.0]), true);
        let told = scale.apply(ArrayRef::F32(&[-50.0, 0.0, 0.5, 50.0])).f32().to_vec();
        assert_eq!((told[0], told[1], told[3]), (-3.0, -1.0, 1.0));
        assert!((told[2] - (2.0 * 0.5_f32.tanh() - 1.0)).abs() < 1e-6);
    }
}
