//! The trajectory account as numbers: what became of every trajectory of a run. The learner's ledger keeps it; everybody who
//! asks how a run stands is told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What became of a trajectory that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// It was part of an update (or of the one that diverged and ended the run).
    Trained,
    /// Refused: its policy was more than `policy_lag_max` updates behind.
    Stale,
    /// Refused: malformed or not as agreed.
    Invalid,
    /// Refused: the run was over.
    Shutdown,
}

impl Disposition {
    /// Every disposition.
    pub const ALL: [Self; 4] = [Self::Trained, Self::Stale, Self::Invalid, Self::Shutdown];

    /// The label in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Trained => "trained",
            Self::Stale => "stale",
            Self::Invalid => "invalid",
            Self::Shutdown => "shutdown",
        }
    }
}

/// The account at one moment, in trajectories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Known to have been produced.
    pub produced: u64,
    /// Part of an update.
    pub trained: u64,
    /// Refused as too old.
    pub refused_stale: u64,
    /// Refused as malformed.
    pub refused_invalid: u64,
    /// Refused because the run was over.
    pub refused_shutdown: u64,
    /// Produced but never arrived.
    pub lost: u64,
}

/// Largest number of trajectories of any run: every whole number up to it is a number of JSON.
pub const COUNT_MAX: u64 = 1 << 53;

impl Account {
    /// Checks that a run can have come to this: it may come from a file that somebody made, and is counted on.
    ///
    /// # Errors
    /// Names the largest count that is out of bounds.
    pub fn validate(&self) -> Result<(), String> {
        let Self { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost } = *self;
        let counts = [produced, trained, refused_stale, refused_invalid, refused_shutdown, lost];
        match counts.into_iter().max() {
            Some(count) if count > COUNT_MAX => Err(format!("{count} trajectories, at most {COUNT_MAX}")),
            _ => Ok(()),
        }
    }

    /// Arrived and not yet decided.
    pub fn in_flight(&self) -> u64 {
        let settled = self.trained.saturating_add(self.refused()).saturating_add(self.lost);
        self.produced.saturating_sub(settled)
    }

    /// Refused for any reason. Sums saturate: a peer may tell any numbers.
    pub fn refused(&self) -> u64 {
        self.refused_stale.saturating_add(self.refused_invalid).saturating_add(self.refused_shutdown)
    }

    /// Arrived trajectories with this disposition.
    pub fn of(mut self, disposition: Disposition) -> u64 {
        *self.count_mut(disposition)
    }

    /// The place where arrived trajectories with this disposition are counted.
    pub fn count_mut(&mut self, disposition: Disposition) -> &mut u64 {
        match disposition {
            Disposition::Trained => &mut self.trained,
            Disposition::Stale => &mut self.refused_stale,
            Disposition::Invalid => &mut self.refused_invalid,
            Disposition::Shutdown => &mut self.refused_shutdown,
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { produced, trained, refused_stale, refused_invalid, refused_shutdown, lost } = self;
        let in_flight = self.in_flight();
        write!(
            f,
            "{produced} produced = {trained} trained + {} refused ({refused_stale} stale, {refused_shutdown} after the end, \
             {refused_invalid} invalid) + {lost} lost in transit + {in_flight} in flight",
            self.refused()
        )
    }
}
