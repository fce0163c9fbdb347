//! The standard streams of a process that is a worker: kept for the protocol, out of reach of what environments print and read.

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::stdio::{dup2_stdin, dup2_stdout};
use std::fs::File;
use std::io::{self, BufReader, BufWriter};
use std::time::Duration;

/// Whoever started this process waits so long before it kills it; one that was killed itself cannot.
const GRACE: Duration = Duration::from_secs(2);
/// What a pipe of Linux holds: most frames go with one call of the system.
const MEMORY_LEN: usize = 1 << 16;
/// The first descriptor that is none of the standard streams.
const FREE: i32 = 3;

/// Both ends of the conversation.
pub(super) struct Streams {
    pub(super) input: BufReader<File>,
    pub(super) output: BufWriter<File>,
}

impl Streams {
    /// Takes them from the process. In their place it has nothing to read, and prints to standard error.
    pub(super) fn take() -> io::Result<Self> {
        let input = File::from(fcntl_dupfd_cloexec(io::stdin(), FREE)?);
        let output = File::from(fcntl_dupfd_cloexec(io::stdout(), FREE)?);
        dup2_stdin(File::open("/dev/null")?)?;
        dup2_stdout(io::stderr())?;
        end_with_the_other_side(input.try_clone()?)?;
        Ok(Self {
            input: BufReader::with_capacity(MEMORY_LEN, input),
            output: BufWriter::with_capacity(MEMORY_LEN, output),
        })
    }
}

/// Ends the process soon after nobody can ask anything any more, also where an environment hangs.
fn end_with_the_other_side(input: File) -> io::Result<()> {
    let watch = move || {
        // The end of the other side is told without being asked for.
        while matches!(poll(&mut [PollFd::new(&input, PollFlags::empty())], None), Err(Errno::INTR)) {}
        std::thread::sleep(GRACE);
        std::process::exit(1);
    };
    // Not joined: nothing interrupts it, and it ends with the process.
    std::thread::Builder::new().name("worker-watch".into()).spawn(watch).map(drop)
}
