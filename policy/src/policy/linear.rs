//! One linear layer, `y = x W + b`, with its weights packed for vector loads.

use pulp::Simd;

/// Columns of one panel of weights: one AVX-512 vector, two of AVX2, four of NEON.
const PANEL: usize = 16;

/// Weights and biases of a linear layer. Columns are grouped in panels of 16, the last one filled up with zeros, and
/// each panel is stored row by row, so that the inner loop reads weights without gaps.
#[derive(Debug)]
pub(super) struct Linear {
    inputs: usize,
    outputs: usize,
    /// `[panels, inputs, PANEL]`
    weights: Vec<f32>,
    /// `[panels, PANEL]`
    biases: Vec<f32>,
}

impl Linear {
    /// A layer of zeros.
    pub(super) fn new(inputs: usize, outputs: usize) -> Self {
        let panels = outputs.div_ceil(PANEL);
        let (weights, biases) = (vec![0.0; panels * inputs * PANEL], vec![0.0; panels * PANEL]);
        Self { inputs, outputs, weights, biases }
    }

    pub(super) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Distance between two rows of the output: the outputs and the zeros that fill their last panel.
    pub(super) fn stride(&self) -> usize {
        self.biases.len()
    }

    /// Sets as many columns as `bias` has elements, from column `first` on.
    ///
    /// # Shapes
    /// `weight`: `[inputs, columns]`, `bias`: `[columns]`
    pub(super) fn set_columns(&mut self, first: usize, weight: &[f32], bias: &[f32]) {
        assert!(first + bias.len() <= self.outputs, "columns beyond the layer's outputs");
        assert_eq!(weight.len(), self.inputs * bias.len(), "weight and bias of one layer");
        self.biases[first..first + bias.len()].copy_from_slice(bias);
        for (input, row) in weight.chunks_exact(bias.len()).enumerate() {
            for (column, w) in (first..).zip(row) {
                let (panel, lane) = (column / PANEL, column % PANEL);
                self.weights[(panel * self.inputs + input) * PANEL + lane] = *w;
            }
        }
    }

    /// Writes `x W + b` of `rows` rows.
    ///
    /// # Shapes
    /// `x`: `[rows, x_stride]` of which the first `inputs` columns count, `y`: `[rows, stride()]`
    #[inline(always)]
    pub(super) fn forward<S: Simd>(&self, simd: S, rows: usize, x: &[f32], x_stride: usize, y: &mut [f32]) {
        // The shape of a tile (rows x vectors of a panel) fills the vector registers without spilling, and has the eight
        // or more independent sums that hide the latency of a multiply-add.
        match S::F32_LANES {
            16 => self.tiles::<S, 8, 1>(simd, rows, x, x_stride, y),
            8 => self.tiles::<S, 4, 2>(simd, rows, x, x_stride, y),
            4 => self.tiles::<S, 4, 4>(simd, rows, x, x_stride, y),
            _ => self.tiles::<S, 1, PANEL>(simd, rows, x, x_stride, y),
        }
    }

    #[inline(always)]
    fn tiles<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        rows: usize,
        x: &[f32],
        x_stride: usize,
        y: &mut [f32],
    ) {
        let stride = self.stride();
        for (panel, bias) in self.biases.chunks_exact(PANEL).enumerate() {
            let weights = &self.weights[panel * self.inputs * PANEL..][..self.inputs * PANEL];
            let column = panel * PANEL;
            let mut row = 0;
            while row + R <= rows {
                let y = &mut y[row * stride + column..];
                tile::<S, R, V>(simd, weights, bias, (&x[row * x_stride..], x_stride), (y, stride));
                row += R;
            }
            if R > 4 && row + 4 <= rows {
                let y = &mut y[row * stride + column..];
                tile::<S, 4, V>(simd, weights, bias, (&x[row * x_stride..], x_stride), (y, stride));
                row += 4;
            }
            while row < rows {
                let y = &mut y[row * stride + column..];
                tile::<S, 1, V>(simd, weights, bias, (&x[row * x_stride..], x_stride), (y, stride));
                row += 1;
            }
        }
    }
}

/// R rows of one panel: V vectors of sums for each row stay in registers while the inputs pass by.
#[inline(always)]
fn tile<S: Simd, const R: usize, const V: usize>(
    simd: S,
    weights: &[f32],
    bias: &[f32],
    (x, x_stride): (&[f32], usize),
    (y, y_stride): (&mut [f32], usize),
) {
    let inputs = weights.len() / PANEL;
    let x: [&[f32]; R] = std::array::from_fn(|r| &x[r * x_stride..][..inputs]);
    let bias = S::as_simd_f32s(bias).0;
    let weights = S::as_simd_f32s(weights).0;
    let mut sums: [[S::f32s; V]; R] = [std::array::from_fn(|v| bias[v]); R];
    for (input, w) in weights.chunks_exact(V).enumerate() {
        for r in 0..R {
            let value = simd.splat_f32s(x[r][input]);
            for v in 0..V {
                sums[r][v] = simd.mul_add_e_f32s(value, w[v], sums[r][v]);
            }
        }
    }
    for (r, sums) in sums.iter().enumerate() {
        let y = S::as_mut_simd_f32s(&mut y[r * y_stride..][..PANEL]).0;
        y[..V].copy_from_slice(sums);
    }
}
