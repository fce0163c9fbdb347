//! A directory of files.

use super::StoreError;
use crate::hold::FileId;
use crate::whole::{self, TEMPORARY_SUFFIX};
use std::fs;
use std::io::{self, Read};
use std::path::PathBuf;

#[derive(Clone, Debug)]
pub(super) struct Directory {
    pub(super) path: PathBuf,
    /// The lock in it, where this process has one: what is written goes to the directory with this lock and to no other that somebody
    /// has put in its place. Without one it is made when a file is written.
    pub(super) held: Option<FileId>,
}

impl Directory {
    /// Names of all whole files; none if there is no directory. A link counts as a file: whoever reads it learns where it leads.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let error = |reason| StoreError::File { action: "list", path: self.path.clone(), reason };
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(error)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(error)?;
            let kind = entry.file_type().map_err(error)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if (kind.is_file() || kind.is_symlink()) && !name.ends_with(TEMPORARY_SUFFIX) {
                names.push(name);
            }
        }
        Ok(names)
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path.join(name);
        let mut bytes = Vec::new();
        let read = whole::open_regular(&path).and_then(|mut file| file.read_to_end(&mut bytes));
        read.map(|_| bytes).map_err(|reason| StoreError::File { action: "read", path, reason })
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let is_there = match self.held {
            Some(held) if FileId::of_lock_in(&self.path) == Some(held) => Ok(()),
            Some(_) => Err(io::Error::new(io::ErrorKind::NotFound, "the directory was moved or removed")),
            None => fs::create_dir_all(&self.path),
        };
        let written = is_there.and_then(|()| whole::write_whole(&path, bytes));
        written.map_err(|reason| StoreError::File { action: "write", path, reason })
    }

    pub(super) fn remove_halves(&self, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
        let error =
            |reason| StoreError::File { action: "remove half-written files from", path: self.path.clone(), reason };
        whole::remove_halves(&self.path, is_ours).map_err(error)
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.path.join(name);
        fs::remove_file(&path).map_err(|reason| StoreError::File { action: "remove", path, reason })
    }
}
