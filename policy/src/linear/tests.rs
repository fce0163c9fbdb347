use super::gradient::LinearGradient;
use super::*;
use pulp::{Arch, WithSimd};

/// Numbers from -1 to 1 that do not repeat within a row.
fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|i| (((i + salt) * 7919 % 2003) as f32 - 1001.0) / 1001.0).collect()
}

/// A `[rows, columns]` matrix in panels.
fn panels(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    let mut panels = vec![0.0; columns.div_ceil(PANEL) * rows * PANEL];
    for (i, number) in matrix.iter().enumerate() {
        let (row, column) = (i / columns, i % columns);
        panels[Layout::panels(rows).at(column / PANEL, row) + column % PANEL] = *number;
    }
    panels
}

fn from_panels(panels: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let at = |row, column| panels[Layout::panels(rows).at(column / PANEL, row) + column % PANEL];
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(r, c)| at(r, c)).collect()
}

struct Forward<'a>(&'a Linear, usize, (&'a [f32], Layout), &'a mut [f32], Finish);

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.forward(simd, self.1, self.2, (self.3, Layout::panels(self.1)), self.4);
    }
}

struct Add<'a>(&'a mut LinearGradient, usize, (&'a [f32], Layout), &'a [f32]);

impl WithSimd for Add<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.add(simd, self.1, self.2, (self.3, Layout::panels(self.1)));
    }
}

/// Rows, inputs, outputs: every remainder of tile and panel, and more inputs and rows than pass at once.
const SHAPES: [[usize; 3]; 8] =
    [[1, 1, 1], [3, 4, 2], [7, 5, 16], [8, 3, 17], [13, 16, 40], [64, 33, 3], [150, 300, 24], [67, 520, 9]];

fn assert_close(actual: &[f32], expected: impl Iterator<Item = f64>, what: &str) {
    for (i, (actual, expected)) in actual.iter().zip(expected).enumerate() {
        let error = (f64::from(*actual) - expected).abs();
        assert!(error < 1e-5 * expected.abs().max(1.0), "{what}, {i}: {actual} is not {expected}");
    }
}

/// `a` `[m, k]` times `b` `[k, n]`, in double precision.
fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f64> {
    let cell = |i: usize, j: usize| (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
    (0..m * n).map(|i| cell(i / n, i % n)).collect()
}

fn transposed(matrix: &[f32], columns: usize) -> Vec<f32> {
    let rows = matrix.len() / columns;
    (0..matrix.len()).map(|i| matrix[i % rows * columns + i / rows]).collect()
}

#[test]
fn forward_is_the_product_in_both_layouts() {
    for [rows, inputs, outputs] in SHAPES {
        let (x, w, b) = (numbers(rows * inputs, 0), numbers(inputs * outputs, 5), numbers(outputs, 9));
        let mut layer = Linear::new(inputs, outputs);
        layer.set_columns(0, &w, &b);
        let expected = product(&x, &w, [rows, inputs, outputs]);
        let expected: Vec<_> = expected.iter().enumerate().map(|(i, y)| y + f64::from(b[i % outputs])).collect();
        let packed = panels(&x, inputs);
        let mut results = vec![];
        for x in [(&x[..], Layout::rows(inputs)), (&packed[..], Layout::panels(rows))] {
            let mut y = vec![f32::NAN; layer.stride() * rows];
            Arch::new().dispatch(Forward(&layer, rows, x, &mut y, Finish::Keep));
            let y = from_panels(&y, rows, outputs);
            assert_close(&y, expected.iter().copied(), &format!("{rows} x {inputs} x {outputs}"));
            results.push(y);
        }
        assert_eq!(results[0], results[1]);
    }
}

#[test]
fn a_sum_does_not_depend_on_the_rows_beside_it() {
    let [rows, inputs, outputs] = [75, 300, 20];
    let (x, w, b) = (numbers(rows * inputs, 0), numbers(inputs * outputs, 5), numbers(outputs, 9));
    let mut layer = Linear::new(inputs, outputs);
    layer.set_columns(0, &w, &b);
    let run = |x: &[f32]| {
        let rows = x.len() / inputs;
        let mut y = vec![0.0; layer.stride() * rows];
        Arch::new().dispatch(Forward(&layer, rows, (x, Layout::rows(inputs)), &mut y, Finish::Keep));
        from_panels(&y, rows, outputs)
    };
    let alone: Vec<f32> = x.chunks(inputs).flat_map(run).collect();
    assert_eq!(run(&x), alone);
}

#[test]
fn activation_and_slope_are_applied_to_the_sums() {
    let (rows, width) = (9, 20);
    let mut layer = Linear::new(width, width);
    layer.set_columns(0, &numbers(width * width, 3), &numbers(width, 1));
    let x = numbers(rows * width, 0);
    let run = |y: &mut [f32], finish| {
        Arch::new().dispatch(Forward(&layer, rows, (&x, Layout::rows(width)), y, finish));
        from_panels(y, rows, width)
    };
    let plain = run(&mut vec![0.0; 32 * rows], Finish::Keep);
    for activation in Activation::ALL {
        let mut y = vec![0.0; 32 * rows];
        let active = run(&mut y, Finish::Activate(activation));
        let sloped = run(&mut y, Finish::Slope(activation));
        let function = |x: f32| match activation {
            Activation::Tanh => f64::from(x).tanh(),
            Activation::Relu => f64::from(x.max(0.0)),
        };
        assert_close(&active, plain.iter().map(|x| function(*x)), activation.name());
        let slope = |(x, y): (&f32, &f32)| match activation {
            Activation::Tanh => f64::from(*x) * (1.0 - f64::from(*y) * f64::from(*y)),
            Activation::Relu => f64::from(if *y > 0.0 { *x } else { 0.0 }),
        };
        assert_close(&sloped, plain.iter().zip(&active).map(slope), activation.name());
    }
}

#[test]
fn a_transposed_layer_carries_gradients_back() {
    for [rows, inputs, outputs] in SHAPES {
        let (dy, w) = (numbers(rows * outputs, 0), numbers(inputs * outputs, 5));
        let mut layer = Linear::new(outputs, inputs);
        // Two parts, as the two heads are.
        let part = |columns: std::ops::Range<usize>| -> Vec<f32> {
            w.chunks(outputs).flat_map(|row| &row[columns.clone()]).copied().collect()
        };
        layer.set_transposed(0, &part(0..outputs / 2 + 1));
        if outputs > 2 {
            layer.set_transposed(outputs / 2 + 1, &part(outputs / 2 + 1..outputs));
        }
        let mut dx = vec![0.0; layer.stride() * rows];
        Arch::new().dispatch(Forward(&layer, rows, (&dy, Layout::rows(outputs)), &mut dx, Finish::Keep));
        let expected = product(&dy, &transposed(&w, outputs), [rows, outputs, inputs]);
        assert_close(&from_panels(&dx, rows, inputs), expected.into_iter(), &format!("{rows} x {inputs} x {outputs}"));
    }
}

#[test]
fn gradients_add_up_until_they_are_cleared() {
    for [rows, inputs, outputs] in SHAPES {
        let (x, dy) = (numbers(rows * inputs, 0), numbers(rows * outputs, 5));
        let packed = panels(&dy, outputs);
        let mut gradient = LinearGradient::new(inputs, outputs);
        Arch::new().dispatch(Add(&mut gradient, rows, (&x, Layout::rows(inputs)), &packed));
        gradient.clear();
        for times in [1.0, 2.0] {
            let panels = panels(&x, inputs);
            Arch::new().dispatch(Add(&mut gradient, rows, (&panels, Layout::panels(rows)), &packed));
            let (mut weight, mut bias) = (vec![0.0; inputs * outputs], vec![0.0; outputs]);
            gradient.columns(0, &mut weight, &mut bias);
            let what = format!("{rows} x {inputs} x {outputs}, {times} times");
            let expected = product(&transposed(&x, inputs), &dy, [inputs, rows, outputs]);
            assert_close(&weight, expected.into_iter().map(|g| g * times), &what);
            let sum =
                |column: usize| dy.iter().skip(column).step_by(outputs).map(|g| f64::from(*g)).sum::<f64>() * times;
            assert_close(&bias, (0..outputs).map(sum), &what);
        }
    }
}

#[test]
fn parts_of_a_layer_are_set_and_read_by_their_columns() {
    let (inputs, outputs) = (3, 20);
    let mut gradient = LinearGradient::new(inputs, outputs);
    let dy = numbers(outputs, 2);
    Arch::new().dispatch(Add(&mut gradient, 1, (&[1.0, 2.0, 3.0], Layout::rows(inputs)), &panels(&dy, outputs)));
    let (mut weight, mut bias) = (vec![0.0; inputs * 5], vec![0.0; 5]);
    gradient.columns(14, &mut weight, &mut bias);
    assert_eq!(bias, dy[14..19]);
    assert_eq!(weight[5..10].to_vec(), dy[14..19].iter().map(|g| 2.0 * g).collect::<Vec<_>>());
}
