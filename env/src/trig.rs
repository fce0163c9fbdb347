//! Sine, cosine and turns of angles for the equations of motion: plain arithmetic without branches, so that loops over
//! environments vectorise, and with the same bits on every machine, which the functions of its C library would not give.

use std::f64::consts::{FRAC_2_PI, TAU};

/// Adding it rounds a number below 2^51 to an integer, which then stands in the lowest bits, negative ones as two's complement.
const ROUND: f64 = 6_755_399_441_055_744.0;
/// The upper 33 bits of pi / 2: its product with an integer below 2^20 is exact.
const HALF_PI_HIGH: f64 = f64::from_bits(0x3ff9_21fb_5440_0000);
/// What is missing from pi / 2.
const HALF_PI_LOW: f64 = 6.077_100_506_506_192e-11;

/// Sine and cosine of `|x| < 10^6`, off by at most 3e-16. The angle is brought to `-pi / 4 ..= pi / 4` by quarters of a turn (Cody and
/// Waite 1980, in two parts), where the remainders of the Taylor polynomials of degree 17 and 16 are below 1e-18.
#[inline(always)]
pub(crate) fn sin_cos(x: f64) -> (f64, f64) {
    let shifted = x * FRAC_2_PI + ROUND;
    let (quarters, quarter) = (shifted - ROUND, shifted.to_bits());
    let rest = (x - quarters * HALF_PI_HIGH) - quarters * HALF_PI_LOW;
    let square = rest * rest;
    let sin = rest * series(square, [272.0, 210.0, 156.0, 110.0, 72.0, 42.0, 20.0, 6.0]);
    let cos = 1.0 - square * 0.5 * series(square, [240.0, 182.0, 132.0, 90.0, 56.0, 30.0, 12.0]);
    let (sin, cos) = if quarter & 1 == 1 { (cos, sin) } else { (sin, cos) };
    (negated_if(sin, quarter), negated_if(cos, quarter.wrapping_add(1)))
}

/// The number with the other sign where the second lowest bit is set: in the third and fourth quarter of a turn.
#[inline(always)]
fn negated_if(x: f64, quarter: u64) -> f64 {
    f64::from_bits(x.to_bits() ^ ((quarter & 2) << 62))
}

/// `1 - s / d_n (1 - s / d_(n-1) (.. (1 - s / d_1)))`, the form of the Taylor series of sine and cosine in the square of the angle.
#[inline(always)]
pub(crate) fn series<const N: usize>(square: f64, denominators: [f64; N]) -> f64 {
    let mut sum = 1.0;
    for denominator in denominators {
        sum = 1.0 - square * (1.0 / denominator) * sum;
    }
    sum
}

/// The same direction within half a turn from 0, up to the rounding of pi.
#[inline(always)]
pub(crate) fn wrapped(angle: f64) -> f64 {
    let turns = (angle * (1.0 / TAU) + ROUND) - ROUND;
    angle - TAU * turns
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::PI;

    #[test]
    fn sine_and_cosine_match_libm_to_the_last_bits() {
        for i in -100_000..=100_000 {
            for scale in [1e-4, 1e-3, 7.7] {
                let x = f64::from(i) * scale;
                let ((sin, cos), (libm_sin, libm_cos)) = (sin_cos(x), x.sin_cos());
                assert!((sin - libm_sin).abs() <= 3e-16, "sin {x}: {sin:e} against {libm_sin:e}");
                assert!((cos - libm_cos).abs() <= 3e-16, "cos {x}: {cos:e} against {libm_cos:e}");
            }
        }
        assert_eq!(sin_cos(0.0), (0.0, 1.0));
    }

    #[test]
    fn an_angle_keeps_its_direction_within_half_a_turn() {
        for i in -1000..=1000 {
            let angle = f64::from(i) * 0.1;
            let near = wrapped(angle);
            assert!(near.abs() <= PI + 1e-12, "{angle} became {near}");
            assert!((near.sin() - angle.sin()).abs() < 1e-13 && (near.cos() - angle.cos()).abs() < 1e-13);
        }
        assert_eq!(wrapped(1.5), 1.5);
    }
}
