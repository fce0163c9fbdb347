//! The one matrix product of both passes, `C = A B` with an optional start, blocked for the vector registers.

use pulp::Simd;

/// Rows of numbers in one slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    pub(super) values: &'a [f32],
    /// Distance between two rows.
    pub(super) stride: usize,
}

/// The left factor, `[m, k]`.
#[derive(Clone, Copy)]
pub(super) enum Left<'a> {
    /// Stored as it is.
    Rows(Matrix<'a>),
    /// Stored transposed, as `[k, m]`.
    Columns(Matrix<'a>),
}

/// What the sums begin with.
#[derive(Clone, Copy)]
pub(super) enum Init<'a> {
    /// 0.
    Zero,
    /// One number a column.
    Bias(&'a [f32]),
    /// What stands in C.
    Sum,
}

/// `C[m, n] = init + A[m, k] B[k, n]`; n a multiple of 16.
#[inline(always)]
pub(super) fn product<S: Simd>(
    simd: S,
    [m, n, k]: [usize; 3],
    a: Left<'_>,
    b: Matrix<'_>,
    (c, c_stride): (&mut [f32], usize),
    init: Init<'_>,
) {
    // A tile of rows x vectors fills the registers: 24 sums, 4 vectors of B and one of A with AVX-512.
    let mut column = 0;
    while column < n {
        let b = Matrix { values: &b.values[column..], ..b };
        let init = match init {
            Init::Bias(bias) => Init::Bias(&bias[column..]),
            other => other,
        };
        let target = (&mut c[column..], c_stride);
        column += match S::F32_LANES {
            16 if n - column >= 64 => panel::<S, 6, 4>(simd, [m, k], a, b, target, init),
            16 => panel::<S, 6, 1>(simd, [m, k], a, b, target, init),
            8 => panel::<S, 6, 2>(simd, [m, k], a, b, target, init),
            4 => panel::<S, 4, 4>(simd, [m, k], a, b, target, init),
            _ => panel::<S, 1, 16>(simd, [m, k], a, b, target, init),
        };
    }
}

/// All rows of V vectors of columns; gives the number of columns.
#[inline(always)]
fn panel<S: Simd, const R: usize, const V: usize>(
    simd: S,
    [m, k]: [usize; 2],
    a: Left<'_>,
    b: Matrix<'_>,
    (c, c_stride): (&mut [f32], usize),
    init: Init<'_>,
) -> usize {
    let mut row = 0;
    while row < m {
        let target = (&mut c[row * c_stride..], c_stride);
        row += match m - row {
            left if left >= R => tile::<S, R, V>(simd, k, (a, row), b, target, init),
            left if left >= 4 => tile::<S, 4, V>(simd, k, (a, row), b, target, init),
            left if left >= 2 => tile::<S, 2, V>(simd, k, (a, row), b, target, init),
            _ => tile::<S, 1, V>(simd, k, (a, row), b, target, init),
        };
    }
    V * S::F32_LANES
}

/// R rows of V vectors: the sums stay in registers while k passes by. Gives R.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    k: usize,
    (a, row): (Left<'_>, usize),
    b: Matrix<'_>,
    (c, c_stride): (&mut [f32], usize),
    init: Init<'_>,
) -> usize {
    let width = V * S::F32_LANES;
    let vectors = |row: &[f32]| -> [S::f32s; V] {
        let vectors = S::as_simd_f32s(&row[..width]).0;
        std::array::from_fn(|v| vectors[v])
    };
    let mut sums: [[S::f32s; V]; R] = match init {
        Init::Zero => [[simd.splat_f32s(0.0); V]; R],
        Init::Bias(bias) => [vectors(bias); R],
        Init::Sum => std::array::from_fn(|r| vectors(&c[r * c_stride..])),
    };
    match a {
        Left::Rows(a) => {
            let rows: [&[f32]; R] = std::array::from_fn(|r| &a.values[(row + r) * a.stride..][..k]);
            for i in 0..k {
                let b = vectors(&b.values[i * b.stride..]);
                for (row, sums) in rows.iter().zip(&mut sums) {
                    accumulate(simd, row[i], &b, sums);
                }
            }
        }
        Left::Columns(a) => {
            for i in 0..k {
                let b = vectors(&b.values[i * b.stride..]);
                let column = &a.values[i * a.stride + row..][..R];
                for (x, sums) in column.iter().zip(&mut sums) {
                    accumulate(simd, *x, &b, sums);
                }
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        S::as_mut_simd_f32s(&mut c[r * c_stride..][..width]).0.copy_from_slice(sums);
    }
    R
}

#[inline(always)]
fn accumulate<S: Simd, const V: usize>(simd: S, x: f32, b: &[S::f32s; V], sums: &mut [S::f32s; V]) {
    let x = simd.splat_f32s(x);
    for (sum, b) in sums.iter_mut().zip(b) {
        *sum = simd.mul_add_e_f32s(x, *b, *sum);
    }
}
