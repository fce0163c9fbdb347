//! The process of a worker: how it is started, what it prints, and how it ends. It knows no message.

use crate::error::Fault;
use crate::frame::Pipe;
use crate::launch::Program;
use rustix::process::{Pid, Signal, kill_process_group};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A worker that was asked to end has so long to close its environments.
const GRACE: Duration = Duration::from_secs(2);
/// Time between two looks at whether it has: nothing tells of the end of a child on every system.
const LOOK_EVERY: Duration = Duration::from_millis(2);
/// What is left in its standard error is read for so long after its end: a process that it started and left may still have that open.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Longest line that is passed on in one piece, bytes.
const LINE_LEN_MAX: u64 = 8192;

/// A child and the thread that passes on what it prints.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// The last line that it wrote to standard error, once that is closed. At most one message ever waits here.
    last_line: Receiver<Option<String>>,
    passes_on: Option<JoinHandle<()>>,
    /// When it is killed if it has not ended, after it was asked to.
    ends_by: Option<Instant>,
}

impl Process {
    /// Starts a worker, the one with this number, and gives the pipes to it; what it prints is logged with the environment's name.
    ///
    /// # Errors
    /// It cannot be started.
    pub(crate) fn start(program: &Program, environment: &str, worker: usize) -> Result<(Self, Pipe), Fault> {
        let mut command = Command::new(&program.path);
        command.args(&program.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own: an interrupt in the terminal is the actor's alone, and what a worker starts ends with it.
        command.process_group(0);
        let mut child = command.spawn().map_err(|source| Fault::Launch { program: program.to_string(), source })?;
        let streams = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = streams else {
            unreachable!("all three streams of the child are pipes");
        };
        let (says, last_line) = sync_channel(1);
        let name = environment.to_owned();
        let thread = std::thread::Builder::new().name(format!("worker-{worker}-log"));
        let passes_on = thread.spawn(move || pass_on(stderr, &name, worker, &says));
        // From here on the child ends with what is given.
        let mut process = Self { child, last_line, passes_on: None, ends_by: None };
        process.passes_on = Some(passes_on?);
        Ok((process, Pipe::new(stdin, stdout)?))
    }

    /// How it ended, after it closed its pipes; it is killed if it has not ended soon after. With it the last that it said.
    pub(crate) fn ended(&mut self) -> Result<(ExitStatus, Option<String>), Fault> {
        self.is_to_end();
        let status = match self.ended_in_time()? {
            Some(status) => status,
            None => self.kill()?,
        };
        Ok((status, self.last_line.recv_timeout(LAST_WORDS).ok().flatten()))
    }

    /// Ends it and all that it started in its group.
    pub(crate) fn kill(&mut self) -> std::io::Result<ExitStatus> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // A group whose members have all ended is gone, which is what is wanted.
        let _ = pid.map(|pid| kill_process_group(pid, Signal::KILL));
        self.child.wait()
    }

    /// Its time begins: it was asked to end, or has done so by itself.
    pub(crate) fn is_to_end(&mut self) {
        self.ends_by.get_or_insert(Instant::now() + GRACE);
    }

    fn ended_in_time(&mut self) -> std::io::Result<Option<ExitStatus>> {
        loop {
            match self.child.try_wait()? {
                None if self.ends_by.is_some_and(|until| Instant::now() < until) => std::thread::sleep(LOOK_EVERY),
                ended => return Ok(ended),
            }
        }
    }
}

impl Drop for Process {
    /// The pipe has been closed before, which asks the worker to end.
    fn drop(&mut self) {
        self.is_to_end();
        if !matches!(self.ended_in_time(), Ok(Some(_))) {
            let _ = self.kill();
        }
        // Without it a process that left the group and holds the stream would keep this one from ending.
        let is_read =
            !matches!(self.last_line.recv_timeout(LAST_WORDS), Err(std::sync::mpsc::RecvTimeoutError::Timeout));
        if let Some(thread) = self.passes_on.take().filter(|_| is_read) {
            let _ = thread.join();
        }
    }
}

/// Passes on what a worker writes to standard error, line by line, until that is closed; says then what the last line was.
fn pass_on(stderr: ChildStderr, environment: &str, worker: usize, says: &SyncSender<Option<String>>) {
    let (mut lines, mut line, mut last) = (BufReader::new(stderr), Vec::new(), None);
    // An error is an end as well: nothing more can be read.
    while lines.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() {
            tracing::info!(environment, worker, "{text}");
            last = Some(text);
        }
        line.clear();
    }
    // Nobody may be left to hear it.
    let _ = says.try_send(last);
}
