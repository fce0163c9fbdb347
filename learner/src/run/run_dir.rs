//! The run's directory: configuration, metrics, learning curve, model, logs.

use crate::config::Config;
use crate::run::resume::{CONFIG_FILE, METRICS_FILE};
use crate::run::{store_file, tracked_run};
use impala_store::{Hold, remove_halves, write_whole};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Name of the model in it.
pub const MODEL_FILE: &str = "model.safetensors";
/// Name of the directory in it that takes animated episodes.
pub const RENDERS_DIRECTORY: &str = "renders";

/// The files in it that are written whole.
const FILES: [&str; 8] = [
    CONFIG_FILE,
    store_file::NAME,
    tracked_run::NAME,
    METRICS_FILE,
    MODEL_FILE,
    "summary.txt",
    "summary.json",
    "learning_curve.svg",
];

/// Whether a temporary file was to become one of them. Earlier releases put the suffix in place of the extension.
fn is_ours(name: &str) -> bool {
    FILES.iter().any(|file| name == *file || Path::new(file).file_stem().is_some_and(|stem| stem == name))
}

/// The run's directory cannot be made or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}; choose another {setting}")]
pub struct RunDirError {
    action: &'static str,
    path: PathBuf,
    setting: &'static str,
    source: io::Error,
}

/// The directory of one run.
#[derive(Clone, Debug)]
pub struct RunDir {
    path: PathBuf,
    name: String,
    warnings: Vec<String>,
    /// No other process works in it.
    hold: Arc<Hold>,
}

impl RunDir {
    /// Makes the directory, `path` or else a new one below `runs_dir` that is named after date, environment and seed, and takes it
    /// for this process. What another run may have in it is left as it is.
    ///
    /// # Errors
    /// The directory cannot be made, or another process has it.
    pub fn take(config: &Config, path: Option<&Path>) -> Result<Self, RunDirError> {
        let path = match path {
            Some(path) => {
                std::fs::create_dir_all(path).map_err(error("create", path, "--run-dir"))?;
                path.to_owned()
            }
            None => new_directory(config)?,
        };
        let hold = Hold::take(&path).map_err(io::Error::other).map_err(error("use", &path, "--run-dir"))?;
        let warnings = hold.doubt().map(str::to_owned).into_iter().collect();
        // What ends in `.` or `..` has no name of its own.
        let name = shown_name(path.canonicalize().as_ref().unwrap_or(&path));
        Ok(Self { path, name, warnings, hold: Arc::new(hold) })
    }

    /// Writes the resolved configuration into it, and where the checkpoints lie.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn record(&mut self, config: &Config) -> Result<(), RunDirError> {
        // What an earlier process of the run may have left when it was killed; if they stay, they do no harm.
        let _ = remove_halves(&self.path, is_ours);
        let (file, settings) = (self.path.join(CONFIG_FILE), "--run-dir or --runs-dir");
        match write_whole(&file, config.record()).map_err(error("write", &file, settings)) {
            // A run that goes on has it from before, and in its checkpoints: a full disk must not keep it from starting.
            Err(error) if file.exists() => self.warnings.push(format!("{error}: {}", error.source)),
            written => written?,
        }
        let location = &config.checkpoints.checkpoint_store;
        let written = location.iter().try_for_each(|location| store_file::write(&self.path, location));
        written.map_err(error("write", &self.path.join(store_file::NAME), settings))
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run's name, that of its directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// No other process works in it as long as this lives.
    pub fn hold(&self) -> &Hold {
        &self.hold
    }

    /// What went wrong with it and does not keep the run from going on; for the log, which may lie in it.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A file in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// The name of a run's directory, as it is shown in logs, on terminals and pages.
pub(crate) fn shown_name(path: &Path) -> String {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned());
    name.replace(char::is_control, "\u{fffd}")
}

fn new_directory(config: &Config) -> Result<PathBuf, RunDirError> {
    const SETTING: &str = "--runs-dir";
    let runs_dir = &config.output.runs_dir;
    std::fs::create_dir_all(runs_dir).map_err(error("create", runs_dir, SETTING))?;
    let date =
        humantime::format_rfc3339_seconds(SystemTime::now().max(SystemTime::UNIX_EPOCH)).to_string().replace(':', "-");
    let name = format!("{date}-{}-seed{}", config.task.environment.file_name(), config.task.seed);
    let mut path = runs_dir.join(&name);
    // Runs that start in the same second get a number.
    let mut number = 1;
    while let Err(source) = std::fs::create_dir(&path) {
        if source.kind() != io::ErrorKind::AlreadyExists {
            return Err(error("create", &path, SETTING)(source));
        }
        number += 1;
        path = runs_dir.join(format!("{name}-{number}"));
    }
    Ok(path)
}

fn error(action: &'static str, path: &Path, setting: &'static str) -> impl FnOnce(io::Error) -> RunDirError {
    let path = path.to_owned();
    move |source| RunDirError { action, path, setting, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::GivenSettings;

    #[test]
    fn halves_of_killed_processes_go_also_those_of_earlier_releases() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["config.tmp", "model.tmp", "model.safetensors.0123456789abcdef-3.tmp", "mine.tmp"] {
            let half = std::fs::File::create_new(directory.path().join(name)).unwrap();
            half.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
        let config = Config::complete(GivenSettings::default(), &impala_env::builtin()).unwrap();
        RunDir::take(&config, Some(directory.path())).unwrap().record(&config).unwrap();
        let entries = std::fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        assert_eq!(names, [CONFIG_FILE, "in-use.lock", "mine.tmp"]);
    }
}
