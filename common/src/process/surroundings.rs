//! Where and when a process is at work, as its system says.

use std::time::{Duration, SystemTime};

/// The name of the host, or of the container; empty where the system does not tell.
pub fn host() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| String::new(), |name| name.trim().to_owned())
}

/// The time since 1970; none by a clock that is set before.
pub fn since_1970() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}
