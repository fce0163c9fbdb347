//! A flat place for named files. Every write is whole: a file is there with all of its bytes, or as it was before.

mod bucket;
mod directory;

use crate::hold::{Held, Hold};
use crate::location::StoreLocation;
use bucket::Bucket;
use bytes::Bytes;
use directory::Directory;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
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
    /// The object was removed a moment ago.
    #[error("{object} is not there any more")]
    Gone {
        /// Name of the object.
        object: String,
    },
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
        let place = Place::Bucket(Bucket::open(&url).map_err(|error| refuse(error.to_string()))?);
        Ok(Self { place, location: location.to_owned() })
    }

    /// A directory, made when the first file is written.
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { location: path.display().to_string(), place: Place::Directory(Directory(path)) }
    }

    /// An object store in the memory of this process, empty: for tests of the crates above.
    pub fn in_memory() -> Self {
        Self::bucket(Arc::new(InMemory::new()), ObjectPath::default(), "memory")
    }

    /// A prefix in an object store; `location` is for messages.
    fn bucket(store: Arc<dyn ObjectStore>, prefix: impl Into<ObjectPath>, location: &str) -> Self {
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

    /// Takes a directory, so that no other process works in it; nothing for an object store.
    ///
    /// # Errors
    /// Another process has it.
    pub fn hold(&self) -> Result<Option<Hold>, Held> {
        match &self.place {
            Place::Directory(directory) => Hold::take(&directory.0).map(Some),
            Place::Bucket(_) => Ok(None),
        }
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

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.location)
    }
}

#[cfg(test)]
mod tests;
