//! How a run begins: what a person gave, joined with what a checkpoint of the run recorded, before anything starts. A run that is
//! named goes on where it stopped; a checkpoint that is named begins a run of its own, so that nothing is written over.

mod origin;

use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_store::{CheckpointStore, CheckpointStoreError, Found};
use impala_env::Registry;
use impala_store::StoreLocation;
use origin::{Origin, Place};
use std::future::Future;
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
    /// A run that is to begin at a checkpoint has checkpoints already.
    #[error(
        "--resume {checkpoint} begins a run of its own, but {store} has checkpoints; leave --resume out to go on with those, or name another place: --run-dir, --checkpoint-store"
    )]
    Occupied {
        /// The checkpoint, as it was given.
        checkpoint: String,
        /// Where the run was to keep its own.
        store: String,
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
    /// Where that lies, with its name.
    source: String,
    /// Whether that is another run's.
    is_branch: bool,
}

impl Beginning {
    /// Looks for checkpoints of the run that the settings or `resume` name: the directory of a run or the URL of its checkpoints, one
    /// of them with `#best`, or the file of a checkpoint.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn find(given: GivenSettings, resume: Option<&str>, registry: &Registry) -> Result<Self, ResumeError> {
        match resume.map(Origin::parse) {
            Some(Origin::Checkpoint { place, name }) => {
                Self::branch(given, resume.unwrap_or_default(), (place, name), registry)
            }
            Some(Origin::Run(run)) => Self::go_on(given, Some(run), registry),
            None => Self::go_on(given, None, registry),
        }
    }

    /// Begins a run of its own at a checkpoint, which was given as `resume`.
    fn branch(
        given: GivenSettings,
        resume: &str,
        (place, name): (Place<'_>, &str),
        registry: &Registry,
    ) -> Result<Self, ResumeError> {
        let source = place.open()?;
        let mut found = wait_for(source.named(name, registry))?;
        let run_dir = given.output.run_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let location = given.checkpoints.checkpoint_store.clone().filter(|location| !location.is_empty());
        let store = match (&location, &run_dir) {
            (Some(location), _) => Some(CheckpointStore::open(location)?),
            (None, Some(run_dir)) => Some(default_store(run_dir)),
            (None, None) => None,
        };
        if let Some(store) = &store
            && !wait_for(store.is_empty())?
        {
            return Err(ResumeError::Occupied { checkpoint: resume.to_owned(), store: store.to_string() });
        }
        let mut trained = found.checkpoint.settings.given()?;
        (trained.output.run_dir, trained.checkpoints.checkpoint_store) = (None, None);
        // The best of the other run stays where it is.
        (found.checkpoint.best_mean_return, found.checkpoint.is_best_verified) = (None, false);
        let source = format!("{source}/{name}");
        Ok(Self { given: given.or(trained), run_dir, store, found: Some(found), source, is_branch: true })
    }

    /// Goes on with a run, if there is one.
    fn go_on(given: GivenSettings, resume: Option<&str>, registry: &Registry) -> Result<Self, ResumeError> {
        let is_url = origin::is_url;
        let named = given.output.run_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let run_dir = match (resume.filter(|run| !is_url(run)), named) {
            (Some(run), Some(run_dir)) if run_dir != Path::new(run) => {
                return Err(ResumeError::TwoRuns { run: run.to_owned(), run_dir });
            }
            (Some(run), _) => Some(PathBuf::from(run)),
            (None, named) => named,
        };
        let location = match resume {
            Some(url) if is_url(url) => Some(url.parse().map_err(|reason| origin::location_error(url, reason))?),
            _ => given.checkpoints.checkpoint_store.clone().filter(|location| !location.is_empty()),
        };
        let location = location.or_else(|| run_dir.as_ref().and_then(|run_dir| recorded_location(run_dir)));
        let store = match (&location, &run_dir) {
            (Some(location), _) => Some(CheckpointStore::open(location)?),
            (None, Some(run_dir)) => Some(default_store(run_dir)),
            (None, None) => None,
        };
        let found = store.as_ref().map(|store| wait_for(store.newest(registry))).transpose()?.flatten();
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
        let source = store.iter().zip(&found).map(|(store, found)| format!("{store}/{}", found.name)).collect();
        Ok(Self { given, run_dir, store, found, source, is_branch: false })
    }

    /// Checks that the run's settings fit what was trained so far.
    ///
    /// # Errors
    /// Names the setting, both values and the fix.
    pub fn check(&self, config: &Config) -> Result<(), ResumeError> {
        let Some(found) = &self.found else { return Ok(()) };
        let trained = found.checkpoint.settings.config()?;
        let (mut all_given, mut all_trained) = (fixed(config), fixed(&trained));
        // Either order can follow the other; but then the states of the actors are not taken up.
        if config.task.deterministic && trained.task.deterministic {
            all_given.extend(fixed_in_lockstep(config));
            all_trained.extend(fixed_in_lockstep(&trained));
        }
        for ((key, given), (_, trained)) in all_given.into_iter().zip(all_trained) {
            if given != trained {
                let checkpoint = self.source.clone();
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
        let found = self.found.as_ref()?;
        let progress = &found.checkpoint.progress;
        let what = if self.is_branch { "beginning a run of its own" } else { "resuming" };
        let (frames, source) = (progress.frames, &self.source);
        let mut note = format!("{what} after update {}, {frames} frames, from {source}", progress.updates);
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
        ("batch_size", config.few_columns().to_string()),
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

/// Reads a store before there is any other runtime.
fn wait_for<T>(reading: impl Future<Output = Result<T, CheckpointStoreError>>) -> Result<T, CheckpointStoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a thread can wait for a store").block_on(reading)
}

#[cfg(test)]
mod tests;
