//! Where the learner computes and with how many threads. Read when the device is chosen and the pool is made.

use super::section::section;
use super::setting::Bounds;
use crate::learn::compute::DeviceChoice;

/// Most threads of the learner; guards against a typing error.
const LEARNER_THREADS_MAX: usize = 1024;

section! {
    /// Where the learner computes.
    Compute from GivenCompute, "Device and threads" {
        device: DeviceChoice = DeviceChoice::Auto, "auto", "IMPALA_DEVICE",
            "Where the learner computes: auto (a GPU where there is one and it is faster for this network and batch), cpu, wgpu, or wgpu:N for the N-th discrete GPU, from 0.";
        learner_threads: usize = 0, "0 (one per core; `train` picks)", "IMPALA_LEARNER_THREADS",
            "Threads of the CPU backend, 0 for one per core. Small batches are computed on one whatever the number."
            in Bounds::UpToOrZero { max: LEARNER_THREADS_MAX, zero: "for one per core" };
    }
}
