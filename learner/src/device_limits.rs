//! What a device can do at most, measured on it: arithmetic in a large product of matrices and bytes in a large copy. The
//! yardstick for a learner step; nothing of a run depends on it.

use crate::device::ComputeDevice;
use burn::tensor::Tensor;
use std::time::{Duration, Instant};

/// Numbers of the copied array on an accelerator, 256 MiB: far more than any cache holds.
const COPY_NUMBERS: usize = 1 << 26;

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
        let product = rate(time, || sync(device, matrix.clone().matmul(matrix.clone())));
        let array = Tensor::<1>::full([COPY_NUMBERS], 1.0, plain);
        let copy = rate(time, || sync(device, array.clone().add_scalar(1.0)));
        Self {
            flops: 2.0 * (size as f64).powi(3) * product,
            // Read and written, four bytes a number.
            bytes: 8.0 * COPY_NUMBERS as f64 * copy,
        }
    }
}

/// Waits until the tensor is computed; the backends do nothing before they must.
fn sync<const D: usize>(device: &ComputeDevice, tensor: Tensor<D>) {
    let _ = device.plain().flush();
    // An error shows again, and is told, where numbers are read back.
    let _ = device.plain().sync();
    drop(tensor);
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
