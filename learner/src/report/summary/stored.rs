//! The summary that lies in a run's directory, read again.

use super::{RunEnd, print_either};
use crate::run::archive::text_of;
use crate::run::run_dir::RunDir;
use serde::Deserialize;
use serde_json::Value;

/// What a run that is over came to, as the process that ended it wrote it.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredSummary {
    /// Why it ended.
    pub end: RunEnd,
    /// Frames trained.
    pub frames: u64,
    text: String,
    json: Value,
}

/// The part of `summary.json` that decides.
#[derive(Deserialize)]
struct Ended {
    #[serde(flatten)]
    end: RunEnd,
    frames: u64,
}

impl StoredSummary {
    /// Nothing where there is none, or one that cannot be read: it can be written anew.
    pub(crate) fn read(run_dir: &RunDir) -> Option<Self> {
        let json: Value = serde_json::from_str(&text_of(run_dir.path(), "summary.json")?).ok()?;
        let Ended { end, frames } = Ended::deserialize(&json).ok()?;
        Some(Self { end, frames, text: text_of(run_dir.path(), "summary.txt")?, json })
    }

    /// Prints it on standard output, as [`print`](super::print) does.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, run_dir: &RunDir) -> anyhow::Result<()> {
        print_either(run_dir, &self.text, &self.json)
    }
}
