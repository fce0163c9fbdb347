//! Passes over flat parameters and gradients: clipping by the global norm, sums, the norm of an update, which is also the guard
//! against numbers that ran away.
//!
//! In vectors; where parameters are many, in parts on the threads of rayon's pool. Where the parts lie depends on the number
//! of parameters alone, so the number of threads does not change a bit.

use pulp::{Arch, Simd, WithSimd};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Parameters of one part: a pass over it takes longer than the way to another thread.
pub(super) const PART: usize = 1 << 15;
/// Parameters that a pass takes at once.
pub(super) const LANES: usize = 16;

/// Whether so many parameters, on so many threads, are worth the way to another thread.
pub(super) fn is_split(len: usize) -> bool {
    len > PART && rayon::current_num_threads() > 1
}

/// Scales the gradient so that its norm over all parameters is at most `norm_max`, then by `scale`; returns the norm before.
pub fn clip_by_global_norm(gradient: &mut [f32], norm_max: f32, scale: f32) -> f32 {
    // Part by part in any case: the sum is the same to the bit on any number of threads.
    let sum = match is_split(gradient.len()) {
        true => gradient.par_chunks(PART).map(square_sum).collect::<Vec<_>>().iter().sum::<f64>(),
        false => square_sum(gradient),
    };
    let norm = sum.sqrt() as f32;
    let scale = if norm > norm_max { norm_max / norm * scale } else { scale };
    if scale != 1.0 {
        gradient.iter_mut().for_each(|g| *g *= scale);
    }
    norm
}

/// The square of the norm, by one thread.
pub(super) fn square_sum(numbers: &[f32]) -> f64 {
    numbers.chunks(PART).map(|part| Arch::new().dispatch(Squares(part))).sum()
}

/// Adds the other slices, as long as `sum`, to it: every number in their order.
pub fn add_all<'a>(sum: &mut [f32], others: &(impl ExactSizeIterator<Item = &'a [f32]> + Clone + Sync)) {
    let part = |(index, sum): (usize, &mut [f32])| {
        let len = sum.len();
        for other in others.clone() {
            Arch::new().dispatch(Add { sum, other: &other[index * PART..][..len] });
        }
    };
    match is_split(sum.len()) && others.len() > 0 {
        true => sum.par_chunks_mut(PART).enumerate().for_each(part),
        false => sum.chunks_mut(PART).enumerate().for_each(part),
    }
}

/// The norm of what takes `before`, all finite, to `after`; not finite if and only if a number of `after` is not: the sum of the
/// squares of any differences of f32 fits f64.
pub fn distance(before: &[f32], after: &[f32]) -> f64 {
    let squares = |(before, after): (&[f32], &[f32])| Arch::new().dispatch(SquaredDistance { before, after });
    let sum = match is_split(after.len()) {
        true => {
            let parts = before.par_chunks(PART).zip(after.par_chunks(PART));
            parts.map(squares).collect::<Vec<_>>().iter().sum::<f64>()
        }
        false => before.chunks(PART).zip(after.chunks(PART)).map(squares).sum(),
    };
    sum.sqrt()
}

/// Sum of squares, in eight sums.
struct Squares<'a>(&'a [f32]);

impl WithSimd for Squares<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let chunks = self.0.chunks_exact(8);
        let rest: f64 = chunks.remainder().iter().map(|g| f64::from(*g) * f64::from(*g)).sum();
        let mut sums = [0.0; 8];
        for chunk in chunks {
            sums.iter_mut().zip(chunk).for_each(|(sum, g)| *sum += f64::from(*g) * f64::from(*g));
        }
        sums.iter().sum::<f64>() + rest
    }
}

struct Add<'a> {
    sum: &'a mut [f32],
    other: &'a [f32],
}

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.sum.iter_mut().zip(self.other).for_each(|(sum, number)| *sum += number);
    }
}

/// Sum of the squares of differences, in sixteen sums.
struct SquaredDistance<'a> {
    before: &'a [f32],
    after: &'a [f32],
}

impl WithSimd for SquaredDistance<'_> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> f64 {
        let square = |before: f32, after: f32| {
            let difference = f64::from(after) - f64::from(before);
            difference * difference
        };
        let (before, rest_before) = self.before.as_chunks::<LANES>();
        let (after, rest_after) = self.after.as_chunks::<LANES>();
        let mut sums = [0.0; LANES];
        for (before, after) in before.iter().zip(after) {
            for i in 0..LANES {
                sums[i] += square(before[i], after[i]);
            }
        }
        let rest: f64 = rest_before.iter().zip(rest_after).map(|(before, after)| square(*before, *after)).sum();
        sums.iter().sum::<f64>() + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clipping_scales_the_whole_gradient() {
        let mut gradient = [3.0, 4.0];
        assert_eq!(clip_by_global_norm(&mut gradient, 10.0, 1.0), 5.0);
        assert_eq!(gradient, [3.0, 4.0]);
        assert_eq!(clip_by_global_norm(&mut gradient, 0.5, 1.0), 5.0);
        assert!((gradient[0] - 0.3).abs() < 1e-6 && (gradient[1] - 0.4).abs() < 1e-6);
        assert_eq!(clip_by_global_norm(&mut gradient, 0.25, 4.0), 0.5);
        assert!((gradient[0] - 0.6).abs() < 1e-6 && (gradient[1] - 0.8).abs() < 1e-6);
        let mut broken = [f32::NAN, 1.0];
        assert!(clip_by_global_norm(&mut broken, 1.0, 1.0).is_nan());
    }

    #[test]
    fn many_numbers_are_added_and_measured_in_parts() {
        let len = 2 * PART + 77;
        let numbers: Vec<f32> = (0..len).map(|i| ((i * 29 % 101) as f32 - 50.0) / 50.0).collect();
        let mut sum = numbers.clone();
        add_all(&mut sum, &[&numbers[..], &numbers].into_iter());
        assert_eq!(sum, numbers.iter().map(|x| x + x + x).collect::<Vec<_>>());
        let squares: f64 = numbers.iter().map(|x| f64::from(*x).powi(2)).sum();
        let norm = clip_by_global_norm(&mut sum, 1.0, 1.0);
        assert!((f64::from(norm) / (3.0 * squares.sqrt()) - 1.0).abs() < 1e-6);
        assert!((clip_by_global_norm(&mut sum, 1.0, 1.0) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn the_distance_is_that_of_double_precision_in_parts_as_in_one() {
        for len in [1, 37, 2 * PART + 77] {
            let before: Vec<f32> = (0..len).map(|i| ((i * 29 % 101) as f32 - 50.0) / 50.0).collect();
            let after: Vec<f32> = before.iter().enumerate().map(|(i, x)| x + 1e-4 * (i % 7) as f32).collect();
            let squares = before.iter().zip(&after).map(|(x, y)| (f64::from(*y) - f64::from(*x)).powi(2));
            let expected = squares.sum::<f64>().sqrt();
            let with_threads = |threads: usize| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| distance(&before, &after))
            };
            assert!((with_threads(1) - expected).abs() <= 1e-12 * expected, "{len} numbers");
            assert_eq!(with_threads(1), with_threads(3), "{len} numbers");
            assert_eq!(distance(&before, &before), 0.0);
        }
    }

    #[test]
    fn a_distance_is_finite_exactly_where_every_number_is() {
        for len in [1, 16, 37] {
            let before = vec![-f32::MAX; len];
            for (i, bad) in (0..len).zip([f32::NAN, f32::INFINITY, f32::NEG_INFINITY].into_iter().cycle()) {
                let mut after = vec![f32::MAX; len];
                assert!(distance(&before, &after).is_finite());
                after[i] = bad;
                assert!(!distance(&before, &after).is_finite());
            }
        }
    }
}
