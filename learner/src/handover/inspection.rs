//! Where the reports ask for a look at the network, and the trainer leaves it: what the numbers are like is known to the step alone, and
//! they are too many to be copied for whoever may want to see them.
//!
//! Nobody waits for anybody: a look is left after the next update, and lies here until a report takes it. The trainer's part is
//! `stages::trainer::inspector`.

use crate::handover::progress::LagHistogram;
use crate::learn::histogram::Histogram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// The network at the end of an update, in histograms.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Frames trained by then.
    pub frames: u64,
    /// Lag of every trajectory trained by then.
    pub lag: LagHistogram,
    /// Returns of the episodes that came to count since the look before; nothing if none did.
    pub returns: Option<Histogram>,
    /// Of each block, by its name and in the order of the layout.
    pub parameters: Vec<(String, Histogram)>,
    /// The same of the newest gradient, after clipping and scaling; empty before the first update of the process.
    pub gradient: Vec<(String, Histogram)>,
    /// Time that the trainer spent on it.
    pub took: Duration,
}

/// The place; every clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Inspection(Arc<Place>);

#[derive(Debug, Default)]
struct Place {
    is_asked: AtomicBool,
    /// Two at most: the one that was asked for and the last of the run, which a report may find together.
    looks: Mutex<Vec<Look>>,
}

impl Inspection {
    /// Asks for a look.
    pub fn ask(&self) {
        self.0.is_asked.store(true, Ordering::Relaxed);
    }

    /// Whether there is one to be left. What the trainer asks after every update: a load, no lock.
    pub fn is_asked(&self) -> bool {
        self.0.is_asked.load(Ordering::Relaxed)
    }

    /// Leaves a look: after each question one, and one at the end of the run.
    pub fn leave(&self, look: Look) {
        self.0.is_asked.store(false, Ordering::Relaxed);
        self.lock().push(look);
    }

    /// Takes what was left, in its order. Who asks takes before: what nobody takes is not followed by more.
    pub fn take(&self) -> Vec<Look> {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Look>> {
        self.0.looks.lock().expect("no holder of the looks panics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_is_left_when_it_was_asked_for_and_taken_once() {
        let reports = Inspection::default();
        let trainer = reports.clone();
        assert!(!trainer.is_asked() && reports.take().is_empty());
        reports.ask();
        assert!(trainer.is_asked());
        trainer.leave(Look { frames: 80, ..Look::default() });
        assert!(!trainer.is_asked());
        // The run ends before a report comes.
        trainer.leave(Look { frames: 160, ..Look::default() });
        assert_eq!(reports.take().iter().map(|look| look.frames).collect::<Vec<_>>(), [80, 160]);
        assert!(reports.take().is_empty());
    }
}
