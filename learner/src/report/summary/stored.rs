//! The summary that lies in a run's directory, read again.

use super::RunEnd;
use crate::report::sinks::console;
use crate::run::run_dir::RunDir;
use impala_common::process::errors::{self, Level};
use serde::Deserialize;
use serde_json::{Value, json};

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
struct Result {
    #[serde(flatten)]
    end: RunEnd,
    frames: u64,
}

impl StoredSummary {
    /// Nothing where there is none, or one that cannot be read: it can be written anew.
    pub(crate) fn read(run_dir: &RunDir) -> Option<Self> {
        let read = |name| std::fs::read_to_string(run_dir.file(name)).ok();
        let json: Value = serde_json::from_str(&read("summary.json")?).ok()?;
        let Result { end, frames } = Result::deserialize(&json).ok()?;
        Some(Self { end, frames, text: read("summary.txt")?, json })
    }

    /// Prints it on standard output, as [`print`](super::print) does.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, run_dir: &RunDir) -> anyhow::Result<()> {
        if !errors::is_json() {
            return console::print(&self.text);
        }
        let rest = json!({ "run_dir": run_dir.path().display().to_string(), "summary": self.json });
        console::print(&format!("{}\n", errors::json(Level::Info, "the run was over", rest)))
    }
}
