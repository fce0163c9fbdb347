//! How many threads a process may still have: what needs some and has no way to say that it got none is not begun.

use std::sync::mpsc;
use std::thread::Builder;

/// The system does not let this process have as many threads as it needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot start thread {number} of {wanted}: {reason}; allow this user more processes (`ulimit -u`)")]
pub struct TooFew {
    number: usize,
    wanted: usize,
    reason: std::io::Error,
}

/// Makes sure that this process may have so many threads more, now.
///
/// # Errors
/// It may not.
pub fn expect(wanted: usize) -> Result<(), TooFew> {
    let mut waiting = Vec::with_capacity(wanted);
    for number in 1..=wanted {
        let (end, ended) = mpsc::channel::<()>();
        // It waits until its sender is dropped.
        let thread = Builder::new().name("probe".into()).spawn(move || ended.recv().is_ok());
        let thread = thread.map_err(|reason| TooFew { number, wanted, reason })?;
        waiting.push((end, thread));
    }
    for (end, thread) in waiting {
        drop(end);
        let _ = thread.join();
    }
    Ok(())
}

/// Lets every other thread have the processor first, where the system has such a way: for work that nobody waits for.
pub fn give_way() {
    #[cfg(target_os = "linux")]
    {
        // There a priority is a thread's own; it can always be lowered.
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), PRIORITY_LEAST);
    }
}

/// The least of all; 0 is that of everybody else.
#[cfg(target_os = "linux")]
const PRIORITY_LEAST: i32 = 19;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_thread_that_gives_way_does_so_alone() {
        let priority = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = priority();
        let given = Builder::new().name("modest".into());
        let given = given.spawn(move || {
            give_way();
            priority()
        });
        assert_eq!((given.unwrap().join().unwrap(), priority()), (19, before));
    }

    #[test]
    fn a_few_more_threads_are_to_be_had_and_any_number_is_not() {
        expect(8).unwrap();
        let few = TooFew { number: 3, wanted: 8, reason: std::io::ErrorKind::WouldBlock.into() };
        assert!(few.to_string().starts_with("cannot start thread 3 of 8: "), "{few}");
    }
}
