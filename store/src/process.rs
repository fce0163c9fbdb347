//! A process, so that another one can tell whether it is the same, and on the same machine whether it has ended.

use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::LazyLock;
use std::time::SystemTime;

/// What no two processes have in common.
static MARK: LazyLock<String> = LazyLock::new(|| format!("{:032x}", rand::rng().random::<u128>()));

/// A process on any machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) mark: String,
    id: u32,
    host: String,
    /// When it wrote this first, for people.
    since: String,
    /// The machine since it was booted last, and the process's name space there; nothing where the system does not tell.
    pub(crate) machine: Option<String>,
    /// When the process began, in the machine's own time; tells it from a later one of the same number.
    pub(crate) began: Option<u64>,
}

impl Process {
    /// This one.
    pub(crate) fn this() -> Self {
        static SINCE: LazyLock<String> = LazyLock::new(|| {
            let now = SystemTime::now().max(SystemTime::UNIX_EPOCH);
            humantime::format_rfc3339_seconds(now).to_string()
        });
        let id = std::process::id();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
        Self { mark: MARK.clone(), id, host, since: SINCE.clone(), machine: machine(), began: began(id) }
    }

    /// Whether it has certainly ended; only known on its own machine.
    pub(crate) fn has_ended(&self) -> bool {
        let is_here = self.machine.is_some() && self.machine == machine();
        if !is_here || self.began.is_none() {
            return false;
        }
        match std::fs::read_to_string(format!("/proc/{}/stat", self.id)) {
            Ok(stat) => began_by(&stat) != self.began,
            // There is none of that number, or it is hidden.
            Err(_) => is_nobody(self.id),
        }
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, host, since, .. } = self;
        let host = if host.is_empty() { String::new() } else { format!(" on {host}") };
        write!(f, "process {id}{host}, since {since}")
    }
}

fn machine() -> Option<String> {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let processes = std::fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), processes.display()))
}

/// When a process of this machine began, in ticks since the boot; nothing if there is none of that number, or none that still runs.
fn began(id: u32) -> Option<u64> {
    began_by(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
}

fn began_by(stat: &str) -> Option<u64> {
    // The name may have spaces and brackets in it; what follows has none. Field 3 is the state, field 22 the time.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let is_over = ["Z", "X"].contains(fields.first()?);
    if is_over { None } else { fields.get(19)?.parse().ok() }
}

/// Whether the system knows no process of this number.
#[cfg(unix)]
fn is_nobody(id: u32) -> bool {
    let id = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw);
    id.is_some_and(|id| rustix::process::test_kill_process(id) == Err(rustix::io::Errno::SRCH))
}

#[cfg(not(unix))]
fn is_nobody(_: u32) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_of_this_machine_is_known_to_have_ended_and_one_of_another_is_not() {
        let mut child = std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let other = Process { id: child.id(), began: began(child.id()), ..Process::this() };
        assert!(!Process::this().has_ended() && !other.has_ended());
        // Another one has its number now.
        assert!(Process { began: other.began.map(|began| began + 1), ..other.clone() }.has_ended());
        child.kill().unwrap();
        while !other.has_ended() {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert!(other.has_ended());
        let elsewhere = Process { machine: Some("another boot".into()), ..other.clone() };
        let untold = Process { machine: None, ..other };
        assert!(!elsewhere.has_ended() && !untold.has_ended());
    }
}
