//! How much of this machine's processors is in use, by all processes, as far as the system tells.

/// Running totals of the processors' time since the system started, in ticks of the system's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessorTime {
    busy: u64,
    total: u64,
}

impl ProcessorTime {
    /// The present totals; nothing where the system has no `/proc/stat`.
    pub fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/stat").ok()?)
    }

    /// First line: `cpu`, then user, nice, system, idle, iowait, irq, softirq, steal; what follows is part of user.
    fn parse(stat: &str) -> Option<Self> {
        let numbers = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let numbers: Vec<u64> = numbers.take(8).map(|n| n.parse().ok()).collect::<Option<_>>()?;
        let total = numbers.iter().sum();
        let idle = numbers.get(3)? + numbers.get(4)?;
        Some(Self { busy: total - idle, total })
    }

    /// Share of the processors' time between two looks in which they worked; nothing if they were too close.
    pub fn share_since(&self, earlier: &Self) -> Option<f64> {
        let total = self.total.saturating_sub(earlier.total);
        (total > 0).then(|| self.busy.saturating_sub(earlier.busy) as f64 / total as f64)
    }
}

/// Memory of this process that is in use (its resident set), bytes, as far as the system tells.
pub fn own_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_knows_its_memory() {
        let bytes = own_memory().unwrap();
        assert!((1 << 20..1 << 40).contains(&bytes), "{bytes}");
    }

    #[test]
    fn the_share_is_that_of_all_processors_between_two_looks() {
        let earlier = ProcessorTime::parse("cpu  100 0 50 800 50 0 0 0 7 7\ncpu0 1 2").unwrap();
        let later = ProcessorTime::parse("cpu  160 0 70 815 55 0 0 0 9 9\n").unwrap();
        assert_eq!(later.share_since(&earlier), Some(0.8));
        assert_eq!(later.share_since(&later), None);
        assert_eq!(ProcessorTime::parse("intr 1 2 3"), None);
        assert_eq!(ProcessorTime::parse(""), None);
    }
}
