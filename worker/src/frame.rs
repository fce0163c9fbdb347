//! Frames over the two pipes of a worker: a header, and as many bytes as it says. Every request has one answer, so no answer is
//! read before it is asked for. It knows lengths, kinds and time, not what the bytes mean.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{ChildStdin, ChildStdout};
use std::time::Instant;

/// Length of what follows as u32, kind as u8, and three bytes that are 0.
pub(crate) const HEADER_LEN: usize = 8;
/// What a pipe of Linux holds: most answers come with one call of the system.
const MEMORY_LEN: usize = 1 << 16;

/// What is asked of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Request {
    Start = 1,
    Observe = 2,
    Step = 3,
    Render = 4,
    Scene = 5,
}

/// What a worker says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Answer {
    Hello = 129,
    Described = 130,
    Observed = 131,
    Stepped = 132,
    Rendered = 133,
    Failed = 134,
    Drawn = 135,
}

/// Why a frame did not come, or go.
#[derive(Debug)]
pub(crate) enum PipeError {
    /// The worker closed its end.
    Closed,
    /// The time is over.
    Late,
    /// It is no frame, or not as many bytes as it says.
    Broken(String),
    Io(io::Error),
}

/// Memory for one frame at a time. It grows to the largest and is kept.
#[derive(Debug, Default)]
pub(crate) struct Frame {
    memory: Vec<u8>,
    /// Bytes that were read into it, of one frame only.
    end: usize,
}

/// Both pipes of a worker, on this side.
#[derive(Debug)]
pub(crate) struct Pipe {
    /// None after it was closed, which asks the worker to end.
    stdin: Option<ChildStdin>,
    stdout: ChildStdout,
    outgoing: Vec<u8>,
}

impl Request {
    /// What a frame of this kind asks.
    pub(crate) fn from_u8(byte: u8) -> Option<Self> {
        [Self::Start, Self::Observe, Self::Step, Self::Render, Self::Scene]
            .into_iter()
            .find(|request| *request as u8 == byte)
    }
}

impl Answer {
    fn from_u8(byte: u8) -> Option<Self> {
        let shows = [Self::Observed, Self::Stepped, Self::Rendered, Self::Drawn];
        let mut all = [Self::Hello, Self::Described, Self::Failed].into_iter().chain(shows);
        all.find(|answer| *answer as u8 == byte)
    }
}

impl Frame {
    /// What follows the header.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.memory[HEADER_LEN.min(self.end)..self.end]
    }

    /// Everything that came, whether or not it is a frame.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[..self.end]
    }

    /// Length and kind that the header says, once there is one.
    fn header(&self) -> Option<(usize, u8)> {
        let (length, rest) = self.bytes().split_first_chunk::<4>()?;
        let kind = *rest.first().filter(|_| self.end >= HEADER_LEN)?;
        Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, kind))
    }
}

impl Pipe {
    /// # Errors
    /// The pipes cannot be told not to block.
    pub(crate) fn new(stdin: ChildStdin, stdout: ChildStdout) -> io::Result<Self> {
        never_block(&stdin)?;
        never_block(&stdout)?;
        Ok(Self { stdin: Some(stdin), stdout, outgoing: Vec::new() })
    }

    /// Lets go of the worker's standard input, which asks it to end.
    pub(crate) fn close(&mut self) {
        self.stdin = None;
    }

    /// Sends a request. A worker that has closed its end is none to complain of here: what it said before, the next answer tells.
    pub(crate) fn send(&mut self, request: Request, payload: &[u8], until: Instant) -> Result<(), PipeError> {
        let Some(stdin) = &mut self.stdin else { return Err(PipeError::Closed) };
        let length = u32::try_from(payload.len()).map_err(|_| PipeError::Broken("a request above 4 GiB".into()))?;
        self.outgoing.clear();
        self.outgoing.extend_from_slice(&header(length, request as u8));
        self.outgoing.extend_from_slice(payload);
        let mut rest = self.outgoing.as_slice();
        while !rest.is_empty() {
            match stdin.write(rest) {
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => wait(&*stdin, PollFlags::OUT, until)?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(()),
                Err(error) => return Err(PipeError::Io(error)),
            }
        }
        Ok(())
    }

    /// Waits for the end of what the other side says, which is no frames, and gives at most so many bytes of it.
    pub(crate) fn receive_all(&mut self, length_max: usize, until: Instant) -> Result<Vec<u8>, PipeError> {
        let (mut all, mut memory) = (Vec::new(), vec![0; MEMORY_LEN]);
        while all.len() < length_max {
            wait(&self.stdout, PollFlags::IN, until)?;
            match self.stdout.read(&mut memory) {
                Ok(0) => break,
                Ok(count) => all.extend_from_slice(&memory[..count]),
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
                Err(error) => return Err(PipeError::Io(error)),
            }
        }
        all.truncate(length_max);
        Ok(all)
    }

    /// Waits for one answer of at most so many bytes after the header.
    pub(crate) fn receive(
        &mut self,
        frame: &mut Frame,
        length_max: usize,
        until: Instant,
    ) -> Result<Answer, PipeError> {
        frame.end = 0;
        let mut needed = HEADER_LEN;
        while frame.end < needed {
            frame.memory.resize(frame.memory.len().max(needed).max(MEMORY_LEN), 0);
            wait(&self.stdout, PollFlags::IN, until)?;
            match self.stdout.read(&mut frame.memory[frame.end..]) {
                Ok(0) => return Err(PipeError::Closed),
                Ok(count) => frame.end += count,
                Err(error) if [ErrorKind::WouldBlock, ErrorKind::Interrupted].contains(&error.kind()) => {}
                Err(error) => return Err(PipeError::Io(error)),
            }
            if let Some((length, _)) = frame.header() {
                if length > length_max {
                    let what = format!("it announced an answer of {length} bytes, at most {length_max} were expected");
                    return Err(PipeError::Broken(what));
                }
                needed = HEADER_LEN + length;
            }
        }
        if frame.end > needed {
            return Err(PipeError::Broken("it said more than it was asked for".into()));
        }
        let kind = frame.header().map_or(0, |(_, kind)| kind);
        Answer::from_u8(kind).ok_or_else(|| PipeError::Broken(format!("it sent a frame of unknown kind {kind}")))
    }
}

/// What goes before so many bytes of a frame of this kind.
pub(crate) fn header(length: u32, kind: u8) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = length.to_le_bytes();
    [a, b, c, d, kind, 0, 0, 0]
}

fn never_block(end: impl AsFd) -> io::Result<()> {
    let flags = fcntl_getfl(&end)?;
    Ok(fcntl_setfl(&end, flags | OFlags::NONBLOCK)?)
}

/// Until there is something to read, or room to write; an end that was closed counts as that.
fn wait(end: impl AsFd, flags: PollFlags, until: Instant) -> Result<(), PipeError> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| PipeError::Late)?;
        match poll(&mut [PollFd::new(&end, flags)], Some(&left)) {
            Ok(0) => return Err(PipeError::Late),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(PipeError::Io(error.into())),
        }
    }
}
