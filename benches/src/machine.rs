//! The machine, as far as the figures depend on it.

use serde::Serialize;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Where and when something was measured.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the processor, as the system calls it.
    pub cpu: String,
    /// Cores that this process may use.
    pub cores: usize,
    /// Share of all cores' time that other programs took in the moment before, 0 to 1.
    pub others: f64,
    /// UTC.
    pub date: String,
    /// The checked-out commit, with a `+` where files differ from it; empty outside of a repository.
    pub commit: String,
}

impl Machine {
    /// The machine that this runs on, as it is now.
    pub fn here() -> Self {
        Self {
            cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.into()),
            cores: cores(),
            others: others().unwrap_or_default(),
            date: humantime::format_rfc3339_seconds(SystemTime::now()).to_string(),
            commit: commit().unwrap_or_default(),
        }
    }
}

/// Cores that this process may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The last core that this process may use: the first one often serves the interrupts.
pub fn last_core() -> Option<String> {
    let allowed = field("/proc/self/status", "Cpus_allowed_list")?;
    allowed.rsplit([',', '-']).next().map(|core| core.trim().to_owned())
}

/// The value of the first line `name : value` of a file of the system.
pub(crate) fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let (_, value) = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name)?;
    Some(value.trim().to_owned())
}

/// Busy share of all cores while this process sleeps; counts what the host takes away too.
fn others() -> Option<f64> {
    let ticks = || -> Option<(f64, f64)> {
        let text = std::fs::read_to_string("/proc/stat").ok()?;
        let fields = text.lines().next()?.split_whitespace().skip(1).take(8);
        let ticks: Vec<f64> = fields.map(|field| field.parse().ok()).collect::<Option<_>>()?;
        // User, nice, system, idle, waiting for disks, interrupts of two kinds, stolen.
        Some((ticks.iter().sum(), ticks.get(3)? + ticks.get(4)?))
    };
    let (all, idle) = ticks()?;
    std::thread::sleep(Duration::from_millis(500));
    let (all_then, idle_then) = ticks()?;
    Some(1.0 - (idle_then - idle) / (all_then - all).max(1.0))
}

fn commit() -> Option<String> {
    let git = |args: &[&str]| {
        let output = Command::new("git").args(args).output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain"])?.is_empty();
    Some(if is_clean { commit } else { format!("{commit}+") })
}
