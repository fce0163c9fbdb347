//! Waiting for what happens outside a test: changes of files, ends of processes that are not its children.

use crate::patience::PATIENCE;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Instant;

/// Looks until there is something, again after each change in `directory`.
///
/// # Panics
/// If there is nothing within [`PATIENCE`], or no such directory.
pub fn until<T>(what: &str, directory: &Path, mut look: impl FnMut() -> Option<T>) -> T {
    // Watched before the first look, so that no change falls between the two.
    let changes = inotify::init(CreateFlags::CLOEXEC).unwrap();
    let flags = WatchFlags::CREATE | WatchFlags::MODIFY | WatchFlags::MOVED_TO;
    inotify::add_watch(&changes, directory, flags).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(is_ready(&changes, deadline), "{what}: nothing came within {PATIENCE:?}");
        // Which change it was does not matter. Several may be read at once, and one look serves them all.
        rustix::io::read(&changes, &mut [0; 4096]).unwrap();
    }
}

/// Waits until a file is there and what is in it satisfies `is_there`; gives that.
pub fn file_with(what: &str, path: &Path, is_there: impl Fn(&str) -> bool) -> String {
    let read = || std::fs::read_to_string(path).ok().filter(|content| is_there(content));
    until(what, path.parent().expect("a file lies in a directory"), read)
}

/// The end of a process, which is still the same one if its number goes to another.
#[derive(Debug)]
pub struct Ending(Option<OwnedFd>);

impl Ending {
    /// Of this process, whoever its parent is.
    pub fn of(pid: u32) -> Self {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process has a number above 0");
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Self(Some(process)),
            Err(Errno::SRCH) => Self(None),
            Err(error) => panic!("process {pid:?} cannot be watched: {error}"),
        }
    }

    /// Waits for it.
    ///
    /// # Panics
    /// If it does not come within [`PATIENCE`].
    pub fn wait(self) {
        let Some(process) = self.0 else { return };
        assert!(is_ready(&process, Instant::now() + PATIENCE), "the process still runs after {PATIENCE:?}");
    }
}

fn is_ready(source: &impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        match poll(&mut [PollFd::new(source, PollFlags::IN)], Some(&left)) {
            Ok(ready) => return ready > 0,
            Err(Errno::INTR) => {}
            Err(error) => panic!("waiting failed: {error}"),
        }
    }
}
