//! The one way in which a file is written: under a temporary name beside its place, flushed to the disk, renamed, and its
//! directory flushed. A reader sees the old file or the new one; a machine that loses power keeps one of the two.

use std::fs::{self, DirEntry, File, TryLockError};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Of files that are not whole yet, also of those that earlier releases wrote.
pub(crate) const TEMPORARY_SUFFIX: &str = ".tmp";

/// Times that a file is written where somebody removes it on its way.
const ATTEMPTS: usize = 3;
/// A half that was written to since is somebody's who is at work: a disk that is busy may take seconds between a file's creation
/// and its lock, and not every file system knows locks.
const AT_WORK: Duration = Duration::from_secs(60);

/// Tells the temporary files of this process from those of every other, also in another container with the same directory,
/// where process ids repeat. The standard library seeds its hash keys from the system's random source.
static PROCESS: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
/// Tells two writes of this process apart.
static WRITES: AtomicU64 = AtomicU64::new(0);

/// Writes a file so that it is there whole or not at all, and on the disk when this returns. What was there before is
/// replaced. Nothing is left beside it, whatever fails.
///
/// # Errors
/// The file system refuses: the old file, if any, is as it was. Where only the directory cannot be flushed, the new file is
/// there, but may not outlast a loss of power.
pub fn write_whole(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    for attempt in 1..=ATTEMPTS {
        let temporary = temporary_name(path)?;
        let mut file = File::options().write(true).create_new(true).open(&temporary)?;
        // Shows that somebody is at work on it, until the file is closed. Where locks are unknown, that cannot be shown.
        let _ = file.lock();
        let written = file.write_all(bytes.as_ref()).and_then(|()| file.sync_all());
        match written.and_then(|()| fs::rename(&temporary, path)) {
            Ok(()) => break,
            // Somebody took it for a half of the dead: where there are no locks, or another release is at work.
            Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
            Err(error) => {
                // Half a file on a full disk would take room from the next attempt.
                let _ = fs::remove_file(&temporary);
                return Err(error);
            }
        }
    }
    sync_directory(path)
}

/// Opens a file to be read, and refuses what has no end or is waited for in vain, such as a device or a pipe, perhaps behind a link.
///
/// # Errors
/// There is none, or it is no regular file.
pub fn open_regular(path: &Path) -> io::Result<File> {
    match fs::metadata(path)?.is_file() {
        true => File::open(path),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no regular file")),
    }
}

/// Writes what a person asked for to the path that they named: a file as [`write_whole`] does, the one that a link leads to, and a device
/// or a pipe as it is, which is not replaced.
///
/// # Errors
/// As [`write_whole`], or the device or pipe does not take it.
pub fn write_named(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    match fs::metadata(path) {
        Ok(about) if !about.is_file() => File::options().write(true).open(path)?.write_all(bytes.as_ref()),
        Ok(_) => write_whole(&fs::canonicalize(path)?, bytes),
        // A link that leads to nothing makes the file that it names.
        Err(_) if path.is_symlink() => fs::write(path, bytes),
        Err(_) => write_whole(path, bytes),
    }
}

/// The name has a part of this process's own, so that two processes never write into one temporary file.
fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the path has no file name");
    let mut name = path.file_name().ok_or_else(no_name)?.to_owned();
    let number = WRITES.fetch_add(1, Ordering::Relaxed);
    name.push(format!(".{:016x}-{number}{TEMPORARY_SUFFIX}", *PROCESS));
    Ok(path.with_file_name(name))
}

/// The new name is on the disk when the directory is; not every system can flush one.
fn sync_directory(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let flushed = File::open(directory).and_then(|directory| directory.sync_all());
    flushed.or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => Ok(()),
        _ => Err(error),
    })
}

/// Removes what processes that were killed while they wrote have left in a directory, for the files whose names `is_ours`
/// accepts. What another process is writing at this moment stays, and so does what was written to less than a minute ago.
///
/// # Errors
/// The directory cannot be read, or a file not be removed. A directory that is not there is none.
pub fn remove_halves(directory: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().and_then(whole_name).is_some_and(&is_ours) {
            match remove_half(&entry) {
                // Its writer has just renamed or removed it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                removed => removed?,
            }
        }
    }
    Ok(())
}

/// Removes a temporary file that nobody is writing.
fn remove_half(entry: &DirEntry) -> io::Result<()> {
    let (path, about) = (entry.path(), entry.metadata()?);
    // A time in the future, by another machine's clock, is a recent one.
    let is_old = about.modified()?.elapsed().is_ok_and(|age| age >= AT_WORK);
    if !about.is_file() || !is_old {
        return Ok(());
    }
    match File::open(&path)?.try_lock() {
        Err(TryLockError::WouldBlock) => Ok(()),
        Ok(()) | Err(TryLockError::Error(_)) => fs::remove_file(path),
    }
}

/// The name of the file that a temporary one was to become. Earlier releases put no process's part into it but the suffix in
/// place of the extension: then it is the name without that.
fn whole_name(temporary: &str) -> Option<&str> {
    let name = temporary.strip_suffix(TEMPORARY_SUFFIX)?;
    let is_process_part = |part: &str| {
        let (process, number) = part.split_once('-').unwrap_or_default();
        process.len() == 16 && process.bytes().all(|b| b.is_ascii_hexdigit()) && number.parse::<u64>().is_ok()
    };
    Some(name.rsplit_once('.').filter(|(_, part)| is_process_part(part)).map_or(name, |(whole, _)| whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::time::SystemTime;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.toml");
        write_whole(&path, "old").unwrap();
        write_whole(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(directory.path()), ["config.toml"]);
    }

    #[cfg(unix)]
    #[test]
    fn what_a_person_names_is_written_where_it_leads_and_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let [file, link, dangling, later] =
            ["file", "link", "dangling", "later"].map(|name| directory.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        std::os::unix::fs::symlink(&later, &dangling).unwrap();
        write_named(&link, "new").unwrap();
        write_named(&dangling, "later").unwrap();
        assert!(link.is_symlink() && dangling.is_symlink());
        assert_eq!([&file, &later].map(|path| fs::read_to_string(path).unwrap()), ["new", "later"]);
        write_named(&directory.path().join("fresh"), "fresh").unwrap();
        let socket = directory.path().join("socket");
        let _bound = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        assert!(write_named(&socket, "x").is_err() && !socket.is_file(), "it was replaced");
        assert!(write_named(directory.path(), "x").is_err());
        assert_eq!(names(directory.path()), ["dangling", "file", "fresh", "later", "link", "socket"]);
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file_and_no_half() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("model");
        fs::create_dir_all(path.join("in the way")).unwrap();
        assert!(write_whole(&path, "new").is_err());
        assert_eq!(names(directory.path()), ["model"]);
        assert!(write_whole(&directory.path().join("none/model"), "new").is_err());
        assert!(write_whole(Path::new("/"), "new").unwrap_err().to_string().contains("no file name"));
    }

    #[test]
    fn writes_side_by_side_end_with_one_of_the_files_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("best");
        std::thread::scope(|scope| {
            for writer in 0_u8..4 {
                let path = &path;
                scope.spawn(move || (0..8).for_each(|_| write_whole(path, vec![writer; 70_000]).unwrap()));
            }
        });
        let bytes = fs::read(&path).unwrap();
        assert!(bytes.len() == 70_000 && bytes.iter().all(|byte| *byte == bytes[0]));
        assert_eq!(names(directory.path()), ["best"]);
    }

    #[test]
    fn a_write_lands_while_others_clear_up() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("best");
        std::thread::scope(|scope| {
            // Dropped also where a write panics: the test then fails instead of waiting for those who clear up.
            let at_work = Arc::new(());
            for _ in 0..2 {
                let (writer, directory) = (Arc::downgrade(&at_work), directory.path());
                scope.spawn(move || {
                    while writer.strong_count() > 0 {
                        remove_halves(directory, |name| name == "best").unwrap();
                    }
                });
            }
            (0..200_u32).for_each(|number| write_whole(&path, number.to_string()).unwrap());
        });
        assert_eq!(fs::read(&path).unwrap(), b"199");
        assert_eq!(names(directory.path()), ["best"]);
    }

    #[test]
    fn halves_of_the_dead_go_and_those_of_the_living_stay() {
        let directory = tempfile::tempdir().unwrap();
        let half = |path: &Path, age: Duration| {
            let file = File::create_new(path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            file
        };
        let [living, begun] = [(); 2].map(|()| temporary_name(&directory.path().join("best")).unwrap());
        let at_work = half(&living, 2 * AT_WORK);
        at_work.try_lock().unwrap();
        // Its writer has created it and is about to lock it.
        half(&begun, Duration::ZERO);
        for dead in ["best.0123456789abcdef-7.tmp", "old.tmp", "mine.tmp"] {
            half(&directory.path().join(dead), 2 * AT_WORK);
        }
        let [living, begun] = [&living, &begun].map(|path| path.file_name().unwrap().to_str().unwrap());
        remove_halves(directory.path(), |name| ["best", "old"].contains(&name)).unwrap();
        let mut left = [living, begun, "mine.tmp"];
        left.sort();
        assert_eq!(names(directory.path()), left);
        drop(at_work);
        remove_halves(directory.path(), |name| name == "best").unwrap();
        assert_eq!(names(directory.path()), [begun, "mine.tmp"]);
        remove_halves(&directory.path().join("none"), |_| true).unwrap();
    }
}
