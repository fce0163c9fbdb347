//! Chooses the learner's device. For `auto` both are measured with the run's own network and batch, before it begins, and
//! the faster one is taken: a small network is faster on the CPU, whose step needs no launches and no way over a bus.
//!
//! A GPU compiles and tunes its programs at the first update, which takes seconds. It is waited for as long as so many updates on
//! the CPU take that it may well be worth it, within bounds; is it not ready by then, it is taken only if the CPU is so slow that
//! any GPU will be faster. Next to a CPU that needs less for an update than a GPU for its launches it is not even tried.

use crate::config::compute::Compute;
use crate::fit::calibration::{self, Workload};
use crate::learn::compute::{ComputeDevice, DeviceChoice, DeviceError};
use crate::learn::step::LearnerStep;
use impala_common::process::errors::{self, Level};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// An update of which a CPU is done sooner is not for a GPU: on an H100 the smallest took 3.7 ms, for its launches.
const SMALL_UPDATE: Duration = Duration::from_millis(1);
/// For the GPU: updates on the CPU that take as long, within the bounds.
const UPDATES_WORTH: u32 = 400;
const GPU_TIME_MIN: Duration = Duration::from_millis(1600);
const GPU_TIME_MAX: Duration = Duration::from_secs(20);
/// For a measurement that nobody waited for, before the process ends.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// Of it, what nobody is told of.
const IDLE_TIME_QUIET: Duration = Duration::from_secs(1);
/// For the CPU's updates.
const CPU_TIME_MAX: Duration = Duration::from_millis(300);
/// A CPU that needs longer for an update does more arithmetic in it than a GPU that is not ready yet needs this time for.
const LARGE_UPDATE: Duration = Duration::from_millis(250);

/// Measurements that may be at work.
static UNDER_WAY: Mutex<Vec<JoinHandle<()>>> = Mutex::new(Vec::new());

/// What became of the GPU's measurement.
#[derive(Clone, Copy, Debug, PartialEq)]
enum GpuTime {
    /// An update takes so long.
    Update(Duration),
    /// The first update was not done after this time.
    NotReady(Duration),
    /// Not measured beside so short an update.
    NotTried,
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
/// not depend on a measurement. Blocks for a moment where the CPU is fast, else for seconds, at most [`GPU_TIME_MAX`] and what
/// the CPU's few updates take.
///
/// # Errors
/// A GPU was asked for by name and is not to be had, or does not train the network.
pub fn open(compute: &Compute, is_deterministic: bool, workload: &Workload) -> Result<ComputeDevice, DeviceError> {
    let (choice, head) = (compute.device, workload.head());
    if !LearnerStep::device_computes(head) {
        return match choice {
            DeviceChoice::Wgpu(_) => Err(DeviceError::Head { choice, head: head.clone() }),
            DeviceChoice::Cpu => Ok(ComputeDevice::cpu()),
            DeviceChoice::Auto => {
                Ok(ComputeDevice::cpu().noted(format!("device: cpu (a GPU does not train a policy of {head} yet)")))
            }
        };
    }
    if choice != DeviceChoice::Auto {
        return ComputeDevice::open(choice);
    }
    if is_deterministic {
        return Ok(ComputeDevice::cpu().noted("device: cpu (a deterministic run does not choose by measuring)".into()));
    }
    let device = ComputeDevice::open(DeviceChoice::Auto)?;
    if device.is_cpu() {
        return Ok(device);
    }
    Ok(faster(workload, compute.learner_threads, &device, gpu_time_limit))
}

/// The CPU with so many threads or `gpu`, whichever is faster; `limit` tells how long to wait for the GPU beside a CPU that needs
/// so long for an update, zero if it is not to be tried.
pub fn faster(
    workload: &Workload,
    threads: usize,
    gpu: &ComputeDevice,
    limit: impl FnOnce(Duration) -> Duration,
) -> ComputeDevice {
    let cpu = cpu_time(workload, threads);
    let time = gpu_time(workload, gpu, limit(cpu.update));
    let device = if takes_gpu(cpu, time) { gpu.clone() } else { ComputeDevice::cpu() };
    device.noted(note(gpu.name(), cpu, time))
}

/// How long to wait for a GPU's first updates beside a CPU that needs so long for one.
fn gpu_time_limit(cpu_update: Duration) -> Duration {
    match cpu_update < SMALL_UPDATE {
        true => Duration::ZERO,
        false => cpu_update.saturating_mul(UPDATES_WORTH).clamp(GPU_TIME_MIN, GPU_TIME_MAX),
    }
}

fn takes_gpu(cpu: CpuTime, gpu: GpuTime) -> bool {
    match gpu {
        GpuTime::Update(update) => update < cpu.update,
        GpuTime::NotReady(_) => cpu.update >= LARGE_UPDATE,
        GpuTime::NotTried | GpuTime::Broken => false,
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
        GpuTime::NotTried => "would take longer to begin one".into(),
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

fn gpu_time(workload: &Workload, gpu: &ComputeDevice, limit: Duration) -> GpuTime {
    if limit.is_zero() {
        return GpuTime::NotTried;
    }
    let (workload, gpu) = (workload.clone(), gpu.clone());
    within(limit, move |stops| calibration::update_time_of(&workload, workload.batch_size(), &gpu, limit / 4, stops))
}

/// What `measure` finds within the limit. On a thread of its own, which may end when it is told to stop, after its update under way.
fn within(limit: Duration, measure: impl FnOnce(&dyn Fn() -> bool) -> Duration + Send + 'static) -> GpuTime {
    let (sender, receiver) = mpsc::sync_channel(1);
    let is_late = Arc::new(AtomicBool::new(false));
    let measurement = {
        let is_late = is_late.clone();
        move || {
            let time = measure(&|| is_late.load(Ordering::Relaxed));
            // Nobody waits any more if it was late.
            let _ = sender.try_send(time);
        }
    };
    // A driver that compiles cannot be interrupted, and the run need not wait for it.
    match std::thread::Builder::new().name("measurement".into()).spawn(measurement) {
        Ok(thread) => UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).push(thread),
        Err(_) => return GpuTime::Broken,
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

/// Returns when no measurement is under way any more, or after [`IDLE_TIME_MAX`]; tells a person who waits. For the end of a
/// process: a driver that still compiles on one thread while another ends the process, and with it what the driver holds, breaks it
/// with a signal, after all is done and in place of its exit status.
pub fn wait_until_idle() {
    let began = Instant::now();
    let mut is_told = false;
    let is_idle = || UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner).iter().all(JoinHandle::is_finished);
    while !is_idle() && began.elapsed() < IDLE_TIME_MAX {
        if !is_told && began.elapsed() > IDLE_TIME_QUIET {
            let text = "waiting for the GPU's driver, which still compiles for the measurement of --device auto";
            errors::tell(Level::Info, text);
            is_told = true;
        }
        std::thread::sleep(Duration::from_millis(5));
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
            (cpu(0.12), GpuTime::NotTried, "device: cpu (0.12 ms an update; RTX would take longer to begin one)"),
            (cpu(2400.0), GpuTime::Broken, "device: cpu (about 2400 ms an update; RTX failed in the measurement)"),
        ] {
            assert_eq!(note("RTX", cpu, gpu), expected);
            assert_eq!(takes_gpu(cpu, gpu), expected.starts_with("device: RTX"), "{expected}");
        }
    }

    #[test]
    fn a_gpu_for_which_there_is_no_time_is_not_tried() {
        // Any device takes part.
        let config = Config::complete("".parse().unwrap(), &impala_env::builtin()).unwrap();
        let device = faster(&Workload::of(&config), 1, &ComputeDevice::cpu(), |_| Duration::ZERO);
        assert!(device.is_cpu());
        assert!(device.note().contains("would take longer to begin one"), "{}", device.note());
    }

    #[test]
    fn a_gpu_that_is_not_ready_in_time_loses_against_a_small_update_and_is_waited_for_at_the_end() {
        let (limit, (ended, has_ended)) = (Duration::from_millis(1), mpsc::channel());
        // As a driver does, it goes on for a while after it was told to stop.
        let time = within(limit, move |stops| {
            while !stops() {
                std::thread::yield_now();
            }
            std::thread::sleep(Duration::from_millis(50));
            ended.send(()).unwrap();
            limit
        });
        assert_eq!((time, takes_gpu(cpu(0.12), time)), (GpuTime::NotReady(limit), false));
        assert!(note("RTX", cpu(0.12), time).contains("not ready after 0.0 s"));
        wait_until_idle();
        has_ended.try_recv().expect("the measurement has ended before the wait did");
    }

    #[test]
    fn the_longer_an_update_takes_on_the_cpu_the_longer_a_gpu_is_waited_for() {
        let limits = [0.9, 1.0, 10.0, 38.0, 600.0].map(|milliseconds| gpu_time_limit(cpu(milliseconds).update));
        assert_eq!(limits.map(|limit| limit.as_secs_f64()), [0.0, 1.6, 4.0, 15.2, 20.0]);
    }

    #[test]
    fn a_deterministic_run_does_not_choose_by_measuring() {
        let config = Config::complete("".parse().unwrap(), &impala_env::builtin()).unwrap();
        let device = open(&config.compute, true, &Workload::of(&config)).unwrap();
        assert!(device.is_cpu());
        assert!(device.note().contains("deterministic"), "{}", device.note());
    }
}
