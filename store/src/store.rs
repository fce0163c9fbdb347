//! A flat place for named files. Every write is whole: a file is there with all of its bytes, or as it was before.

mod bucket;
mod directory;

use crate::hold::{Held, Hold};
use crate::lease::{Lease, Tenure};
use crate::location::StoreLocation;
use bucket::Bucket;
use bytes::Bytes;
use directory::Directory;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::DropGuard;
use url::Url;

/// What keeps a store from doing its work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The location is not one.
    #[error("{location}: {reason}")]
    Location {
        /// The location, as it was given.
        location: String,
        /// What is wrong with it, and what to write.
        reason: String,
    },
    /// The file system refuses.
    #[error("cannot {action} {path}: {reason}")]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory that it was tried with.
        path: PathBuf,
        /// The system's reason.
        reason: io::Error,
    },
    /// The object store refuses or is not reached.
    #[error("cannot {action} {object}: {reason}; check URL, credentials and network")]
    Object {
        /// What was tried, as a verb.
        action: &'static str,
        /// The object that it was tried with.
        object: String,
        /// The store's reason.
        reason: String,
    },
    /// Another process has taken the prefix since this one did.
    #[error("{location} was taken over by {by}: this process writes nothing there any more")]
    Lost {
        /// The prefix.
        location: String,
        /// Who has it now.
        by: String,
    },
    /// What tells whose the prefix is cannot be read.
    #[error("{object} is damaged: {reason}; remove it if no process works there")]
    Owner {
        /// The object.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The object was removed a moment ago.
    #[error("{object} is not there any more")]
    Gone {
        /// Name of the object.
        object: String,
    },
}

/// Time that a store has to hear that it is free.
const RELEASE_MAX: Duration = Duration::from_secs(2);

/// Why a store cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// Another process has it.
    #[error(transparent)]
    Held(#[from] Held),
    /// It cannot be told whose it is.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What keeps other processes from a store that this one has taken, until it is dropped.
#[derive(Debug)]
pub struct Possession(Kept);

#[derive(Debug)]
enum Kept {
    Directory(Hold),
    Bucket(Arc<Lease>, DropGuard),
}

impl Possession {
    /// Why it is not sure that nobody else has it, for the log.
    pub fn doubt(&self) -> Option<String> {
        match &self.0 {
            Kept::Directory(hold) => hold.doubt().map(str::to_owned),
            Kept::Bucket(lease, _) => {
                let doubt = lease.doubt()?;
                Some(format!("cannot make sure that no other process works in the checkpoint store: {doubt}"))
            }
        }
    }

    /// Ends it, so that another process need not wait for what it would wait for if this one had died.
    pub async fn release(self) {
        if let Kept::Bucket(lease, kept_up) = self.0 {
            drop(kept_up);
            // If not, whoever comes waits a little longer.
            let _ = tokio::time::timeout(RELEASE_MAX, lease.release()).await;
        }
    }
}

/// A directory, or a prefix in an object store.
#[derive(Clone, Debug)]
pub struct Store {
    place: Place,
    location: String,
}

#[derive(Clone, Debug)]
enum Place {
    Directory(Directory),
    Bucket(Bucket),
}

impl Store {
    /// The store at a location: a path, `file://`, `s3://bucket/prefix`, `gs://`, `az://`. Credentials and endpoints come
    /// from the environment, by the variables of each provider (`AWS_ACCESS_KEY_ID`, `AWS_ENDPOINT`, ...).
    ///
    /// # Errors
    /// The URL is none, or settings for it are missing.
    pub fn open(location: &StoreLocation) -> Result<Self, StoreError> {
        let location = location.as_str();
        let refuse = |reason: String| StoreError::Location { location: location.to_owned(), reason };
        if !location.contains("://") {
            return Ok(Self::directory(location));
        }
        let url = Url::parse(location).map_err(|error| refuse(error.to_string()))?;
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| refuse("write file:///absolute/path".into()))?;
            return Ok(Self::directory(path));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a prefix has neither `?` nor `#`: leave out what follows".into()));
        }
        let place = Place::Bucket(Bucket::open(&url).map_err(|error| refuse(error.to_string()))?);
        Ok(Self { place, location: location.to_owned() })
    }

    /// A directory, made when it is taken or the first file is written.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { location: path.display().to_string(), place: Place::Directory(Directory { path, held: None }) }
    }

    /// An object store in the memory of this process, empty: for tests of the crates above.
    pub fn in_memory() -> Self {
        Self::bucket(Arc::new(InMemory::new()), ObjectPath::default(), "memory")
    }

    /// A prefix in an object store; `location` is for messages.
    pub(crate) fn bucket(store: Arc<dyn ObjectStore>, prefix: impl Into<ObjectPath>, location: &str) -> Self {
        Self { place: Place::Bucket(Bucket::new(store, prefix.into(), location)), location: location.to_owned() }
    }

    /// Names of all files, in no order; none where nothing was ever written. What lies in folders below does not count, nor do
    /// folders themselves and files that are not whole.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn names(&self) -> Result<Vec<String>, StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.names(),
            Place::Bucket(bucket) => bucket.names().await,
        }
    }

    /// The bytes of a file.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    pub async fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.read(name),
            Place::Bucket(bucket) => bucket.read(name).await,
        }
    }

    /// Writes a file whole, in place of one of the same name.
    ///
    /// # Errors
    /// It cannot be written: what was there before still is, unless it is only that the directory cannot be flushed.
    pub async fn write(&self, name: &str, bytes: Bytes) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.write(name, &bytes),
            Place::Bucket(bucket) => bucket.write(name, bytes).await,
        }
    }

    /// Removes a file.
    ///
    /// # Errors
    /// It is not there, or cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.remove(name),
            Place::Bucket(bucket) => bucket.remove(name).await,
        }
    }

    /// Takes the store, so that no other process works in it as long as what is returned lives. An object store is watched for a while
    /// where somebody else was at work in it a moment ago; `told` hears that. What is written to the store that is returned with it
    /// is refused once another process has taken it: see [`lost`](Self::lost). `owner` is a name that at most one process has at a time,
    /// such as that of a pod of a stateful set: it takes an object store over at once from an earlier process of the same name. Must be
    /// called inside a tokio runtime.
    ///
    /// # Errors
    /// Another process has it, or an object store does not answer.
    pub async fn take(&self, owner: Option<&str>, told: impl Fn(&str)) -> Result<(Self, Possession), TakeError> {
        let (place, kept) = match &self.place {
            Place::Directory(Directory { path, .. }) => {
                let hold = Hold::take(path)?;
                let held = hold.file();
                (Place::Directory(Directory { path: path.clone(), held }), Kept::Directory(hold))
            }
            Place::Bucket(bucket) => {
                let (bucket, kept_up) = bucket.take(owner, told).await?;
                let lease = bucket.lease().expect("it has just been taken").clone();
                (Place::Bucket(bucket), Kept::Bucket(lease, kept_up))
            }
        };
        Ok((Self { place, location: self.location.clone() }, Possession(kept)))
    }

    /// This directory, which is held already.
    #[must_use]
    pub fn held_by(&self, hold: &Hold) -> Self {
        let place = match &self.place {
            Place::Directory(Directory { path, .. }) => {
                Place::Directory(Directory { path: path.clone(), held: hold.file() })
            }
            bucket @ Place::Bucket(_) => bucket.clone(),
        };
        Self { place, location: self.location.clone() }
    }

    /// Begins to work in the store, from this mark on; it must have been taken. What processes write that had it before is not what this
    /// one goes on from: [`tenure`](Self::tenure) tells who comes later.
    ///
    /// # Errors
    /// Another process has it, or an object store does not answer.
    pub async fn begin(&self, begins_at: u64) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(_) => Ok(()),
            Place::Bucket(bucket) => bucket.begin(begins_at).await,
        }
    }

    /// Whether both are the same place, as far as their names tell.
    pub fn is(&self, other: &Self) -> bool {
        match &other.place {
            Place::Directory(directory) => self.is_directory(&directory.path) || self.location == other.location,
            Place::Bucket(_) => self.location.trim_end_matches('/') == other.location.trim_end_matches('/'),
        }
    }

    /// Whether it is this directory.
    pub fn is_directory(&self, path: &Path) -> bool {
        let Place::Directory(directory) = &self.place else { return false };
        let is_same = |(one, other)| one == other;
        directory.path.canonicalize().ok().zip(path.canonicalize().ok()).is_some_and(is_same)
    }

    /// Waits until another process has taken the object store that this one had, and says so; for ever if none does.
    pub async fn lost(&self) -> StoreError {
        if let Place::Bucket(bucket) = &self.place
            && let Some(lease) = bucket.lease()
        {
            lease.lost().cancelled().await;
            if let Some(by) = lease.taken_by() {
                return bucket.lost(by);
            }
        }
        std::future::pending().await
    }

    /// As the how manieth process this one has taken an object store; nothing where it has not.
    pub fn epoch(&self) -> Option<u64> {
        let Place::Bucket(bucket) = &self.place else { return None };
        bucket.lease().map(|lease| lease.epoch())
    }

    /// Who has begun to work in an object store last; nothing for a directory, and where nobody has.
    ///
    /// # Errors
    /// The store cannot be read.
    pub async fn tenure(&self) -> Result<Option<Tenure>, StoreError> {
        let Place::Bucket(bucket) = &self.place else { return Ok(None) };
        bucket.tenure().await
    }

    /// Removes what a process that was killed while it wrote has left of the files whose names `is_ours` accepts; an object
    /// store has no such thing.
    ///
    /// # Errors
    /// The directory cannot be read, or a file not be removed.
    pub fn remove_halves(&self, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        match &self.place {
            Place::Directory(directory) => directory.remove_halves(is_ours),
            Place::Bucket(_) => Ok(()),
        }
    }
}

#[cfg(test)]
impl Store {
    /// The lease of an object store that was taken.
    pub(crate) fn lease(&self) -> Option<&Arc<Lease>> {
        let Place::Bucket(bucket) = &self.place else { return None };
        bucket.lease()
    }
}

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

#[cfg(test)]
mod tests;
