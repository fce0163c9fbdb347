//! How many files and sockets a process may have open.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Allows this process as many as the system lets it have, and tells how many that are: shells and services start programs
/// with 1,024, of which a learner needs one for each actor.
pub fn allow_most() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let allowed = if raised.is_ok() { maximum } else { current };
    // None: there is no limit.
    allowed.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

/// Files and sockets that this process may have open now.
pub fn allowed() -> usize {
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |allowed| usize::try_from(allowed).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_have_what_the_system_allows() {
        let allowed = allow_most();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        assert_eq!(limit.current.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX), allowed);
    }
}
