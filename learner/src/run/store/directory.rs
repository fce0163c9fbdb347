//! A directory of checkpoints. A file is written beside its place, flushed to the disk and renamed, so that it is there
//! whole or not at all.

use super::{SUFFIX, StoreError, is_checkpoint};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Of files that are not whole yet.
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Made when the first file is written.
#[derive(Clone, Debug)]
pub(super) struct Directory(pub(super) PathBuf);

impl Directory {
    /// Names of all files; none if there is no directory.
    pub(super) fn names(&self) -> Result<Vec<String>, StoreError> {
        let error = |reason| StoreError::File { action: "list", path: self.0.clone(), reason };
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(error)?,
        };
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        entries.map(name).collect::<io::Result<_>>().map_err(error)
    }

    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.0.join(name);
        fs::read(&path).map_err(|reason| StoreError::File { action: "read", path, reason })
    }

    pub(super) fn write(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.0.join(name);
        write_atomically(&self.0, &path, bytes).map_err(|reason| StoreError::File { action: "write", path, reason })
    }

    /// Removes temporary files of checkpoints.
    pub(super) fn remove_halves(&self) -> Result<(), StoreError> {
        let is_half = |name: &&String| {
            let stem = name.strip_suffix(TEMPORARY_SUFFIX);
            stem.is_some_and(|stem| is_checkpoint(&format!("{stem}{SUFFIX}")))
        };
        self.names()?.iter().filter(is_half).try_for_each(|name| self.remove(name))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), StoreError> {
        let path = self.0.join(name);
        fs::remove_file(&path).map_err(|reason| StoreError::File { action: "remove", path, reason })
    }
}

fn write_atomically(directory: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension("tmp");
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    // Half a file on a full disk would take room from the next attempt.
    renamed.inspect_err(|_| drop(fs::remove_file(&temporary)))?;
    // The new name is on the disk when the directory is; not every system can flush one.
    let flushed = File::open(directory).and_then(|directory| directory.sync_all());
    flushed.or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    })
}
