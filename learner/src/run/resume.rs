//! How a run begins: what a person gave, joined with what a checkpoint of the run recorded, before anything starts. A run that is
//! named goes on where it stopped; a checkpoint that is named begins a run of its own, so that nothing is written over.

pub(super) mod origin;

use crate::config::settings::GivenSettings;
use crate::config::{self, Config, ConfigError};
use crate::run::checkpoint::Checkpoint;
use crate::run::checkpoint_store::{CheckpointStore, CheckpointStoreError, Found, SUFFIX};
use crate::run::run_dir::MODEL_FILE;
use crate::run::store_file;
use impala_env::Registry;
use impala_store::{Held, Hold, StoreLocation};
use origin::{Origin, Place};
use std::future::Future;
use std::path::{Path, PathBuf};

/// Name of the configuration in a run's directory.
pub const CONFIG_FILE: &str = "config.toml";
/// Name of the table of reports in a run's directory.
pub const METRICS_FILE: &str = "metrics.csv";
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
    /// Two places of checkpoints are named.
    #[error("--resume {run} and checkpoint_store = {named}: each names the run's checkpoints; give one of them")]
    TwoStores {
        /// The run to be resumed, as it was given.
        run: String,
        /// The other place.
        named: String,
    },
    /// A directory has results, and no checkpoint is where they should be.
    #[error(
        "{} has results of a run, but there is no checkpoint of it in {store}; name the place that has them (--checkpoint-store), or begin another run: another --run-dir",
        run_dir.display()
    )]
    Lost {
        /// The run's directory.
        run_dir: PathBuf,
        /// Where its checkpoints were looked for.
        store: String,
    },
    /// A directory has checkpoints of its own, and others were named.
    #[error(
        "{} has checkpoints in {own}, and {named} is named for them: leave one of the two out, name another place, or move those away that the run is not to go on from",
        run_dir.display()
    )]
    Elsewhere {
        /// The run's directory.
        run_dir: PathBuf,
        /// Where its checkpoints lie.
        own: String,
        /// Where they were to lie.
        named: String,
    },
    /// Another process works on the run.
    #[error(transparent)]
    Held(#[from] Held),
    /// Another process went on with the run while this one was about to.
    #[error(
        "another process has written checkpoints to {store} since this one looked: start again to go on from the newest"
    )]
    Overtaken {
        /// Where they lie.
        store: String,
    },
    /// Something else than a run is named.
    #[error(
        "--resume {run}: {reason}; give the directory of a run, its `#best` or `#last`, or the file of a checkpoint"
    )]
    NoRun {
        /// What was given.
        run: String,
        /// What it is.
        reason: &'static str,
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
    /// Names of the run's checkpoints when they were looked for.
    seen: Vec<String>,
}

impl Beginning {
    /// Looks for checkpoints of the run that the settings or `resume` name: the directory of a run or the URL of its checkpoints, one
    /// of them with `#best`, or the file of a checkpoint.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn find(given: GivenSettings, resume: Option<&str>, registry: &Registry) -> Result<Self, ResumeError> {
        if let Some(run) = resume {
            refuse_other_than_runs(run)?;
        }
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
        let run_dir = given.output.run_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let location = given.checkpoints.checkpoint_store.clone().filter(|location| !location.is_empty());
        let location = location.or_else(|| run_dir.as_ref().and_then(|run_dir| recorded_location(run_dir)));
        let store = place_of(location.as_ref(), run_dir.as_deref())?;
        refuse_others(run_dir.as_deref(), store.as_ref())?;
        if let Some(store) = &store
            && let Some(newest) = wait_for(store.newest(registry))?
        {
            // The same command again, as after a crash: the run that it began goes on.
            if newest.checkpoint.origin.as_deref() == Some(resume) {
                return Self::go_on(given, None, registry);
            }
            return Err(ResumeError::Occupied { checkpoint: resume.to_owned(), store: store.to_string() });
        }
        refuse_lost(run_dir.as_deref(), store.as_ref())?;
        let mut found = wait_for(source.named(name, registry))?;
        let mut trained = found.checkpoint.settings.given()?;
        (trained.output.run_dir, trained.checkpoints.checkpoint_store) = (None, None);
        // The best of the other run stays where it is.
        (found.checkpoint.best_mean_return, found.checkpoint.is_best_verified) = (None, false);
        found.checkpoint.origin = Some(resume.to_owned());
        let source = format!("{source}/{name}");
        let (found, seen) = (Some(found), Vec::new());
        Ok(Self { given: given.or(trained), run_dir, store, found, source, is_branch: true, seen })
    }

    /// Goes on with a run, if there is one.
    fn go_on(given: GivenSettings, resume: Option<&str>, registry: &Registry) -> Result<Self, ResumeError> {
        let is_url = origin::is_url;
        let named = given.output.run_dir.clone().filter(|path| !path.as_os_str().is_empty());
        let run_dir = match (resume.filter(|run| !is_url(run)), named) {
            (Some(run), Some(run_dir)) if !is_same(&run_dir, Path::new(run)) => {
                return Err(ResumeError::TwoRuns { run: run.to_owned(), run_dir });
            }
            (Some(run), _) => Some(origin::run_dir(run)),
            (None, named) => named,
        };
        let named = given.checkpoints.checkpoint_store.clone().filter(|location| !location.is_empty());
        let location: Option<StoreLocation> = match resume {
            Some(url) if is_url(url) => Some(url.parse().map_err(|reason| origin::location_error(url, reason))?),
            _ => named.clone(),
        };
        if let (Some(run), Some(location), Some(named)) = (resume, &location, named)
            && !CheckpointStore::open(location)?.is(&CheckpointStore::open(&named)?)
        {
            return Err(ResumeError::TwoStores { run: run.to_owned(), named: named.into() });
        }
        let location = location.or_else(|| run_dir.as_ref().and_then(|run_dir| recorded_location(run_dir)));
        let store = place_of(location.as_ref(), run_dir.as_deref())?;
        refuse_others(run_dir.as_deref(), store.as_ref())?;
        let look = async |store: &CheckpointStore| {
            let names = store.names().await?;
            Ok((store.newest_of(names.clone(), registry).await?, names))
        };
        let looked = store.as_ref().map(|store| wait_for(look(store))).transpose()?;
        let (found, seen) = looked.unwrap_or_default();
        if let (Some(run), None) = (resume, &found) {
            let store = store.map_or_else(String::new, |store| store.to_string());
            return Err(ResumeError::Nothing { run: run.to_owned(), store });
        }
        if found.is_none() {
            refuse_lost(run_dir.as_deref(), store.as_ref())?;
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
        Ok(Self { given, run_dir, store, found, source, is_branch: false, seen })
    }

    /// Checks that nobody has gone on with the run since its checkpoints were looked for. To be called when no other process can
    /// any more.
    ///
    /// # Errors
    /// There are other checkpoints in the store, or it cannot be read.
    pub async fn check_store(&self, store: &CheckpointStore) -> Result<(), ResumeError> {
        let names = store.names().await.map_err(CheckpointStoreError::from)?;
        match names == self.seen {
            true => Ok(()),
            false => Err(ResumeError::Overtaken { store: store.to_string() }),
        }
    }

    /// The update that it goes on from.
    pub fn update(&self) -> u64 {
        self.checkpoint().map_or(0, |checkpoint| checkpoint.progress.updates)
    }

    /// Whether its first checkpoint is to be written before anything is trained: the same command, given again, looks for one.
    pub fn needs_checkpoint(&self, checkpoint_every: u64) -> bool {
        let is_named = self.run_dir.is_some() || self.store.is_some();
        is_named && (self.is_branch || self.found.is_none() && checkpoint_every > 0)
    }

    /// What is wrong with newer checkpoints than that it goes on from, each in words.
    pub fn skipped(&self) -> &[String] {
        self.found.as_ref().map_or(&[], |found| &found.skipped)
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
        Some(format!("{what} after update {}, {frames} frames, from {source}", progress.updates))
    }
}

/// Settings that what was trained depends on.
fn fixed(config: &Config) -> Vec<(&'static str, String)> {
    vec![
        ("environment", config.task.environment.to_string()),
        ("environment_spec", config.environment().spec().to_string()),
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
    if let Some(location) = store_file::read(run_dir) {
        return Some(location);
    }
    // Where earlier releases wrote it.
    config::read(&run_dir.join(CONFIG_FILE)).ok()?.checkpoints.checkpoint_store
}

fn is_same(one: &Path, other: &Path) -> bool {
    let whole = |path: &Path| path.canonicalize().or_else(|_| std::path::absolute(path));
    one == other || whole(one).ok().zip(whole(other).ok()).is_some_and(|(one, other)| one == other)
}

/// Where the checkpoints of a run lie whose place was named, if it was.
fn place_of(
    location: Option<&StoreLocation>,
    run_dir: Option<&Path>,
) -> Result<Option<CheckpointStore>, CheckpointStoreError> {
    Ok(match (location, run_dir) {
        (Some(location), _) => Some(CheckpointStore::open(location)?),
        (None, Some(run_dir)) => Some(default_store(run_dir)),
        (None, None) => None,
    })
}

/// Refuses checkpoints of another run than that in a directory, which has some.
fn refuse_others(run_dir: Option<&Path>, store: Option<&CheckpointStore>) -> Result<(), ResumeError> {
    let (Some(run_dir), Some(store)) = (run_dir, store) else { return Ok(()) };
    let Some(own) = place_of(recorded_location(run_dir).as_ref(), Some(run_dir))? else { return Ok(()) };
    // One that cannot be read any more has been left for the other.
    if own.is(store) || wait_for(async { Ok(own.names().await?) }).map_or(true, |names| names.is_empty()) {
        return Ok(());
    }
    let (run_dir, own, named) = (run_dir.to_owned(), own.to_string(), store.to_string());
    Err(ResumeError::Elsewhere { run_dir, own, named })
}

/// Refuses to begin a run in a directory that has results of one whose checkpoints are not where they were looked for.
fn refuse_lost(run_dir: Option<&Path>, store: Option<&CheckpointStore>) -> Result<(), ResumeError> {
    if let (Some(run_dir), Some(store)) = (run_dir, store)
        && has_results(run_dir)
    {
        // One that is under way may not have come to its first checkpoint.
        Hold::take(run_dir)?;
        return Err(ResumeError::Lost { run_dir: run_dir.to_owned(), store: store.to_string() });
    }
    Ok(())
}

/// Whether a run has left something in a directory that another one would replace.
fn has_results(run_dir: &Path) -> bool {
    let has_rows = std::fs::read_to_string(run_dir.join(METRICS_FILE)).is_ok_and(|csv| csv.lines().nth(1).is_some());
    has_rows || [MODEL_FILE, "summary.json"].iter().any(|name| run_dir.join(name).exists())
}

/// Names what cannot be a run.
fn refuse_other_than_runs(run: &str) -> Result<(), ResumeError> {
    let no_run = |reason| Err(ResumeError::NoRun { run: run.to_owned(), reason });
    if run.is_empty() {
        return no_run("it is empty, perhaps as the variable IMPALA_RESUME, which is to be unset then");
    }
    let is_url = origin::is_url(run);
    if !is_url && Path::new(run).is_file() && !run.ends_with(SUFFIX) {
        return no_run("it is a file, and no checkpoint");
    }
    let is_marked = run.rsplit_once('#').is_some_and(|(_, mark)| !["best", "last"].contains(&mark));
    if is_marked && (is_url || !Path::new(run).exists()) {
        return no_run("after `#` stands no checkpoint's name");
    }
    Ok(())
}

/// The store of a run that names none.
pub fn default_store(run_dir: &Path) -> CheckpointStore {
    CheckpointStore::directory(run_dir.join(CHECKPOINTS))
}

/// Reads a store before there is any other runtime.
pub(super) fn wait_for<T>(
    reading: impl Future<Output = Result<T, CheckpointStoreError>>,
) -> Result<T, CheckpointStoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CheckpointStoreError::Runtime)?.block_on(reading)
}

#[cfg(test)]
mod tests;
