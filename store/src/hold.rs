//! A directory in the hands of one process at a time. The system lets go of it when the process ends, however it ends.

use crate::process::Process;
use std::fs::{File, Metadata, TryLockError};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::Duration;

/// Name of the file that is locked.
const LOCK_FILE: &str = "in-use.lock";

/// Longest description of a holder that is read, bytes.
const HOLDER_BYTES_MAX: u64 = 256;
/// Time in which whoever only looks has unlocked the file again.
const LOOK: Duration = Duration::from_millis(10);
/// Times that a process that looks is made way for.
const LOOKS: u32 = 3;

/// A directory that no other process may hold; until it is dropped.
#[derive(Debug)]
pub struct Hold {
    /// Locked; none where the file system knows no locks, or lets nothing be written.
    file: Option<File>,
    doubt: Option<String>,
}

/// Another process holds the directory, or the prefix of an object store.
#[derive(Debug, thiserror::Error)]
#[error("{place} is in use by {holder}: wait until that has ended, or choose another place")]
pub struct Held {
    pub(crate) place: String,
    /// Who has written there that it has it.
    pub(crate) holder: String,
}

impl Hold {
    /// Takes a directory, which is made if it is not there.
    ///
    /// # Errors
    /// Another process has it.
    pub fn take(directory: &Path) -> Result<Self, Held> {
        let path = directory.join(LOCK_FILE);
        let opened = std::fs::create_dir_all(directory)
            .and_then(|()| File::options().read(true).write(true).create(true).truncate(false).open(&path));
        let unsure = |error: io::Error| {
            let doubt = format!("cannot make sure that no other process works in {}: {error}", directory.display());
            Self { file: None, doubt: Some(doubt) }
        };
        let mut file = match opened {
            Ok(file) => file,
            Err(error) => return Ok(unsure(error)),
        };
        match try_lock(&file) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                let _ = file.take(HOLDER_BYTES_MAX).read_to_string(&mut holder);
                let holder = if holder.is_empty() { "another process".to_owned() } else { holder };
                return Err(Held { place: directory.display().to_string(), holder });
            }
            Err(TryLockError::Error(error)) => return Ok(unsure(error)),
        }
        // Only for whoever comes meanwhile: on a full disk the lock is as good.
        let _ = file.set_len(0).and_then(|()| file.write_all(Process::this().to_string().as_bytes()));
        Ok(Self { file: Some(file), doubt: None })
    }

    /// Which file is locked, where one is.
    pub(crate) fn file(&self) -> Option<FileId> {
        FileId::of(&self.file.as_ref()?.metadata().ok()?)
    }

    /// Why it is not sure that nobody else has it, for the log.
    pub fn doubt(&self) -> Option<&str> {
        self.doubt.as_deref()
    }
}

/// Who holds a directory, in words, if anybody does.
pub fn holder(directory: &Path) -> Option<String> {
    let file = File::open(directory.join(LOCK_FILE)).ok()?;
    // Whoever takes the directory in this very moment tries again.
    let is_held = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
    let mut holder = String::new();
    is_held.then(|| (&file).take(HOLDER_BYTES_MAX).read_to_string(&mut holder))?.ok()?;
    Some(holder)
}

/// Locks a file, unless another process has it for longer than it takes to look who has it.
fn try_lock(file: &File) -> Result<(), TryLockError> {
    for _ in 0..LOOKS {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOOK),
            other => return other,
        }
    }
    file.try_lock()
}

/// A file, whatever its name is by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    number: u64,
}

impl FileId {
    /// The lock that lies in a directory now.
    pub(crate) fn of_lock_in(directory: &Path) -> Option<Self> {
        Self::of(&std::fs::metadata(directory.join(LOCK_FILE)).ok()?)
    }

    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        Some(Self { device: metadata.dev(), number: metadata.ino() })
    }

    /// Other systems keep a directory with a locked file from being moved.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Option<Self> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_held_once_and_whoever_is_refused_is_told_by_whom() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("run");
        let hold = Hold::take(&directory).unwrap();
        assert_eq!(hold.doubt(), None);
        let refused = Hold::take(&directory).unwrap_err().to_string();
        assert!(refused.contains(&format!("in use by process {}", std::process::id())), "{refused}");
        assert!(refused.contains("since 2") && refused.contains("choose another"), "{refused}");
        let told = holder(&directory).unwrap();
        assert!(told.starts_with(&format!("process {}", std::process::id())), "{told}");
        drop(hold);
        assert_eq!((holder(&directory), holder(parent.path())), (None, None));
        Hold::take(&directory).unwrap();
    }

    #[test]
    fn where_nothing_can_be_locked_it_is_told_and_not_refused() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let hold = Hold::take(&file).unwrap();
        assert!(hold.doubt().unwrap().contains("cannot make sure"));
    }
}
