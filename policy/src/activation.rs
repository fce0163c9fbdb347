//! The activation functions, and the exponential and logarithm of the softmax, without branches or calls, so that they
//! vectorise. The actor's policy and the learner on the CPU call the same code, so they agree to the last bits.

use impala_env::named;
use pulp::Simd;
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

    /// The function of every lane.
    #[inline(always)]
    pub fn of<S: Simd>(self, simd: S, x: S::f32s) -> S::f32s {
        match self {
            Self::Tanh => tanh_of(simd, x),
            Self::Relu => simd.max_f32s(simd.splat_f32s(0.0), x),
        }
    }

    /// The slope in every lane where the function's own value is y: both functions tell it from that.
    #[inline(always)]
    pub fn slope<S: Simd>(self, simd: S, y: S::f32s) -> S::f32s {
        let (zero, one) = (simd.splat_f32s(0.0), simd.splat_f32s(1.0));
        match self {
            Self::Tanh => simd.negate_mul_add_e_f32s(y, y, one),
            Self::Relu => simd.select_f32s(simd.greater_than_f32s(y, zero), one, zero),
        }
    }
}

named!(Activation, "activation");

/// Beyond this the hyperbolic tangent is 1 in f32.
const TANH_END: f32 = 9.0;
/// Numerator and denominator of `tanh(x) / x` as polynomials of `x^2`, the highest power first: a least-squares fit of the
/// relative error, reweighted towards its largest values, which stays within 2.1e-8 up to [`TANH_END`].
const NUMERATOR: [f32; 5] = [1.339_599_1e-8, 2.063_878e-5, 3.497_389_4e-3, 0.133_825_42, 0.999_999_98];
const DENOMINATOR: [f32; 5] = [7.793_431e-7, 3.288_582_6e-4, 0.025_883_833, 0.467_158_6, 1.0];

/// Hyperbolic tangent without branches or calls, within 4e-7 of the exact value.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let square = (x * x).min(TANH_END * TANH_END);
    let polynomial = |terms: [f32; 5]| terms.into_iter().fold(0.0, |sum, term| sum * square + term);
    // Beyond the end the quotient goes on growing, up to the bound.
    (x * polynomial(NUMERATOR) / polynomial(DENOMINATOR)).clamp(-1.0, 1.0)
}

/// [`tanh`] of every lane, with fused multiplications and additions where the machine has them.
#[inline(always)]
fn tanh_of<S: Simd>(simd: S, x: S::f32s) -> S::f32s {
    let square = simd.min_f32s(simd.splat_f32s(TANH_END * TANH_END), simd.mul_f32s(x, x));
    let numerator = simd.mul_f32s(x, polynomial(simd, square, NUMERATOR));
    let quotient = simd.div_f32s(numerator, polynomial(simd, square, DENOMINATOR));
    // Vectors of all machines give the second operand, or what is no number, where one of the two is none.
    let result = simd.max_f32s(simd.splat_f32s(-1.0), simd.min_f32s(simd.splat_f32s(1.0), quotient));
    match S::F32_LANES {
        1 => simd.select_f32s(simd.equal_f32s(x, x), result, x),
        _ => result,
    }
}

/// The terms belong to falling powers of x. A function and not a closure: only what is inlined for certain gets the
/// machine's vectors.
#[inline(always)]
fn polynomial<S: Simd>(simd: S, x: S::f32s, terms: [f32; 5]) -> S::f32s {
    let mut sum = simd.splat_f32s(terms[0]);
    for term in &terms[1..] {
        sum = simd.mul_add_e_f32s(sum, x, simd.splat_f32s(*term));
    }
    sum
}

/// `exp(x)` without branches or calls, within 1e-7 of the exact value relative to it or to 1, whichever is larger; below -87
/// it stays at `exp(-87)`, above 88 at `exp(88)`, and NaN counts as -87.
///
/// `exp(x) = 2^n 2^f` where `n` is the nearest integer to `x log2 e`; `2^f`, for `|f| <= 1/2`, is the Taylor polynomial of
/// degree 7 in `f ln 2` (remainder below 6e-9).
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Adding and subtracting 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    #[allow(clippy::manual_clamp, reason = "a clamp would pass NaN on")]
    let exponent = x.max(-87.0).min(88.0) * std::f32::consts::LOG2_E;
    let shifted = exponent + ROUND;
    let z = (exponent - (shifted - ROUND)) * std::f32::consts::LN_2;
    // 1 + z/1 (1 + z/2 (1 + ... z/7)): multiplications by constants, no division.
    let reciprocals = [1.0 / 7.0, 1.0 / 6.0, 1.0 / 5.0, 1.0 / 4.0, 1.0 / 3.0, 1.0 / 2.0, 1.0];
    let fraction = reciprocals.into_iter().fold(1.0, |sum, reciprocal| 1.0 + z * reciprocal * sum);
    fraction * f32::from_bits(shifted.to_bits().wrapping_shl(23).wrapping_add(0x3f80_0000))
}

/// `ln(x)` for positive normal `x`, within 2e-7 relative to `max(1, |ln x|)`.
///
/// `ln(x) = n ln 2 + 2 artanh(s)` with `x = 2^n m`, `m` from `sqrt(1/2)` to `sqrt(2)` and `s = (m - 1) / (m + 1)`; the
/// series of artanh to `s^9` leaves less than 1e-9 for `|s| <= 0.172`.
#[inline(always)]
pub fn ln(x: f32) -> f32 {
    // Subtracting the bits of sqrt(1/2) moves the border between two exponents there.
    const SQRT_HALF: u32 = 0x3f35_04f3;
    let offset = x.to_bits().wrapping_sub(SQRT_HALF);
    let n = (offset as i32) >> 23;
    let m = f32::from_bits((offset & 0x007f_ffff).wrapping_add(SQRT_HALF));
    let s = (m - 1.0) / (m + 1.0);
    let square = s * s;
    let mut series = 1.0 / 9.0;
    for term in [1.0 / 7.0, 1.0 / 5.0, 1.0 / 3.0, 1.0] {
        series = term + square * series;
    }
    n as f32 * std::f32::consts::LN_2 + 2.0 * s * series
}

#[cfg(test)]
mod tests {
    use super::*;
    use pulp::{Arch, WithSimd};

    #[test]
    fn tanh_is_within_4e_7_of_the_exact_value() {
        let mut worst = 0.0_f64;
        for i in -200_000..=200_000 {
            let x = i as f32 * 1e-4;
            worst = worst.max((f64::from(tanh(x)) - f64::from(x).tanh()).abs());
        }
        assert!(worst < 4e-7, "worst error {worst:e}");
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
    fn exp_is_within_1e_7_of_the_exact_value() {
        for i in 0..=1_000_000 {
            let x = -20.0 * i as f32 * 1e-6;
            let error = (f64::from(exp(x)) - f64::from(x).exp()).abs();
            assert!(error < 1.2e-7, "exp({x}) is off by {error:e}");
        }
        for i in 0..=100_000 {
            let x = 80.0 * i as f32 * 1e-5;
            let exact = f64::from(x).exp();
            // The exponent's own rounding grows with it.
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2e-7 * f64::from(1.0_f32.max(x)), "exp({x})");
        }
        assert_eq!(exp(0.0), 1.0);
        assert!(exp(f32::NEG_INFINITY) < 1e-37);
    }

    #[test]
    fn ln_is_within_2e_7_of_the_exact_value() {
        for i in 0..=1_000_000 {
            let x = 1.0 + 255.0 * i as f32 * 1e-6;
            let exact = f64::from(x).ln();
            let error = (f64::from(ln(x)) - exact).abs() / exact.max(1.0);
            assert!(error < 2e-7, "ln({x}) is off by {error:e}");
        }
        assert_eq!(ln(1.0), 0.0);
    }

    struct Lanes<'a>(Activation, &'a [f32], &'a mut [f32]);

    impl WithSimd for Lanes<'_> {
        type Output = ();

        #[inline(always)]
        fn with_simd<S: Simd>(self, simd: S) {
            let (x, y) = (S::as_simd_f32s(self.1).0, S::as_mut_simd_f32s(self.2).0);
            x.iter().zip(y).for_each(|(x, y)| *y = self.0.of(simd, *x));
        }
    }

    #[test]
    fn lanes_are_as_exact_and_pass_nan_on() {
        let mut x: Vec<f32> = (-200_000..200_000).map(|i| i as f32 * 1e-4).collect();
        x.extend([f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 0.0].repeat(4));
        let mut y = vec![0.0; x.len()];
        Arch::new().dispatch(Lanes(Activation::Tanh, &x, &mut y));
        for (x, y) in x.iter().zip(&y) {
            let exact = f64::from(*x).tanh();
            assert!(x.is_nan() && y.is_nan() || (f64::from(*y) - exact).abs() < 4e-7, "tanh({x}) is not {y}");
        }
        Arch::new().dispatch(Lanes(Activation::Relu, &x, &mut y));
        assert!(x.iter().zip(&y).all(|(x, y)| x.is_nan() && y.is_nan() || *y == x.max(0.0)));
    }

    #[test]
    fn names_round_trip() {
        for activation in Activation::ALL {
            assert_eq!(activation.name().parse(), Ok(activation));
        }
        assert!("gelu".parse::<Activation>().is_err());
    }
}
