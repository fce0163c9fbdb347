//! One linear layer, `y = x W + b`, with its weights packed for vector loads, and the gradient of one in the same order.
//!
//! The kernels of every pass through a perceptron: the actor's policy takes the first, the learner's step all three
//! (`x W + b`, `dy W^T` by a layer that holds the transposed weights, `x^T dy` in [`gradient`]). Every number is one sum in
//! the order of the inputs, wherever its row lies, so blocks of rows may be cut as one likes. A product of small matrices
//! spends more time on packing than on arithmetic in a general library; here nothing but the weights is ever packed.

pub mod gradient;

use crate::activation::Activation;
use pulp::Simd;

/// Columns of one panel: one AVX-512 vector, two of AVX2, four of NEON.
pub const PANEL: usize = 16;

/// Inputs that pass a tile at once: a panel's weights of so many inputs stay in the first-level cache.
const INPUTS_AT_ONCE: usize = 256;
/// Rows whose sums wait for the next inputs.
const ROWS_AT_ONCE: usize = 64;

/// Where the numbers of a matrix lie: row r of column c at `c / PANEL * panel_stride + r * row_stride + c % PANEL`.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    row_stride: usize,
    panel_stride: usize,
}

impl Layout {
    /// One row after the other, so many numbers apart.
    pub fn rows(stride: usize) -> Self {
        Self { row_stride: stride, panel_stride: PANEL }
    }

    /// Panels of 16 columns with so many rows each: every kernel then reads and writes memory without gaps.
    pub fn panels(rows: usize) -> Self {
        Self { row_stride: PANEL, panel_stride: rows * PANEL }
    }

    fn at(self, panel: usize, row: usize) -> usize {
        panel * self.panel_stride + row * self.row_stride
    }
}

/// What becomes of a sum before it is written.
#[derive(Clone, Copy, Debug)]
pub enum Finish {
    /// It is the result.
    Keep,
    /// The activation of it.
    Activate(Activation),
    /// It times the activation's slope, where the activation's own value is what is written over.
    Slope(Activation),
}

/// Weights and biases of a linear layer. Columns are grouped in panels of 16, the last one filled up with zeros, and
/// each panel is stored row by row, so that the inner loop reads weights without gaps.
#[derive(Debug)]
pub struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, PANEL]`
    weights: Vec<f32>,
    /// `[panels, PANEL]`
    biases: Vec<f32>,
}

impl Linear {
    /// A layer of zeros.
    pub fn new(inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let (weights, biases) = (vec![0.0; panels * inputs * PANEL], vec![0.0; panels * PANEL]);
        Self { inputs, outputs, weights, biases }
    }

    /// Columns of x.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Columns of y.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// The outputs filled up to whole panels: numbers of one row of y in memory.
    pub fn stride(&self) -> usize {
        self.biases.len()
    }

    /// Sets as many columns as `bias` has elements, from column `first` on.
    ///
    /// # Shapes
    /// `weight`: `[inputs, columns]`, `bias`: `[columns]`
    ///
    /// # Panics
    /// If the columns lie outside the layer, or the weight is not as large.
    pub fn set_columns(&mut self, first: usize, weight: &[f32], bias: &[f32]) {
        assert!(first + bias.len() <= self.outputs, "columns beyond the layer's outputs");
        assert_eq!(weight.len(), self.inputs * bias.len(), "weight and bias of one layer");
        self.biases[first..first + bias.len()].copy_from_slice(bias);
        for (column, panel, columns) in panels_of(first, bias.len()) {
            let rows = weight.chunks_exact(bias.len()).map(|row| &row[column - first..column - first + columns]);
            let panel = &mut self.weights[panel * self.inputs * PANEL..][..self.inputs * PANEL];
            for (into, from) in panel.chunks_exact_mut(PANEL).zip(rows) {
                into[column % PANEL..][..columns].copy_from_slice(from);
            }
        }
    }

    /// Makes other weights' columns, from their column `first` on, this layer's inputs: it then computes `x W^T`.
    ///
    /// # Shapes
    /// `weight`: `[outputs, columns]`
    ///
    /// # Panics
    /// If the columns lie outside the layer's inputs.
    pub fn set_transposed(&mut self, first: usize, weight: &[f32]) {
        let columns = weight.len() / self.outputs;
        assert!(first + columns <= self.inputs, "columns beyond the layer's inputs");
        for (output, row) in weight.chunks_exact(columns).enumerate() {
            let start = (output / PANEL * self.inputs + first) * PANEL + output % PANEL;
            let places = self.weights[start..].iter_mut().step_by(PANEL);
            places.zip(row).for_each(|(place, w)| *place = *w);
        }
    }

    /// Writes `x W + b` of `rows` rows, finished as told. Numbers after the last output are of no meaning.
    #[inline(always)]
    pub fn forward<S: Simd>(
        &self,
        simd: S,
        rows: usize,
        (x, x_layout): (&[f32], Layout),
        (y, y_layout): (&mut [f32], Layout),
        finish: Finish,
    ) {
        for first in (0..rows).step_by(ROWS_AT_ONCE) {
            let rows = ROWS_AT_ONCE.min(rows - first);
            let x = (&x[x_layout.at(0, first)..], x_layout);
            for panel in 0..self.biases.len() / PANEL {
                let y = (&mut y[y_layout.at(panel, first)..], y_layout.row_stride);
                let product = Product { layer: self, panel, rows, finish };
                // The shape of a tile (rows x vectors of a panel) fills the vector registers without spilling, and has
                // the eight or more independent sums that hide the latency of a multiply-add.
                match (S::F32_LANES, self.outputs - panel * PANEL) {
                    (16, _) | (8, ..=8) | (4, ..=4) => product.run::<S, 8, 1>(simd, x, y),
                    (8, _) | (4, ..=8) => product.run::<S, 4, 2>(simd, x, y),
                    (4, _) => product.run::<S, 4, 4>(simd, x, y),
                    _ => product.run::<S, 1, PANEL>(simd, x, y),
                }
            }
        }
    }
}

/// The pieces into which panels cut columns: first column, panel, number of columns.
fn panels_of(first: usize, columns: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    let end = first + columns;
    (first / PANEL..end.div_ceil(PANEL)).map(move |panel| {
        let start = first.max(panel * PANEL);
        (start, panel, end.min((panel + 1) * PANEL) - start)
    })
}

/// One panel of y for at most [`ROWS_AT_ONCE`] rows.
#[derive(Clone, Copy)]
struct Product<'a> {
    layer: &'a Linear,
    panel: usize,
    rows: usize,
    finish: Finish,
}

/// Inputs of a product that pass at once.
#[derive(Clone, Copy)]
struct Pass<'a> {
    /// `[inputs, PANEL]`
    weights: &'a [f32],
    /// `[PANEL]`
    bias: &'a [f32],
    is_first: bool,
    is_last: bool,
    finish: Finish,
}

impl Product<'_> {
    #[inline(always)]
    fn run<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        (x, x_layout): (&[f32], Layout),
        (y, y_stride): (&mut [f32], usize),
    ) {
        let inputs = self.layer.inputs;
        let bias = &self.layer.biases[self.panel * PANEL..][..PANEL];
        let weights = &self.layer.weights[self.panel * inputs * PANEL..][..inputs * PANEL];
        let mut buffer;
        let partial: &mut [f32] = match inputs {
            // No sum waits for further inputs: there is no memory to set to zero.
            ..=INPUTS_AT_ONCE => &mut [],
            _ => {
                buffer = [0.0; ROWS_AT_ONCE * PANEL];
                &mut buffer
            }
        };
        let mut first = 0;
        loop {
            let end = inputs.min(first + INPUTS_AT_ONCE);
            let (is_first, is_last) = (first == 0, end == inputs);
            let pass =
                Pass { weights: &weights[first * PANEL..end * PANEL], bias, is_first, is_last, finish: self.finish };
            let x = &x[x_layout.at(first / PANEL, 0)..];
            let mut row = 0;
            while row + R <= self.rows {
                pass.tile::<S, R, V>(simd, row, (x, x_layout), (y, y_stride), partial);
                row += R;
            }
            if R > 4 && row + 4 <= self.rows {
                pass.tile::<S, 4, V>(simd, row, (x, x_layout), (y, y_stride), partial);
                row += 4;
            }
            while row < self.rows {
                pass.tile::<S, 1, V>(simd, row, (x, x_layout), (y, y_stride), partial);
                row += 1;
            }
            if is_last {
                return;
            }
            first = end;
        }
    }
}

impl Pass<'_> {
    /// R rows from `row` on: V vectors of sums for each row stay in registers while the inputs pass by.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        self,
        simd: S,
        row: usize,
        (x, x_layout): (&[f32], Layout),
        (y, y_stride): (&mut [f32], usize),
        partial: &mut [f32],
    ) {
        let bias = S::as_simd_f32s(self.bias).0;
        let mut sums: [[S::f32s; V]; R] = [std::array::from_fn(|v| bias[v]); R];
        if !self.is_first {
            let partial: [&[S::f32s]; R] =
                std::array::from_fn(|r| S::as_simd_f32s(&partial[(row + r) * PANEL..][..PANEL]).0);
            sums = std::array::from_fn(|r| std::array::from_fn(|v| partial[r][v]));
        }
        let sums = products::<S, R, V>(simd, self.weights, (&x[row * x_layout.row_stride..], x_layout), sums);
        if !self.is_last {
            for (r, sums) in sums.into_iter().enumerate() {
                let partial = S::as_mut_simd_f32s(&mut partial[(row + r) * PANEL..][..PANEL]).0;
                partial[..V].copy_from_slice(&sums);
            }
            return;
        }
        for (r, sums) in sums.into_iter().enumerate() {
            let y = S::as_mut_simd_f32s(&mut y[(row + r) * y_stride..][..PANEL]).0;
            for (y, sum) in y.iter_mut().zip(sums) {
                *y = match self.finish {
                    Finish::Keep => sum,
                    Finish::Activate(activation) => activation.of(simd, sum),
                    Finish::Slope(activation) => simd.mul_f32s(sum, activation.slope(simd, *y)),
                };
            }
        }
    }
}

/// Adds the products of R rows with a panel of weights, `[inputs, PANEL]`, to the sums.
#[inline(always)]
fn products<S: Simd, const R: usize, const V: usize>(
    simd: S,
    weights: &[f32],
    (x, layout): (&[f32], Layout),
    mut sums: [[S::f32s; V]; R],
) -> [[S::f32s; V]; R] {
    let vectors = PANEL / S::F32_LANES;
    for (panel, weights) in weights.chunks(PANEL * PANEL).enumerate() {
        let x = &x[panel * layout.panel_stride..];
        let weights = S::as_simd_f32s(weights).0;
        let inputs = weights.len() / vectors;
        let x: [&[f32]; R] = std::array::from_fn(|r| &x[r * layout.row_stride..][..inputs]);
        for (input, w) in weights.chunks_exact(vectors).enumerate() {
            for r in 0..R {
                let value = simd.splat_f32s(x[r][input]);
                for v in 0..V {
                    sums[r][v] = simd.mul_add_e_f32s(value, w[v], sums[r][v]);
                }
            }
        }
    }
    sums
}

#[cfg(test)]
mod tests;
