//! Where checkpoints lie: a directory, or a prefix in an object store. It knows names and bytes, and what a sound one is.

mod bucket;
mod directory;

use crate::config::values::StoreLocation;
use crate::run::checkpoint::Checkpoint;
use bucket::Bucket;
use bytes::Bytes;
use directory::Directory;
use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use url::Url;

/// Name of the best checkpoint.
const BEST: &str = "best.safetensors";
const PREFIX: &str = "update-";
const SUFFIX: &str = ".safetensors";

/// What keeps a store from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location is not one.
    #[error("checkpoint_store = {location}: {reason}")]
    Location {
        /// As given.
        location: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file system refuses.
    #[error("cannot {action} {path}: {reason}")]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The object store refuses or is not reached.
    #[error("cannot {action} {object}: {reason}; check URL, credentials and network")]
    Object {
        /// What was tried.
        action: &'static str,
        /// With what.
        object: String,
        /// The store's reason.
        reason: String,
    },
    /// The object was removed a moment ago.
    #[error("{object} is not there any more")]
    Gone {
        /// Which.
        object: String,
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
    place: Place,
    location: String,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(Directory),
    Bucket(Bucket),
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

/// The name of the checkpoint behind an update.
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
    /// The store at a location: a path, `file://`, `s3://bucket/prefix`, `gs://`, `az://`. Credentials and endpoints come
    /// from the environment, by the variables of each provider (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ...).
    ///
    /// # Errors
    /// The URL is none, or settings for it are missing.
    pub fn open(StoreLocation(location): &StoreLocation) -> Result<Self, StoreError> {
        let refuse = |reason: String| StoreError::Location { location: location.clone(), reason };
        if !location.contains("://") {
            return Ok(Self::directory(location));
        }
        let url = Url::parse(location).map_err(|error| refuse(error.to_string()))?;
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refuse("write file:///absolute/path".into()))?;
            return Ok(Self::directory(path));
        }
        let place = Place::Bucket(Bucket::open(&url).map_err(|error| refuse(error.to_string()))?);
        Ok(Self { place, location: location.clone() })
    }

    /// A directory, made when the first checkpoint is written.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { location: path.display().to_string(), place: Place::Directory(Directory(path)) }
    }

    /// A prefix in an object store; `location` is for messages.
    pub fn bucket(store: Arc<dyn ObjectStore>, prefix: ObjectPath, location: &str) -> Self {
        Self { place: Place::Bucket(Bucket::new(store, prefix, location)), location: location.to_owned() }
    }

    /// The newest sound checkpoint, if there is any at all. Damaged and foreign ones are passed over; the best one is the
    /// last resort.
    ///
    /// # Errors
    /// The store cannot be read, or it has checkpoints of which none is usable: each is named.
    pub async fn newest(&self) -> Result<Option<Found>, StoreError> {
        let mut names = self.names().await?;
        names.sort_by_key(|name| std::cmp::Reverse(update_of(name)));
        let mut skipped = Vec::new();
        for name in names {
            let reason = match self.read(&name).await {
                Ok(bytes) => match Checkpoint::decode(&bytes) {
                    Ok(checkpoint) => return Ok(Some(Found { checkpoint, name, skipped })),
                    Err(error) => error.to_string(),
                },
                // A file that cannot be read will not be read on the next attempt; a store may well be back by then.
                Err(error @ (StoreError::File { .. } | StoreError::Gone { .. })) => error.to_string(),
                Err(error) => return Err(error),
            };
            skipped.push(format!("{name}: {reason}"));
        }
        match skipped.is_empty() {
            true => Ok(None),
            false => Err(StoreError::NoneUsable { location: self.location.clone(), reasons: skipped.join("; ") }),
        }
    }

    /// Removes what a process that was killed while it wrote has left; an object store has no such thing.
    pub(crate) fn remove_halves(&self) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.remove_halves(),
            Place::Bucket(_) => Ok(()),
        }
    }

    /// Updates with a checkpoint, in their order.
    pub(crate) async fn updates(&self) -> Result<Vec<u64>, StoreError> {
        let mut updates: Vec<u64> = self.names().await?.iter().filter_map(|name| update_of(name)).collect();
        updates.sort_unstable();
        Ok(updates)
    }

    /// Writes the checkpoint behind an update.
    pub(crate) async fn write(&self, update: u64, bytes: Bytes) -> Result<(), StoreError> {
        self.write_as(&name_of(update), bytes).await
    }

    /// Writes the best checkpoint so far.
    pub(crate) async fn write_best(&self, bytes: Bytes) -> Result<(), StoreError> {
        self.write_as(BEST, bytes).await
    }

    /// Removes the checkpoint behind an update.
    pub(crate) async fn remove(&self, update: u64) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.remove(&name_of(update)),
            Place::Bucket(bucket) => bucket.remove(&name_of(update)).await,
        }
    }

    /// Names of all checkpoints, in no order.
    async fn names(&self) -> Result<Vec<String>, StoreError> {
        let names = match &self.place {
            Place::Directory(directory) => directory.names()?,
            Place::Bucket(bucket) => bucket.names().await?,
        };
        Ok(names.into_iter().filter(|name| is_checkpoint(name)).collect())
    }

    async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.read(name),
            Place::Bucket(bucket) => bucket.read(name).await,
        }
    }

    async fn write_as(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.write(name, &bytes),
            Place::Bucket(bucket) => bucket.write(name, bytes).await,
        }
    }
}

impl fmt::Display for CheckpointStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

#[cfg(test)]
mod tests;
