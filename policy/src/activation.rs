//! The activation functions, in a form that compilers vectorise. The actor's policy and the learner's model on the CPU
//! call the same code, so they agree to the last bits.

use impala_env::named;
use serde::{Deserialize, Serialize};

/// Nonlinearity between the layers of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activation {
    /// Hyperbolic tangent.
    Tanh,
    /// `max(0, x)`.
    Relu,
}

impl Activation {
    /// Every activation, in the order in which help texts name them.
    pub const ALL: [Self; 2] = [Self::Tanh, Self::Relu];

    /// The name in flags, configuration files and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tanh => "tanh",
            Self::Relu => "relu",
        }
    }

    /// Applies the function to every element in place.
    #[inline(always)]
    pub fn apply(self, values: &mut [f32]) {
        match self {
            Self::Tanh => values.iter_mut().for_each(|x| *x = tanh(*x)),
            Self::Relu => values.iter_mut().for_each(|x| *x = x.max(0.0)),
        }
    }
}

named!(Activation, "activation");

/// Hyperbolic tangent without branches or calls, within 2e-7 of the exact value: `tanh(|x|) = (1 - e) / (1 + e)` with
/// `e = exp(-2|x|)`.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    // Beyond 10 the result is 1 in f32. `min` hides NaN here; it comes back below.
    let e = exp_nonpositive(-2.0 * x.abs().min(10.0));
    let result = ((1.0 - e) / (1.0 + e)).copysign(x);
    result + if x.is_nan() { x } else { 0.0 }
}

/// `exp(x)` for `x <= 0` without branches or calls, within 1e-7 of the largest value 1; below -87 it stays at `exp(-87)`, and
/// NaN counts as that.
///
/// `exp(x) = 2^n 2^f` where `n` is the nearest integer to `x log2 e`; `2^f`, for `|f| <= 1/2`, is the Taylor polynomial of
/// degree 7 in `f ln 2` (remainder below 6e-9).
#[inline(always)]
pub fn exp_nonpositive(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let exponent = x.max(-87.0) * std::f32::consts::LOG2_E;
    let shifted = exponent + ROUND;
    let z = (exponent - (shifted - ROUND)) * std::f32::consts::LN_2;
    // 1 + z/1 (1 + z/2 (1 + ... z/7)): multiplications by constants, no division.
    let reciprocals = [1.0 / 7.0, 1.0 / 6.0, 1.0 / 5.0, 1.0 / 4.0, 1.0 / 3.0, 1.0 / 2.0, 1.0];
    let fraction = reciprocals.into_iter().fold(1.0, |sum, reciprocal| 1.0 + z * reciprocal * sum);
    fraction * f32::from_bits(shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tanh_is_within_2e_7_of_the_exact_value() {
        let mut worst = 0.0_f64;
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            worst = worst.max((f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        }
        assert!(worst < 2e-7, "worst error {worst:e}");
    }

    #[test]
    fn tanh_is_odd_bounded_and_passes_nan_on() {
        assert_eq!(tanh(0.0), 0.0);
        assert_eq!(tanh(f32::INFINITY), 1.0);
        assert_eq!(tanh(f32::NEG_INFINITY), -1.0);
        assert_eq!(tanh(-0.3), -tanh(0.3));
        assert!(tanh(f32::NAN).is_nan());
    }

    #[test]
    fn names_round_trip() {
        for activation in Activation::ALL {
            assert_eq!(activation.name().parse(), Ok(activation));
        }
        assert!("gelu".parse::<Activation>().is_err());
    }
}
