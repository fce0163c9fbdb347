//! The checkpoints of a run in a store: their names, which is the newest and the best, and what a sound one is. Where and how
//! bytes lie is the store's business.

use crate::config::ConfigError;
use crate::run::checkpoint::{Checkpoint, CheckpointError};
use bytes::Bytes;
use impala_env::Registry;
use impala_store::{Hold, Possession, Store, StoreError, StoreLocation, TakeError};
use std::fmt;
use std::path::{Path, PathBuf};

/// Name of the best checkpoint.
pub const BEST: &str = "best.safetensors";
const PREFIX: &str = "update-";
/// What every name of a checkpoint ends with.
pub const SUFFIX: &str = ".safetensors";

/// What keeps checkpoints from being found.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointStoreError {
    /// The setting names no store.
    #[error("checkpoint_store = {0}")]
    Location(StoreError),
    /// The store cannot be read.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Nothing can be waited for.
    #[error("cannot wait for the checkpoint store: {0}; allow this process more open files (`ulimit -n`)")]
    Runtime(std::io::Error),
    /// The newest checkpoint is sound, but this program cannot train on its environment.
    #[error("{location}/{name}: its {reason}; resume it with the program that registers this environment")]
    Environment {
        /// The store.
        location: String,
        /// The checkpoint.
        name: String,
        /// Setting, value and the environments that there are.
        reason: ConfigError,
    },
    /// A checkpoint that was named is not to be read.
    #[error(
        "{location}/{name}: {reason}; name the directory of a run, its `#best` or `#last`, or the file of a checkpoint"
    )]
    Named {
        /// The store.
        location: String,
        /// The checkpoint.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There are checkpoints, but none to go on from.
    #[error("{location} has no usable checkpoint; {reasons}; move them away, or choose another --run-dir")]
    NoneUsable {
        /// The store.
        location: String,
        /// What is wrong with each.
        reasons: String,
    },
}

/// The checkpoints of one run.
#[derive(Clone, Debug)]
pub struct CheckpointStore {
    store: Store,
}

/// A checkpoint that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The newest that is sound.
    pub checkpoint: Checkpoint,
    /// Its name in the store.
    pub name: String,
    /// What is wrong with newer ones, in words.
    pub skipped: Vec<String>,
}

/// The name of the checkpoint after an update.
pub fn name_of(update: u64) -> String {
    format!("{PREFIX}{update:012}{SUFFIX}")
}

/// The update of a checkpoint's name.
fn update_of(name: &str) -> Option<u64> {
    name.strip_prefix(PREFIX)?.strip_suffix(SUFFIX)?.parse().ok()
}

fn is_checkpoint(name: &str) -> bool {
    name == BEST || update_of(name).is_some()
}

impl CheckpointStore {
    /// The checkpoints at a location; see [`Store::open`].
    ///
    /// # Errors
    /// The URL is none, or settings for it are missing.
    pub fn open(location: &StoreLocation) -> Result<Self, CheckpointStoreError> {
        Store::open(location).map(Self::new).map_err(CheckpointStoreError::Location)
    }

    /// The checkpoints in a directory, which is made when it is taken or the first one is written.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::new(Store::directory(path))
    }

    /// The checkpoints in a store.
    pub fn new(store: Store) -> Self {
        Self { store }
    }

    /// The newest sound checkpoint, if there is any at all. Damaged and foreign ones are passed over, and those that a process wrote
    /// after another one had taken the store: they are not what the run went on from. The best one is the last resort, and those are
    /// where there is no other.
    ///
    /// # Errors
    /// The store cannot be read, the newest checkpoint's environment is not in the registry, or there are checkpoints of which
    /// none is usable: each is named.
    pub async fn newest(&self, registry: &Registry) -> Result<Option<Found>, CheckpointStoreError> {
        self.newest_of(self.names().await?, registry).await
    }

    /// The same of these checkpoints.
    ///
    /// # Errors
    /// See [`Self::newest`].
    pub async fn newest_of(
        &self,
        mut names: Vec<String>,
        registry: &Registry,
    ) -> Result<Option<Found>, CheckpointStoreError> {
        names.sort_by_key(|name| std::cmp::Reverse(update_of(name)));
        let tenure = if names.is_empty() { None } else { self.store.tenure().await? };
        let is_stray = |checkpoint: &Checkpoint| {
            let tenure = tenure.filter(|tenure| checkpoint.progress.updates > tenure.begins_at);
            checkpoint.epoch.zip(tenure).is_some_and(|(epoch, tenure)| epoch < tenure.epoch)
        };
        let (mut skipped, mut stray) = (Vec::new(), None);
        for name in names {
            let reason = match self.store.read(&name).await {
                Ok(bytes) => match Checkpoint::decode(&bytes, registry) {
                    Ok(checkpoint) if is_stray(&checkpoint) => {
                        let (skipped, name) = (Vec::new(), name.clone());
                        stray.get_or_insert(Found { checkpoint, name, skipped });
                        "a process wrote it after another one had taken over".into()
                    }
                    Ok(checkpoint) => return Ok(Some(Found { checkpoint, name, skipped })),
                    Err(CheckpointError::Config(reason @ ConfigError::Environment { .. })) => {
                        return Err(self.unknown_environment(&name, reason));
                    }
                    Err(error) => error.to_string(),
                },
                // A file that cannot be read will not be read on the next attempt; a store may well be back by then.
                Err(error @ (StoreError::File { .. } | StoreError::Gone { .. })) => error.to_string(),
                Err(error) => return Err(error.into()),
            };
            skipped.push(format!("{name}: {reason}"));
        }
        match (stray, skipped.is_empty()) {
            (Some(stray), _) => Ok(Some(stray)),
            (None, true) => Ok(None),
            (None, false) => {
                let (location, reasons) = (self.store.to_string(), skipped.join("; "));
                Err(CheckpointStoreError::NoneUsable { location, reasons })
            }
        }
    }

    /// The checkpoint of this name, which somebody asked for.
    ///
    /// # Errors
    /// It is not there, or not to be used; the store cannot be read.
    pub async fn named(&self, name: &str, registry: &Registry) -> Result<Found, CheckpointStoreError> {
        let unusable = |reason: String| {
            let (location, name) = (self.store.to_string(), name.to_owned());
            CheckpointStoreError::Named { location, name, reason }
        };
        if !self.store.names().await?.iter().any(|known| known == name) {
            return Err(unusable("there is no such checkpoint".into()));
        }
        match Checkpoint::decode(&self.store.read(name).await?, registry) {
            Ok(checkpoint) => Ok(Found { checkpoint, name: name.to_owned(), skipped: Vec::new() }),
            Err(CheckpointError::Config(reason @ ConfigError::Environment { .. })) => {
                Err(self.unknown_environment(name, reason))
            }
            Err(error) => Err(unusable(error.to_string())),
        }
    }

    /// Takes the checkpoints for this process alone; see [`Store::take`].
    ///
    /// # Errors
    /// Another process has them, or the store does not answer.
    pub async fn take(self, owner: Option<&str>, told: impl Fn(&str)) -> Result<(Self, Possession), TakeError> {
        let (store, possession) = self.store.take(owner, told).await?;
        Ok((Self { store }, possession))
    }

    /// They lie in a directory that is held already.
    #[must_use]
    pub fn held_by(self, hold: &Hold) -> Self {
        Self { store: self.store.held_by(hold) }
    }

    /// Goes on from the checkpoint after an update; see [`Store::begin`].
    ///
    /// # Errors
    /// Another process has them, or the store does not answer.
    pub async fn begin(&self, update: u64) -> Result<(), StoreError> {
        self.store.begin(update).await
    }

    /// Whether both are the same.
    pub fn is(&self, other: &Self) -> bool {
        self.store.is(&other.store)
    }

    /// Whether they lie in this very directory.
    pub fn is_directory(&self, path: &Path) -> bool {
        self.store.is_directory(path)
    }

    /// Waits until another process has taken them; see [`Store::lost`].
    pub async fn lost(&self) -> StoreError {
        self.store.lost().await
    }

    /// As the how manieth process this one has taken them; nothing where they lie in a directory.
    pub(crate) fn epoch(&self) -> Option<u64> {
        self.store.epoch()
    }

    fn unknown_environment(&self, name: &str, reason: ConfigError) -> CheckpointStoreError {
        CheckpointStoreError::Environment { location: self.store.to_string(), name: name.to_owned(), reason }
    }

    /// Removes what a process that was killed while it wrote has left.
    pub(crate) fn remove_halves(&self) -> Result<(), StoreError> {
        // Earlier releases left the suffix out of the names of temporary files.
        self.store.remove_halves(|name| is_checkpoint(name) || is_checkpoint(&format!("{name}{SUFFIX}")))
    }

    /// Updates with a checkpoint, in their order.
    pub(crate) async fn updates(&self) -> Result<Vec<u64>, StoreError> {
        let mut updates: Vec<u64> = self.names().await?.iter().filter_map(|name| update_of(name)).collect();
        updates.sort_unstable();
        Ok(updates)
    }

    /// Writes the checkpoint after an update.
    pub(crate) async fn write(&self, update: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.store.write(&name_of(update), bytes).await
    }

    /// Writes the best checkpoint so far.
    pub(crate) async fn write_best(&self, bytes: Bytes) -> Result<(), StoreError> {
        self.store.write(BEST, bytes).await
    }

    /// Removes the checkpoint after an update.
    pub(crate) async fn remove(&self, update: u64) -> Result<(), StoreError> {
        self.store.remove(&name_of(update)).await
    }

    /// Names of all checkpoints, in their order.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        let mut names: Vec<_> = self.store.names().await?.into_iter().filter(|name| is_checkpoint(name)).collect();
        names.sort_unstable();
        Ok(names)
    }
}

impl fmt::Display for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[cfg(test)]
mod tests;
