//! Resident memory of processes, from `/proc`: zero samples where the system has none.

use crate::machine::field;
use serde::Serialize;
use std::time::Instant;

/// Bytes in a megabyte, as memory is reported.
const MB: f64 = 1e6;

/// Resident memory of one process over time.
#[derive(Clone, Debug)]
pub struct MemoryTrace {
    pid: u32,
    started: Instant,
    /// Seconds since the start and megabytes.
    samples: Vec<(f64, f64)>,
    peak: f64,
}

/// A trace in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct MemoryReport {
    /// Largest resident size that the system saw, MB.
    pub peak: f64,
    /// Median over the second fifth of the time, MB.
    pub start: f64,
    /// Median over the last fifth of the time, MB.
    pub end: f64,
    /// Least-squares slope after the first fifth of the time, MB a minute.
    pub slope: f64,
}

impl MemoryTrace {
    /// A trace without samples.
    pub fn new(pid: u32) -> Self {
        Self { pid, started: Instant::now(), samples: Vec::new(), peak: 0.0 }
    }

    /// Looks at the process once; a process that has ended leaves the trace as it is.
    pub fn sample(&mut self) {
        // Not `smaps_rollup`, which is exact but stops the process while it walks all its pages.
        let status = format!("/proc/{}/status", self.pid);
        let kilobytes = |name: &str| field(&status, name).and_then(|value| number(&value));
        // A process that has ended but was not waited for has the file without these lines.
        let Some(resident) = kilobytes("VmRSS") else { return };
        let peak = kilobytes("VmHWM").unwrap_or(resident);
        self.peak = self.peak.max(peak * 1024.0 / MB);
        self.samples.push((self.started.elapsed().as_secs_f64(), resident * 1024.0 / MB));
    }

    /// What the samples say.
    pub fn report(&self) -> MemoryReport {
        let last = self.samples.last().map_or(0.0, |(seconds, _)| *seconds);
        let within = |from: f64, to: f64| -> Vec<(f64, f64)> {
            let range = from * last..=to * last;
            self.samples.iter().filter(|(seconds, _)| range.contains(seconds)).copied().collect()
        };
        let median = |samples: Vec<(f64, f64)>| {
            let mut values: Vec<f64> = samples.into_iter().map(|(_, megabytes)| megabytes).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied().unwrap_or_default()
        };
        let slope = 60.0 * slope(&within(0.2, 1.0));
        MemoryReport { peak: self.peak, start: median(within(0.2, 0.4)), end: median(within(0.8, 1.0)), slope }
    }
}

fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.parse().ok()
}

/// Least-squares slope of y over x; 0 without two different x.
fn slope(points: &[(f64, f64)]) -> f64 {
    let n = points.len().max(1) as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |(sx, sy), (x, y)| (sx + x / n, sy + y / n));
    let covariance: f64 = points.iter().map(|p| (p.0 - x) * (p.1 - y)).sum();
    let variance: f64 = points.iter().map(|p| (p.0 - x).powi(2)).sum();
    if variance > 0.0 { covariance / variance } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_process_shows_in_the_slope_and_the_ends() {
        let samples = (0..=100).map(|i| (f64::from(i), 10.0 + 0.5 * f64::from(i))).collect();
        let trace = MemoryTrace { pid: 0, started: Instant::now(), samples, peak: 60.0 };
        let report = trace.report();
        assert!((report.slope - 30.0).abs() < 1e-9, "{report:?}");
        assert!(report.start < 27.0 && report.end > 53.0, "{report:?}");
    }

    #[test]
    fn this_process_is_larger_than_nothing_where_proc_is() {
        let mut trace = MemoryTrace::new(std::process::id());
        trace.sample();
        if std::path::Path::new("/proc/self/status").exists() {
            assert!(trace.report().peak > 0.1, "{trace:?}");
        }
    }
}
