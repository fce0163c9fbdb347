//! What the log says of peers: as much as a person reads, whatever they do, and nothing that a terminal obeys.

use impala_common::channel::rate::Rate;
use std::sync::Mutex;
use std::time::Instant;

/// Lines of the log about peers, a second and after a rest: so that nobody fills the disk. 1,000 actors that come at once are told.
const LINES_PER_SECOND: f64 = 1.0;
const LINES_AT_ONCE: f64 = 4000.0;
/// Longest text of a peer that is printed, characters.
const PRINTED_MAX: usize = 400;

/// Bounds what the log says of peers.
#[derive(Debug)]
pub struct PeerLog {
    rate: Mutex<(Rate, u64)>,
}

impl Default for PeerLog {
    fn default() -> Self {
        Self { rate: Mutex::new((Rate::new(LINES_PER_SECOND, LINES_AT_ONCE, Instant::now()), 0)) }
    }
}

impl PeerLog {
    /// Whether a line about a peer may be written now.
    pub fn may_tell(&self) -> bool {
        let mut rate = self.rate.lock().expect("no holder of the rate panics");
        if !rate.0.try_take(Instant::now()) {
            rate.1 += 1;
            return false;
        }
        let left_out = std::mem::take(&mut rate.1);
        drop(rate);
        if left_out > 0 {
            tracing::warn!(left_out, "lines about actors that come and go were left out: they are too many");
        }
        true
    }
}

/// A peer's text for the log: without control characters, and no longer than a line.
pub(super) fn printable(text: &str) -> String {
    let mut printable: String = text.chars().take(PRINTED_MAX).flat_map(char::escape_debug).collect();
    if text.chars().nth(PRINTED_MAX).is_some() {
        printable.push_str("..");
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_actors_are_told_and_a_flood_is_not() {
        let log = PeerLog::default();
        assert_eq!((0..10_000).filter(|_| log.may_tell()).count(), 4000);
        log.rate.lock().unwrap().0.give(1.0);
        assert!(log.may_tell() && log.rate.lock().unwrap().1 == 0, "what was left out has been told");
    }

    #[test]
    fn what_a_peer_says_is_shown_and_not_obeyed() {
        assert_eq!(printable("a\u{1b}[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(printable(&"x".repeat(500)).len(), PRINTED_MAX + 2);
    }
}
