//! Sums over the frames of a block that are told of it: in vectors, and in double precision, which holds the square of any ratio
//! and the variance of numbers far from 0.

use pulp::{Arch, Simd, WithSimd};

/// Sums that are kept side by side, and so in vectors.
const LANES: usize = 8;

/// Sums of K terms each of two numbers, over the pairs of two slices of the same length.
pub(super) fn pair_sums<const K: usize>(a: &[f32], b: &[f32], terms: impl Fn(f32, f32) -> [f64; K]) -> [f64; K] {
    assert_eq!(a.len(), b.len(), "a number for each");
    Arch::new().dispatch(Pairs { a, b, terms })
}

struct Pairs<'a, F> {
    a: &'a [f32],
    b: &'a [f32],
    terms: F,
}

impl<const K: usize, F: Fn(f32, f32) -> [f64; K]> WithSimd for Pairs<'_, F> {
    type Output = [f64; K];

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> [f64; K] {
        let Self { a, b, terms } = self;
        let (a, rest_a) = a.as_chunks::<LANES>();
        let (b, rest_b) = b.as_chunks::<LANES>();
        let mut lanes = [[0.0; LANES]; K];
        for (a, b) in a.iter().zip(b) {
            for i in 0..LANES {
                let terms = terms(a[i], b[i]);
                for k in 0..K {
                    lanes[k][i] += terms[k];
                }
            }
        }
        let mut sums = lanes.map(|lanes| lanes.iter().sum());
        for (a, b) in rest_a.iter().zip(rest_b) {
            sums.iter_mut().zip(terms(*a, *b)).for_each(|(sum, term)| *sum += term);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_vectors_and_what_is_left_of_them_count_alike() {
        for len in [0_u8, 1, 7, 8, 9, 64, 77] {
            let numbers: Vec<f32> = (0..len).map(f32::from).collect();
            let squares = numbers.iter().map(|x| f64::from(x * x)).sum::<f64>();
            let sums = pair_sums(&numbers, &numbers, |a, b| [f64::from(a), f64::from(a * b), 1.0]);
            assert_eq!(sums, [numbers.iter().copied().map(f64::from).sum(), squares, f64::from(len)], "{len}");
        }
    }
}
