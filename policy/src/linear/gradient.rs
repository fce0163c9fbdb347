//! The gradient of a linear layer's parameters, `x^T dy` and the column sums of dy, in the order of the layer's own panels.

use super::{Layout, PANEL, panels_of};
use pulp::Simd;

/// Rows whose x and dy stay in the first-level cache, one panel of each.
const ROWS_AT_ONCE: usize = 128;

/// Sums over rows, until they are cleared.
#[derive(Debug)]
pub struct LinearGradient {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, PANEL]`
    weights: Vec<f32>,
    /// `[panels, PANEL]`
    biases: Vec<f32>,
}

impl LinearGradient {
    /// A gradient of zeros.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let (weights, biases) = (vec![0.0; panels * inputs * PANEL], vec![0.0; panels * PANEL]);
        Self { inputs, outputs, weights, biases }
    }

    /// Sets every number back to zero.
    pub fn clear(&mut self) {
        self.weights.fill(0.0);
        self.biases.fill(0.0);
    }

    /// Adds what `rows` rows of the layer's input x and of its outputs' gradient dy make.
    #[inline(always)]
    pub fn add<S: Simd>(
        &mut self,
        simd: S,
        rows: usize,
        (x, x_layout): (&[f32], Layout),
        (dy, dy_layout): (&[f32], Layout),
    ) {
        let panel_len = self.inputs * PANEL;
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let rows = ROWS_AT_ONCE.min(rows - first);
            let x = (&x[x_layout.at(0, first)..], x_layout);
            for panel in 0..self.biases.len() / PANEL {
                let dy = (&dy[dy_layout.at(panel, first)..], dy_layout.row_stride);
                let weights = &mut self.weights[panel * panel_len..][..panel_len];
                let biases = &mut self.biases[panel * PANEL..][..PANEL];
                column_sums(simd, rows, dy, biases);
                match (S::F32_LANES, self.outputs - panel * PANEL) {
                    (16, _) | (8, ..=8) | (4, ..=4) => products::<S, 8, 1>(simd, rows, x, dy, weights),
                    (8, _) | (4, ..=8) => products::<S, 4, 2>(simd, rows, x, dy, weights),
                    (4, _) => products::<S, 4, 4>(simd, rows, x, dy, weights),
                    _ => products::<S, 1, PANEL>(simd, rows, x, dy, weights),
                }
            }
        }
    }

    /// Copies as many columns as `bias` has elements, from column `first` on.
    ///
    /// # Shapes
    /// `weight`: `[inputs, columns]`, `bias`: `[columns]`
    ///
    /// # Panics
    /// If the columns lie outside the layer, or the weight is not as large.
    pub fn columns(&self, first: usize, weight: &mut [f32], bias: &mut [f32]) {
        assert!(first + bias.len() <= self.outputs, "columns beyond the layer's outputs");
        assert_eq!(weight.len(), self.inputs * bias.len(), "weight and bias of one layer");
        bias.copy_from_slice(&self.biases[first..first + bias.len()]);
        for (column, panel, columns) in panels_of(first, bias.len()) {
            let panel = &self.weights[panel * self.inputs * PANEL..][..self.inputs * PANEL];
            let rows =
                weight.chunks_exact_mut(bias.len()).map(|row| &mut row[column - first..column - first + columns]);
            for (from, into) in panel.chunks_exact(PANEL).zip(rows) {
                into.copy_from_slice(&from[column % PANEL..][..columns]);
            }
        }
    }
}

/// Adds every row of one panel to the sums.
#[inline(always)]
fn column_sums<S: Simd>(simd: S, rows: usize, (dy, stride): (&[f32], usize), sums: &mut [f32]) {
    let sums = S::as_mut_simd_f32s(sums).0;
    for dy in dy.chunks(stride).take(rows) {
        for (sum, dy) in sums.iter_mut().zip(S::as_simd_f32s(&dy[..PANEL]).0) {
            *sum = simd.add_f32s(*sum, *dy);
        }
    }
}

/// Adds `x^T dy` of one panel of dy; `weights`: `[inputs, PANEL]`.
#[inline(always)]
fn products<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: usize,
    (x, x_layout): (&[f32], Layout),
    dy: (&[f32], usize),
    weights: &mut [f32],
) {
    for (panel, weights) in weights.chunks_mut(PANEL * PANEL).enumerate() {
        let x = &x[x_layout.at(panel, 0)..];
        let inputs = weights.len() / PANEL;
        let mut input = 0;
        while input + R <= inputs {
            tile::<S, R, V>(simd, rows, (&x[input..], x_layout.row_stride), dy, &mut weights[input * PANEL..]);
            input += R;
        }
        if R > 4 && input + 4 <= inputs {
            tile::<S, 4, V>(simd, rows, (&x[input..], x_layout.row_stride), dy, &mut weights[input * PANEL..]);
            input += 4;
        }
        while input < inputs {
            tile::<S, 1, V>(simd, rows, (&x[input..], x_layout.row_stride), dy, &mut weights[input * PANEL..]);
            input += 1;
        }
    }
}

/// R inputs: their sums with V vectors of the panel stay in registers while the rows pass by.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    rows: usize,
    (x, x_stride): (&[f32], usize),
    (dy, dy_stride): (&[f32], usize),
    weights: &mut [f32],
) {
    let vectors = PANEL / S::F32_LANES;
    let weights = S::as_mut_simd_f32s(&mut weights[..R * PANEL]).0;
    let mut sums: [[S::f32s; V]; R] = std::array::from_fn(|r| std::array::from_fn(|v| weights[r * vectors + v]));
    for (x, dy) in x.chunks(x_stride).zip(dy.chunks(dy_stride)).take(rows) {
        let (x, dy) = (&x[..R], S::as_simd_f32s(&dy[..PANEL]).0);
        for r in 0..R {
            let value = simd.splat_f32s(x[r]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(value, dy[v], sums[r][v]);
            }
        }
    }
    for r in 0..R {
        weights[r * vectors..r * vectors + V].copy_from_slice(&sums[r]);
    }
}
