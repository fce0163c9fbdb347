//! Draws from the standard normal distribution, one from each uniform number, without branches or calls, so that they vectorise.
//!
//! The quantile function is applied to a uniform number: there is no rejection, so every draw takes one number from the random source
//! and the bits are the same on every machine.

use crate::activation::ln;
use std::f32::consts::SQRT_2;

/// `erfinv(x) / x` as polynomials, the highest power first: of `w - 2.5` for `w = -ln(1 - x^2)` below [`TAIL`], of `sqrt(w) - 3`
/// from there on (Giles 2010, "Approximating the erfinv function", single precision).
const CENTRE: [f32; 9] = [
    2.810_226_4e-8,
    3.432_739_3e-7,
    -3.523_387_7e-6,
    -4.391_506_6e-6,
    0.000_218_580_87,
    -0.001_253_725,
    -0.004_177_681_6,
    0.246_640_73,
    1.501_409_4,
];
const END: [f32; 9] = [
    -0.000_200_214_26,
    0.000_100_950_56,
    0.001_349_343_2,
    -0.003_673_428_4,
    0.005_739_507_7,
    -0.007_622_461,
    0.009_438_87,
    1.001_674,
    2.832_976_8,
];
const TAIL: f32 = 5.0;

/// The standard normal's quantile at a uniform number from 0 to below 1 in steps of `2^-24`, taken in the middle of its step: within
/// 5.5 of 0, and as far on one side as on the other.
#[inline(always)]
pub(super) fn normal(uniform: f32) -> f32 {
    // Exact: an odd multiple of 2^-24 between -1 and 1.
    let x = (2.0 * uniform - 1.0) + 0.5 * f32::EPSILON;
    let w = -ln((1.0 - x) * (1.0 + x));
    let polynomial = |terms: [f32; 9], w: f32| terms.into_iter().fold(0.0, |sum, term| sum * w + term);
    let (centre, end) = (polynomial(CENTRE, w - 2.5), polynomial(END, w.max(0.0).sqrt() - 3.0));
    SQRT_2 * x * if w < TAIL { centre } else { end }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The probability below z, for z at most 0: by Taylor's series of the error function near 0, by its continued fraction beyond.
    fn probability_below(z: f64) -> f64 {
        let density = (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt();
        if z < -3.0 {
            return density / (1..=200).rev().fold(-z, |fraction, k| -z + f64::from(k) / fraction);
        }
        let terms = (1..=100).scan(z, |term, k| {
            let now = *term;
            *term *= z * z / f64::from(2 * k + 1);
            Some(now)
        });
        0.5 + density * terms.sum::<f64>()
    }

    #[test]
    fn draws_are_the_quantiles_of_their_uniform_numbers() {
        let steps = f64::from(1 << 24);
        let every = (0..4000).chain((4000..1 << 23).step_by(997)).chain([(1 << 23) - 1]);
        for k in every {
            let uniform = k as f32 / steps as f32;
            let z = normal(uniform);
            let (expected, actual) = ((f64::from(k) + 0.5) / steps, probability_below(f64::from(z)));
            assert!((actual / expected - 1.0).abs() < 2e-5, "{z} has probability {actual} below it, not {expected}");
            let mirrored = normal(((1 << 24) - 1 - k) as f32 / steps as f32);
            assert_eq!(z, -mirrored);
        }
    }

    #[test]
    fn the_farthest_draws_are_finite() {
        let (first, last) = (normal(0.0), normal(1.0 - 0.5 * f32::EPSILON));
        assert!(first > -5.5 && first < -5.3 && last < 5.5 && last > 5.3, "{first} to {last}");
    }
}
