//! What a device can do at most, measured on it: arithmetic in a large product of matrices and bytes in a large copy; and the
//! least time that an update takes by these limits. The yardstick for a learner step; nothing of a run depends on it.

use burn::tensor::Tensor;
use impala_learner::learn::compute::ComputeDevice;
use impala_policy::network::NetworkSpec;
use std::time::{Duration, Instant};

/// Bytes of a number.
const NUMBER: f64 = 4.0;

/// Numbers of the copied array, 120 MB: more than a cache holds, and still below 128 MiB, the smallest limit of a buffer.
const COPY_NUMBERS: usize = 30_000_000;

/// Operations before one waits: the wait costs as much as one of them on a fast device.
const IN_A_ROW: usize = 8;

/// What a device reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DeviceLimits {
    /// Multiplications and additions a second in a product of two square matrices.
    pub flops: f64,
    /// Bytes read and written a second in an elementwise operation over a large array.
    pub bytes: f64,
}

impl DeviceLimits {
    /// Measures with matrices of so many rows and columns, each limit for about `time` after a warm-up.
    pub fn measure(device: &ComputeDevice, size: usize, time: Duration) -> Self {
        let plain = device.plain();
        // Small, so that repeated products stay finite.
        let matrix = Tensor::<2>::full([size, size], 1.0 / size as f32, plain);
        let products = || {
            let all = (0..IN_A_ROW).fold(matrix.clone(), |product, _| product.matmul(matrix.clone()));
            // Every number of every power is the same: what is computed in no time at all would be found out here.
            let number = read(all.slice([0..1, 0..1]));
            assert!((number * size as f32 - 1.0).abs() < 1e-2, "a product gives {number}, not 1 / {size}");
        };
        let mut copied = 1.0;
        let mut array = Some(Tensor::<1>::full([COPY_NUMBERS], 1.0, plain));
        let copies = || {
            let mut copy = array.take().expect("it is put back");
            for _ in 0..IN_A_ROW {
                copy = copy.add_scalar(1.0);
                // Handed over one by one, else the backend makes one operation of all. An error shows in the reading.
                let _ = plain.flush();
            }
            let number = read(copy.clone().narrow(0, 0, 1));
            copied += IN_A_ROW as f32;
            assert_eq!(number, copied, "a sum of whole numbers");
            array = Some(copy);
        };
        let in_a_row = IN_A_ROW as f64;
        Self {
            flops: 2.0 * (size as f64).powi(3) * in_a_row * rate(time, products),
            // Read and written, four bytes a number.
            bytes: 8.0 * COPY_NUMBERS as f64 * in_a_row * rate(time, copies),
        }
    }
}

/// The least time of an update, from what it has to compute and to move.
pub struct Floor {
    /// Multiplications and additions.
    pub flops: f64,
    /// Read and written.
    pub bytes: f64,
    /// Of the device.
    pub limits: DeviceLimits,
}

impl Floor {
    /// Of an update of `frames` frames in trajectories of `steps` steps. What it cannot do without: the products, and every
    /// array that is larger than a cache once for each time that it is written or read.
    pub fn new(spec: &NetworkSpec, steps: usize, frames: usize, limits: DeviceLimits) -> Self {
        let rows = (frames + frames / steps) as f64;
        let mut inputs = spec.observation_len;
        let mut weights = 0.0;
        for outputs in spec.hidden.iter().copied().chain([spec.head.outputs() + 1]) {
            weights += (inputs * outputs) as f64;
            inputs = outputs;
        }
        let first = (spec.observation_len * spec.hidden.first().copied().unwrap_or(0)) as f64;
        let hidden: usize = spec.hidden.iter().sum();
        // Forward, for the weights and, but in the first layer, for the inputs; a multiplication and an addition each.
        let flops = 2.0 * rows * (3.0 * weights - first);
        // A hidden layer: written, read by the next layer, by its weights' gradient and by the slope; its gradient written
        // once and read twice. A parameter: read by forward and backward pass; gradient written and read; parameter and
        // two moments read and written.
        let numbers = rows * (7 * hidden + 2 * spec.observation_len) as f64 + 10.0 * spec.parameter_count() as f64;
        Self { flops, bytes: NUMBER * numbers, limits }
    }

    /// Seconds of arithmetic alone.
    pub fn arithmetic(&self) -> f64 {
        self.flops / self.limits.flops
    }

    /// Seconds of memory traffic alone.
    pub fn memory(&self) -> f64 {
        self.bytes / self.limits.bytes
    }

    /// Seconds, with arithmetic and memory at work at the same time.
    pub fn seconds(&self) -> f64 {
        self.arithmetic().max(self.memory())
    }
}

/// Reads a number back: the backends may do nothing before they must.
fn read<const D: usize>(number: Tensor<D>) -> f32 {
    number.into_scalar()
}

/// Calls a second, the best of those within `time` after two warm-ups.
fn rate(time: Duration, mut work: impl FnMut()) -> f64 {
    work();
    work();
    let began = Instant::now();
    let mut best = Duration::MAX;
    while best == Duration::MAX || began.elapsed() < time {
        let since = Instant::now();
        work();
        best = best.min(since.elapsed());
    }
    1.0 / best.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_positive_numbers() {
        let limits = DeviceLimits::measure(&ComputeDevice::cpu(), 16, Duration::ZERO);
        assert!(limits.flops > 0.0 && limits.bytes > 0.0, "{limits:?}");
    }
}
