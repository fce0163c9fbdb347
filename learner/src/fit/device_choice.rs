//! Chooses the learner's device. For `auto` both are measured with the run's own network and batch, before it begins, and
//! the faster one is taken: a small network is faster on the CPU, whose step needs no launches and no way over a bus.
//!
//! The measurements take less than [`TIME_MAX`] together. A GPU compiles and tunes its programs at the first update, which
//! may take longer than that; it is then taken only if the CPU is so slow that any GPU will be faster.

use crate::config::compute::Compute;
use crate::fit::calibration::{self, Workload};
use crate::learn::compute::{ComputeDevice, DeviceChoice, DeviceError};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// For everything, from opening the GPU on.
const TIME_MAX: Duration = Duration::from_millis(1900);
/// For the CPU's updates.
const CPU_TIME_MAX: Duration = Duration::from_millis(300);
/// A CPU that needs longer for an update does more arithmetic in it than a GPU that is not ready yet needs this time for.
const LARGE_UPDATE: Duration = Duration::from_millis(250);

/// What became of the GPU's measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum GpuTime {
    /// An update takes so long.
    Update(Duration),
    /// The first update was not done after this time.
    NotReady(Duration),
    /// The backend broke.
    Broken,
}

/// An update's time on the CPU.
#[derive(Clone, Copy, Debug, PartialEq)]
struct CpuTime {
    update: Duration,
    /// Measured with a part of the batch.
    is_estimated: bool,
}

/// Opens the configured device; for `auto` the one that is faster for this workload, but for a deterministic run, which must
/// not depend on a measurement. Blocks for up to two seconds.
///
/// # Errors
/// A GPU was asked for by name and is not to be had.
pub fn open(compute: &Compute, is_deterministic: bool, workload: &Workload) -> Result<ComputeDevice, DeviceError> {
    let began = Instant::now();
    if compute.device != DeviceChoice::Auto {
        return ComputeDevice::open(compute.device);
    }
    if is_deterministic {
        return Ok(ComputeDevice::cpu().noted("device: cpu (a deterministic run does not choose by measuring)".into()));
    }
    let device = ComputeDevice::open(DeviceChoice::Auto)?;
    if device.is_cpu() {
        return Ok(device);
    }
    Ok(faster(workload, compute.learner_threads, &device, began + TIME_MAX))
}

/// The CPU with so many threads or `gpu`, whichever is faster, told by `deadline`.
pub fn faster(workload: &Workload, threads: usize, gpu: &ComputeDevice, deadline: Instant) -> ComputeDevice {
    let cpu = cpu_time(workload, threads);
    let time = gpu_time(workload, gpu, deadline.saturating_duration_since(Instant::now()));
    let device = if takes_gpu(cpu, time) { gpu.clone() } else { ComputeDevice::cpu() };
    device.noted(note(gpu.name(), cpu, time))
}

fn takes_gpu(cpu: CpuTime, gpu: GpuTime) -> bool {
    match gpu {
        GpuTime::Update(update) => update < cpu.update,
        GpuTime::NotReady(_) => cpu.update >= LARGE_UPDATE,
        GpuTime::Broken => false,
    }
}

/// One line with both figures.
fn note(name: &str, cpu: CpuTime, gpu: GpuTime) -> String {
    let milliseconds = |time: Duration| match time.as_secs_f64() * 1e3 {
        large if large >= 10.0 => format!("{large:.0} ms"),
        small => format!("{small:.2} ms"),
    };
    let about = if cpu.is_estimated { "about " } else { "" };
    let cpu_time = format!("{about}{}", milliseconds(cpu.update));
    let gpu_time = match gpu {
        GpuTime::Update(update) => milliseconds(update),
        GpuTime::NotReady(after) => format!("not ready after {:.1} s", after.as_secs_f64()),
        GpuTime::Broken => "failed in the measurement".into(),
    };
    match takes_gpu(cpu, gpu) {
        true => format!("device: {name} ({gpu_time}; cpu {cpu_time} an update)"),
        false => format!("device: cpu ({cpu_time} an update; {name} {gpu_time})"),
    }
}

/// With as much of the batch as fits into the limit, from which the whole is estimated: what an update takes grows with
/// the rows.
fn cpu_time(workload: &Workload, threads: usize) -> CpuTime {
    let columns = calibration::columns_within(workload, CPU_TIME_MAX);
    let update = || calibration::update_time_of(workload, columns, &ComputeDevice::cpu(), CPU_TIME_MAX, &|| false);
    // A pool of its own: the run's is made when the number of its threads is settled.
    let time = match rayon::ThreadPoolBuilder::new().num_threads(threads).build() {
        Ok(pool) => pool.install(update),
        Err(_) => update(),
    };
    CpuTime {
        update: time.mul_f64(workload.batch_size() as f64 / columns as f64),
        is_estimated: columns < workload.batch_size(),
    }
}

/// On a thread of its own, which ends after its update under way when the time is up.
fn gpu_time(workload: &Workload, gpu: &ComputeDevice, limit: Duration) -> GpuTime {
    if limit.is_zero() {
        return GpuTime::NotReady(limit);
    }
    let (sender, receiver) = mpsc::sync_channel(1);
    let is_late = Arc::new(AtomicBool::new(false));
    let measurement = {
        let (workload, gpu, is_late) = (workload.clone(), gpu.clone(), is_late.clone());
        move || {
            let stops = || is_late.load(Ordering::Relaxed);
            let time = calibration::update_time_of(&workload, workload.batch_size(), &gpu, limit / 4, &stops);
            // Nobody waits any more if it was late.
            let _ = sender.try_send(time);
        }
    };
    // Not joined: a driver that compiles cannot be interrupted, and the run need not wait for it.
    let spawned = std::thread::Builder::new().name("measurement".into()).spawn(measurement);
    if spawned.is_err() {
        return GpuTime::Broken;
    }
    match receiver.recv_timeout(limit) {
        Ok(time) => GpuTime::Update(time),
        Err(RecvTimeoutError::Disconnected) => GpuTime::Broken,
        Err(RecvTimeoutError::Timeout) => {
            is_late.store(true, Ordering::Relaxed);
            GpuTime::NotReady(limit)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn cpu(milliseconds: f64) -> CpuTime {
        CpuTime { update: Duration::from_secs_f64(milliseconds / 1e3), is_estimated: milliseconds > 1000.0 }
    }

    fn gpu(milliseconds: f64) -> GpuTime {
        GpuTime::Update(Duration::from_secs_f64(milliseconds / 1e3))
    }

    #[test]
    fn the_faster_device_is_taken_and_both_figures_are_told() {
        let late = GpuTime::NotReady(Duration::from_millis(1600));
        for (cpu, gpu, expected) in [
            (cpu(0.12), gpu(1.9), "device: cpu (0.12 ms an update; RTX 1.90 ms)"),
            (cpu(30.4), gpu(1.9), "device: RTX (1.90 ms; cpu 30 ms an update)"),
            (cpu(0.12), late, "device: cpu (0.12 ms an update; RTX not ready after 1.6 s)"),
            (cpu(2400.0), late, "device: RTX (not ready after 1.6 s; cpu about 2400 ms an update)"),
            (cpu(2400.0), GpuTime::Broken, "device: cpu (about 2400 ms an update; RTX failed in the measurement)"),
        ] {
            assert_eq!(note("RTX", cpu, gpu), expected);
            assert_eq!(takes_gpu(cpu, gpu), expected.starts_with("device: RTX"), "{expected}");
        }
    }

    #[test]
    fn a_gpu_that_is_not_ready_in_time_loses_against_a_small_update() {
        // Any device takes part; no time at all is left for this one.
        let config = Config::complete("".parse().unwrap(), &impala_env::builtin()).unwrap();
        let device = faster(&Workload::of(&config), 1, &ComputeDevice::cpu(), Instant::now());
        assert!(device.is_cpu());
        assert!(device.note().contains("not ready after 0.0 s"), "{}", device.note());
    }

    #[test]
    fn a_deterministic_run_does_not_choose_by_measuring() {
        let config = Config::complete("".parse().unwrap(), &impala_env::builtin()).unwrap();
        let device = open(&config.compute, true, &Workload::of(&config)).unwrap();
        assert!(device.is_cpu());
        assert!(device.note().contains("deterministic"), "{}", device.note());
    }
}
