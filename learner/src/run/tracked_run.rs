//! Under which name an experiment tracker knows a run: a file in the run's directory, so that a later process goes on in the same place.

use impala_store::{open_regular, write_whole};
use serde::{Deserialize, Serialize};
use std::io::{self, Read};
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

/// Of the file two hundred bytes are usual.
const FILE_BYTES_MAX: u64 = 1 << 14;
/// Longest URL of a server that is read.
const URL_BYTES_MAX: usize = 1 << 12;
/// Longest name that a server may have for a run or an experiment: MLflow's have up to 32 characters.
const ID_BYTES_MAX: usize = 128;

/// Whether a text is a name that a server may have given: it goes into logs, files and addresses.
pub(crate) fn is_id(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=ID_BYTES_MAX).contains(&text.len()) && text.chars().all(is_plain) && !text.chars().all(|c| c == '.')
}

impl TrackedRun {
    /// What the file in `run_dir` says; nothing without one that can be read.
    pub(crate) fn read(run_dir: &Path) -> Option<Self> {
        let file = open_regular(&run_dir.join(NAME)).ok()?;
        let run: Self = serde_json::from_reader(file.take(FILE_BYTES_MAX)).ok()?;
        let is_sound = [&run.run_id, &run.experiment_id].into_iter().all(|id| is_id(id));
        let is_url = run.server.len() <= URL_BYTES_MAX && !run.server.contains(char::is_control);
        (is_sound && is_url).then_some(run)
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
        let read = |text: &str| {
            std::fs::write(directory.path().join(NAME), text).unwrap();
            TrackedRun::read(directory.path())
        };
        assert_eq!(read("{\"server\":"), None);
        let told = serde_json::to_string(&run).unwrap();
        assert_eq!(read(&told), Some(run));
        for odd in ["", "..", "a/b", "a\\u001bb", &"a".repeat(129)] {
            assert_eq!(read(&told.replace("abc", odd)), None, "{odd}");
        }
    }
}
