//! What went through the network interfaces that this process sees: those of its host, or of its container. The system counts it for
//! interfaces and not for processes, so several processes of one host tell the same.

use metrics::counter;

/// Bytes since the interfaces came up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Traffic {
    received: u64,
    transmitted: u64,
}

/// The loopback, and all other interfaces together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Interfaces {
    loopback: Traffic,
    other: Traffic,
}

impl Interfaces {
    /// Nothing where the system has no `/proc/self/net/dev`.
    fn read() -> Option<Self> {
        Self::parse(&std::fs::read_to_string("/proc/self/net/dev").ok()?)
    }

    /// Two lines of headings, then one for each interface: its name and a colon, eight numbers of what it received, of which the bytes
    /// are the first, and eight of what it sent.
    fn parse(table: &str) -> Option<Self> {
        let mut sum = Self::default();
        for line in table.lines().skip(2) {
            let (name, numbers) = line.split_once(':')?;
            let mut numbers = numbers.split_whitespace();
            let (received, transmitted) = (numbers.next()?.parse::<u64>().ok()?, numbers.nth(7)?.parse::<u64>().ok()?);
            let traffic = if name.trim() == "lo" { &mut sum.loopback } else { &mut sum.other };
            traffic.received = traffic.received.saturating_add(received);
            traffic.transmitted = traffic.transmitted.saturating_add(transmitted);
        }
        Some(sum)
    }
}

/// Brings the metrics up to date, where the system tells.
pub(crate) fn collect() {
    let Some(Interfaces { loopback, other }) = Interfaces::read() else { return };
    for (interface, traffic) in [("loopback", loopback), ("other", other)] {
        counter!("process_network_receive_bytes_total", "interface" => interface).absolute(traffic.received);
        counter!("process_network_transmit_bytes_total", "interface" => interface).absolute(traffic.transmitted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADINGS: &str = "Inter-|   Receive                    |  Transmit\n face |bytes packets errs drop fifo frame compressed multicast|bytes packets\n";

    #[test]
    fn the_loopback_stands_apart_and_the_other_interfaces_are_added() {
        let table = format!(
            "{HEADINGS}    lo: 700 7 0 0 0 0 0 0 701 7 0 0 0 0 0 0\n  eth0:100 1 0 0 0 0 0 0 20 1 0 0 0 0 0 0\n  eth1: 5 1 0 0 0 0 0 0 6 1 0 0 0 0 0 0\n"
        );
        let sum = Interfaces::parse(&table).unwrap();
        assert_eq!(sum.loopback, Traffic { received: 700, transmitted: 701 });
        assert_eq!(sum.other, Traffic { received: 105, transmitted: 26 });
    }

    #[test]
    fn a_table_of_another_form_tells_nothing() {
        assert_eq!(Interfaces::parse(&format!("{HEADINGS}eth0 100 1")), None);
        assert_eq!(Interfaces::parse(&format!("{HEADINGS}eth0: 100 1 0 0")), None);
        assert_eq!(Interfaces::parse(&format!("{HEADINGS}eth0: -1 1 0 0 0 0 0 0 20 1")), None);
        assert_eq!(Interfaces::parse(""), Some(Interfaces::default()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_host_has_interfaces() {
        assert!(Interfaces::read().is_some());
    }
}
