//! Under which name an experiment tracker knows a run: a file in the run's directory, so that a later process goes on in the same place.

use impala_store::write_whole;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Name of the file.
pub(crate) const NAME: &str = "mlflow.json";

/// A run of an MLflow server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrackedRun {
    /// The server's URL.
    pub(crate) server: String,
    /// The experiment there.
    pub(crate) experiment_id: String,
    /// The run there.
    pub(crate) run_id: String,
}

impl TrackedRun {
    /// What the file in `run_dir` says; nothing without one that can be read.
    pub(crate) fn read(run_dir: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(run_dir.join(NAME)).ok()?).ok()
    }

    /// Leaves the file in `run_dir`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, run_dir: &Path) -> io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(io::Error::other)?;
        write_whole(&run_dir.join(NAME), format!("{text}\n"))
    }

    /// Where a person sees it.
    pub(crate) fn page(&self) -> String {
        format!("{}/#/experiments/{}/runs/{}", self.server, self.experiment_id, self.run_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_is_none() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(TrackedRun::read(directory.path()), None);
        let [server, experiment_id, run_id] = ["http://tracker:5000", "3", "abc"].map(str::to_owned);
        let run = TrackedRun { server, experiment_id, run_id };
        run.write(directory.path()).unwrap();
        assert_eq!(TrackedRun::read(directory.path()), Some(run.clone()));
        assert_eq!(run.page(), "http://tracker:5000/#/experiments/3/runs/abc");
        std::fs::write(directory.path().join(NAME), "{\"server\":").unwrap();
        assert_eq!(TrackedRun::read(directory.path()), None);
    }
}
