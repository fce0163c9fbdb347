//! How a run begins: what a person gave, joined with what a checkpoint of the run recorded, before anything starts.

use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_store::{CheckpointStore, CheckpointStoreError, Found};
use impala_env::Registry;
use impala_store::{LocationError, StoreError, StoreLocation};
use std::path::{Path, PathBuf};

/// Name of the configuration in a run's directory.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the directory of checkpoints in a run's directory.
const CHECKPOINTS: &str = "checkpoints";

/// Why a run cannot begin or be resumed.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// A setting is refused.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The checkpoints cannot be read.
    #[error("{0}")]
    Store(CheckpointStoreError),
    /// A run was to be resumed that is not there.
    #[error(
        "--resume {run}: there is no checkpoint in {store}; give the directory of a run, or the URL of its checkpoints"
    )]
    Nothing {
        /// The run, as it was given.
        run: String,
        /// Where it was looked for.
        store: String,
    },
    /// Two runs are named.
    #[error("--resume {run} and run_dir = {}: each names a run; give one of them", run_dir.display())]
    TwoRuns {
        /// The run to be resumed, as it was given.
        run: String,
        /// The directory of the other.
        run_dir: PathBuf,
    },
    /// A setting does not fit what was trained so far.
    #[error(
        "{key} = {given}: the checkpoint {checkpoint} has {trained}; leave the setting out, or begin another run: another --run-dir, no --resume"
    )]
    Conflict {
        /// The setting.
        key: &'static str,
        /// Its value.
        given: String,
        /// What the checkpoint was trained with.
        trained: String,
        /// Its store and name.
        checkpoint: String,
    },
}

impl From<CheckpointStoreError> for ResumeError {
    /// Not as a source: the message has all of it.
    fn from(error: CheckpointStoreError) -> Self {
        Self::Store(error)
    }
}

/// A run that is about to begin or to go on.
#[derive(Debug)]
pub struct Beginning {
    /// What was given, before the checkpoint's settings, before the defaults.
    pub given: GivenSettings,
    /// The run's directory, if it is settled.
    pub run_dir: Option<PathBuf>,
    /// Where the run's checkpoints lie, if that is settled without its directory.
    pub store: Option<CheckpointStore>,
    /// What to go on from.
    pub found: Option<Found>,
}

impl Beginning {
    /// Looks for checkpoints of the run that the settings or `resume` (the directory of a run, or the URL of its
    /// checkpoints) name.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn find(given: GivenSettings, resume: Option<&str>, registry: &Registry) -> Result<Self, ResumeError> {
        let is_url = |text: &str| text.contains("://");
        let named = given.output.run_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let run_dir = match (resume.filter(|run| !is_url(run)), named) {
            (Some(run), Some(run_dir)) if run_dir != Path::new(run) => {
                return Err(ResumeError::TwoRuns { run: run.to_owned(), run_dir });
            }
            (Some(run), _) => Some(PathBuf::from(run)),
            (None, named) => named,
        };
        let location = match resume {
            Some(url) if is_url(url) => Some(url.parse().map_err(|reason| location_error(url, reason))?),
            _ => given.checkpoints.checkpoint_store.clone().filter(|location| !location.is_empty()),
        };
        let location = location.or_else(|| run_dir.as_ref().and_then(|run_dir| recorded_location(run_dir)));
        let store = match (&location, &run_dir) {
            (Some(location), _) => Some(CheckpointStore::open(location)?),
            (None, Some(run_dir)) => Some(default_store(run_dir)),
            (None, None) => None,
        };
        let found = store.as_ref().map(|store| newest(store, registry)).transpose()?.flatten();
        if let (Some(run), None) = (resume, &found) {
            let store = store.map_or_else(String::new, |store| store.to_string());
            return Err(ResumeError::Nothing { run: run.to_owned(), store });
        }
        let given = match &found {
            Some(found) => {
                let mut trained = found.checkpoint.settings.given()?;
                // Where this run lies now, not where it lay.
                (trained.output.run_dir, trained.checkpoints.checkpoint_store) = (None, location);
                given.or(trained)
            }
            None => given,
        };
        Ok(Self { given, run_dir, store, found })
    }

    /// Checks that the run's settings fit what was trained so far.
    ///
    /// # Errors
    /// Names the setting, both values and the fix.
    pub fn check(&self, config: &Config) -> Result<(), ResumeError> {
        let (Some(found), Some(store)) = (&self.found, &self.store) else { return Ok(()) };
        let trained = found.checkpoint.settings.config()?;
        let (mut all_given, mut all_trained) = (fixed(config), fixed(&trained));
        // Either order can follow the other; but then the states of the actors are not taken up.
        if config.task.deterministic && trained.task.deterministic {
            all_given.extend(fixed_in_lockstep(config));
            all_trained.extend(fixed_in_lockstep(&trained));
        }
        for ((key, given), (_, trained)) in all_given.into_iter().zip(all_trained) {
            if given != trained {
                let checkpoint = format!("{store}/{}", found.name);
                return Err(ResumeError::Conflict { key, given, trained, checkpoint });
            }
        }
        Ok(())
    }

    /// The checkpoint to go on from.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.found.as_ref().map(|found| &found.checkpoint)
    }

    /// What it begins with, in a line; nothing for a new run.
    pub fn note(&self) -> Option<String> {
        let (found, store) = (self.found.as_ref()?, self.store.as_ref()?);
        let progress = &found.checkpoint.progress;
        let (frames, name) = (progress.frames, &found.name);
        let mut note = format!("resuming after update {}, {frames} frames, from {store}/{name}", progress.updates);
        for skipped in &found.skipped {
            note.push_str(&format!("; passed over {skipped}"));
        }
        Some(note)
    }
}

/// Settings that what was trained depends on.
fn fixed(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        ("environment", config.task.environment.to_string()),
        ("hidden", format!("{:?}", config.architecture.hidden.0)),
        ("activation", config.architecture.activation.to_string()),
        ("optimiser", format!("{:?}", config.optimisation.optimiser).to_lowercase()),
    ]
}

/// Settings that the order of a deterministic run, and its actors' states, depend on.
fn fixed_in_lockstep(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        ("actors", config.rollout.actors.to_string()),
        ("environments_per_actor", config.rollout.environments_per_actor.to_string()),
        ("unroll_length", config.rollout.unroll_length.to_string()),
        ("batch_size", config.batching.batch_size.to_string()),
        ("seed", config.task.seed.to_string()),
    ]
}

/// Where the configuration of the run in a directory says that its checkpoints lie. One that cannot be read is no reason not
/// to look where they are by default.
fn recorded_location(run_dir: &Path) -> Option<StoreLocation> {
    config::read(&run_dir.join(CONFIG_FILE)).ok()?.checkpoints.checkpoint_store
}

/// The store of a run that names none.
pub fn default_store(run_dir: &Path) -> CheckpointStore {
    CheckpointStore::directory(run_dir.join(CHECKPOINTS))
}

#[allow(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn location_error(location: &str, reason: LocationError) -> CheckpointStoreError {
    CheckpointStoreError::Location(StoreError::Location { location: location.to_owned(), reason: reason.to_string() })
}

/// Reads the store before there is any other runtime.
fn newest(store: &CheckpointStore, registry: &Registry) -> Result<Option<Found>, CheckpointStoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread can wait for a store").block_on(store.newest(registry))
}

#[cfg(test)]
mod tests;
