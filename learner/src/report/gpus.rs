//! How busy the NVIDIA GPUs of this machine are, what of their memory is in use and what power they draw, for the metrics. It knows no run
//! and no device that computes one; where no driver answers, it is silent.
//!
//! A driver may take its time, or never answer: a thread of its own asks it, and whoever ends the thread waits for it only so long.

use nvml_wrapper::Nvml;
use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

/// What a GPU says of itself; nothing of what it does not know.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Share of the last second or less in which it had work, 0 to 1.
    pub utilisation: Option<f64>,
    /// Of its memory, bytes: in use by whatever process, and all.
    pub memory: Option<(u64, u64)>,
    /// Drawn now, watts.
    pub power: Option<f64>,
}

/// Somebody who can tell of the machine's GPUs.
trait Driver {
    /// One reading for each GPU, by its number.
    fn read(&self) -> Vec<(u32, Reading)>;
}

/// NVML samples the utilisation over a second or less, and metrics are rendered at most once a second.
const INTERVAL: Duration = Duration::from_secs(1);
/// Time that a reading under way has when the process ends: an ordinary one takes milliseconds.
const END_MAX: Duration = Duration::from_millis(500);

/// The thread that asks the driver, until this is dropped.
#[derive(Debug)]
pub struct GpuWatch {
    /// Dropped, it ends the thread.
    stop: Option<SyncSender<()>>,
    /// Disconnected when the thread has ended.
    ended: Receiver<()>,
    end_max: Duration,
}

impl GpuWatch {
    /// Hands every reading to `record`, once a second from now on, if there is an NVIDIA driver.
    pub fn start(record: impl Fn(u32, Reading) + Send + 'static) -> Self {
        Self::of(nvml, record, INTERVAL, END_MAX)
    }

    fn of<D: Driver>(
        open: impl FnOnce() -> Option<D> + Send + 'static,
        record: impl Fn(u32, Reading) + Send + 'static,
        interval: Duration,
        end_max: Duration,
    ) -> Self {
        // Nothing is ever sent: what counts is that the other end is gone.
        let (stop, stopped) = sync_channel(0);
        let (end, ended) = sync_channel(0);
        let watching = move || {
            // Loading the library is the driver's too.
            if let Some(driver) = open() {
                watch(&driver, record, interval, &stopped);
            }
            drop(end);
        };
        // Its handle is dropped, not joined: what hangs in a driver cannot be ended, and must not keep the process.
        let thread = std::thread::Builder::new().name("gpus".into()).spawn(watching);
        if let Err(error) = thread {
            tracing::debug!(%error, "no metrics of GPUs: there is no thread for them");
        }
        Self { stop: Some(stop), ended, end_max }
    }
}

impl Drop for GpuWatch {
    fn drop(&mut self) {
        drop(self.stop.take());
        if self.ended.recv_timeout(self.end_max) == Err(RecvTimeoutError::Timeout) {
            tracing::debug!("the GPU's driver does not answer: the process ends without its metrics' thread");
        }
    }
}

fn watch(driver: &impl Driver, record: impl Fn(u32, Reading), interval: Duration, stopped: &Receiver<()>) {
    let mut readings = BTreeMap::new();
    loop {
        // One that is not told of any more is not known any more.
        readings.values_mut().for_each(|reading| *reading = Reading::default());
        readings.extend(driver.read());
        readings.iter().for_each(|(index, reading)| record(*index, *reading));
        if stopped.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

/// The NVIDIA driver's library, if there is one.
fn nvml() -> Option<Nvml> {
    if cfg!(target_feature = "crt-static") {
        // A static program can load no library.
        return None;
    }
    Nvml::init().inspect_err(|error| tracing::debug!(%error, "no metrics of GPUs: NVML does not answer")).ok()
}

impl Driver for Nvml {
    fn read(&self) -> Vec<(u32, Reading)> {
        let count = self.device_count().unwrap_or(0);
        let of = |index| {
            let Ok(gpu) = self.device_by_index(index) else { return (index, Reading::default()) };
            let reading = Reading {
                utilisation: gpu.utilization_rates().ok().map(|rates| f64::from(rates.gpu) / 100.0),
                memory: gpu.memory_info().ok().map(|memory| (memory.used, memory.total)),
                power: gpu.power_usage().ok().map(|milliwatts| f64::from(milliwatts) / 1000.0),
            };
            (index, reading)
        };
        (0..count).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A driver that answers when it is let.
    struct Slow(Receiver<()>);

    impl Driver for Slow {
        fn read(&self) -> Vec<(u32, Reading)> {
            let is_let = self.0.recv().is_ok();
            is_let.then(|| (3, Reading { power: Some(250.0), ..Reading::default() })).into_iter().collect()
        }
    }

    #[test]
    fn readings_come_again_and_again_until_the_watch_is_dropped() {
        let (answer, answers) = sync_channel(0);
        let (sender, readings) = sync_channel(16);
        let record = move |index, reading| sender.send((index, reading)).unwrap();
        let watch = GpuWatch::of(move || Some(Slow(answers)), record, Duration::ZERO, Duration::MAX);
        for _ in 0..3 {
            answer.send(()).unwrap();
            assert_eq!(readings.recv().unwrap(), (3, Reading { power: Some(250.0), ..Reading::default() }));
        }
        // From now on the driver knows of no GPU, and what it told is not left standing.
        drop(answer);
        assert_eq!(readings.recv().unwrap(), (3, Reading::default()));
        // The thread may be telling it: room for that.
        let rest = std::thread::Builder::new().name("rest".into()).spawn(move || readings.iter().count()).unwrap();
        drop(watch);
        rest.join().unwrap();
    }

    #[test]
    fn a_driver_that_hangs_does_not_keep_the_process() {
        let (answer, answers) = sync_channel::<()>(0);
        let (asked, was_asked) = sync_channel(0);
        let open = move || {
            asked.send(()).unwrap();
            Some(Slow(answers))
        };
        let watch = GpuWatch::of(open, |_, _| (), Duration::ZERO, Duration::ZERO);
        was_asked.recv().unwrap();
        drop(watch);
        drop(answer);
    }

    #[test]
    fn without_a_driver_the_thread_ends_at_once() {
        let watch = GpuWatch::of(|| None::<Slow>, |_, _| unreachable!("there is none"), INTERVAL, END_MAX);
        assert!(watch.ended.recv().is_err());
    }
}
