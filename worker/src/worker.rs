//! One worker: a process with some of an actor's environments, and what may be asked of it. Asking and hearing are apart, so that
//! environments step while a policy computes.

use crate::error::{Activity, Fault, WorkerError};
use crate::frame::{Answer, Frame, Pipe, PipeError, Request};
use crate::launch::{Deadlines, Launch};
use crate::layout::{Damage, Layout, append};
use crate::message::{Description, Drawn, Failure, Start};
use crate::picture::Picture;
use crate::process::Process;
use impala_env::Step;
use impala_env::array::{ArrayMut, ArrayRef};
use std::time::{Duration, Instant};

pub(crate) const MAGIC: [u8; 4] = *b"IMPW";
/// Longest first frame, bytes; of what is none, so much is shown.
const HELLO_LEN_MAX: usize = 64;
/// The version of `docs/worker-protocol.md`.
pub(crate) const VERSION: u32 = 1;
/// Longest text, bytes: a description with 256 bounds, or a failure with its traceback.
const TEXT_LEN_MAX: usize = 1 << 20;
/// Largest picture, bytes: 4096 x 4096.
const PICTURE_LEN_MAX: usize = 3 << 24;
/// What Python says when it lacks the package in `python/`.
const NO_PACKAGE: &str = "No module named impala_gym";

/// A process with environments of one kind. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    launch: Launch,
    number: usize,
    /// Which of the actor's environments is its first one.
    first: usize,
    pipe: Pipe,
    process: Process,
    /// The newest answer that shows environments.
    shown: Frame,
    /// Every other answer.
    other: Frame,
    actions: Vec<u8>,
    layout: Option<Layout>,
    born: Instant,
    /// Until when the answer must have come, and how long it had.
    until: Instant,
    deadline: Duration,
}

impl Worker {
    /// Starts a process and waits for nothing: the worker with this number, whose first environment has this index in the actor.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(launch: &Launch, number: usize, first: usize) -> Result<Self, WorkerError> {
        let (born, deadline) = (Instant::now(), launch.deadlines.start);
        let until = born + deadline;
        let failed = |fault| WorkerError { environment: launch.environment.clone(), worker: number, fault };
        let (process, pipe) = Process::start(&launch.program, launch.environment.as_str(), number).map_err(failed)?;
        let (launch, actions, layout) = (launch.clone(), Vec::new(), None);
        let (shown, other) = (Frame::default(), Frame::default());
        Ok(Self { launch, number, first, pipe, process, shown, other, actions, layout, born, until, deadline })
    }

    /// Waits until it says what it is, and tells it to make an environment for each seed.
    ///
    /// # Errors
    /// It is no worker, of another version, or ended.
    pub(crate) fn ask(&mut self, seeds: &[u64]) -> Result<(), WorkerError> {
        let Deadlines { hello, start, .. } = self.launch.deadlines;
        self.begin(self.born, hello.min(start));
        self.greet().map_err(|fault| self.error(fault))?;
        self.begin(self.born, start);
        let Launch { arguments, renders, .. } = &self.launch;
        let start = Start { environment: self.launch.name(), arguments, seeds, render: *renders };
        let json = serde_json::to_vec(&start).map_err(|error| self.error(Fault::Io(error.into())))?;
        self.send(Request::Start, &json, Activity::Start)
    }

    fn greet(&mut self) -> Result<(), Fault> {
        let answer = self.pipe.receive(&mut self.other, HELLO_LEN_MAX, self.until);
        let version = version(self.other.payload());
        match (answer, version) {
            (Ok(Answer::Hello), Some(VERSION)) => Ok(()),
            (Ok(Answer::Hello), Some(theirs)) => Err(Fault::Version { theirs, ours: VERSION }),
            (Err(error @ (PipeError::Io(_) | PipeError::Late)), _) => Err(self.fault_of(error, Activity::Start)),
            (Err(error), _) if self.other.bytes().is_empty() => Err(self.fault_of(error, Activity::Start)),
            _ => {
                let first: Vec<u8> = self.other.bytes().iter().copied().take(HELLO_LEN_MAX).collect();
                let found = String::from_utf8_lossy(&first).into_owned();
                Err(Fault::NoWorker { program: self.launch.program.to_string(), found })
            }
        }
    }

    /// Waits until it has made so many environments.
    ///
    /// # Errors
    /// It could not, or what it made is nothing to train on.
    pub(crate) fn describe(&mut self, environments: usize) -> Result<Description, WorkerError> {
        let is_shown = false;
        self.receive(Answer::Described, TEXT_LEN_MAX, is_shown, Activity::Start)?;
        let name = &self.launch.environment;
        let parsed = Description::parse(name, self.other.payload());
        let description = parsed.map_err(|error| self.error(error.fault(name)))?;
        self.layout = Some(Layout::new(&description.spec, environments));
        Ok(description)
    }

    /// Waits until it shows the first observations. It was described before.
    ///
    /// # Errors
    /// They are none, or not those of its spaces.
    pub(crate) fn observe(&mut self) -> Result<(), WorkerError> {
        self.send(Request::Observe, &[], Activity::Start)?;
        let length_max = self.layout().observed_len();
        self.receive(Answer::Observed, length_max, true, Activity::Start)?;
        let checked = self.layout().check_observed(self.shown.payload());
        checked.map_err(|damage| self.error(self.damaged(damage, Activity::Start)))
    }

    /// Writes what its environments show.
    pub(crate) fn read_shown(&self, observations: ArrayMut<'_>, masks: &mut [u8]) {
        self.layout().read_shown(self.shown.payload(), observations, masks);
    }

    /// Asks for a step, which goes on while the caller does something else.
    ///
    /// # Shapes
    /// `actions`: `[N, D]` of its environments
    ///
    /// # Errors
    /// It takes nothing.
    pub(crate) fn send_step(&mut self, actions: ArrayRef<'_>) -> Result<(), WorkerError> {
        self.begin(Instant::now(), self.launch.deadlines.step);
        let mut bytes = std::mem::take(&mut self.actions);
        bytes.clear();
        append(actions, &mut bytes);
        let sent = self.send(Request::Step, &bytes, Activity::Step);
        self.actions = bytes;
        sent
    }

    /// Waits for the end of a step that was asked for; the arrays are those of its environments alone.
    ///
    /// # Errors
    /// It failed, was late, or gave what no environment may give.
    pub(crate) fn receive_step(&mut self, step: Step<'_>) -> Result<(), WorkerError> {
        let length_max = self.layout().stepped_len_max();
        self.receive(Answer::Stepped, length_max, true, Activity::Step)?;
        let read = self.layout().read_stepped(self.shown.payload(), step);
        read.map_err(|damage| self.error(self.damaged(damage, Activity::Step)))
    }

    /// A picture of one of its environments.
    ///
    /// # Errors
    /// It has none: the launch did not say that pictures will be asked for, or the environment cannot draw itself.
    pub(crate) fn render(&mut self, index: usize) -> Result<Picture, WorkerError> {
        self.begin(Instant::now(), self.launch.deadlines.step);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.send(Request::Render, &index.to_le_bytes(), Activity::Render)?;
        let is_shown = false;
        self.receive(Answer::Rendered, PICTURE_LEN_MAX + 8, is_shown, Activity::Render)?;
        let picture = picture(self.other.payload());
        picture.ok_or_else(|| {
            let what =
                format!("a picture came in {} bytes, which are not those of its size", self.other.payload().len());
            self.error(Fault::Protocol { activity: Activity::Render, what })
        })
    }

    /// What one of its environments looks like, as shapes. It was described as one that says so.
    ///
    /// # Errors
    /// It failed, or what it says is none.
    pub(crate) fn draw(&mut self, index: usize) -> Result<Drawn, WorkerError> {
        self.begin(Instant::now(), self.launch.deadlines.step);
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        self.send(Request::Scene, &index.to_le_bytes(), Activity::Render)?;
        let is_shown = false;
        self.receive(Answer::Drawn, TEXT_LEN_MAX, is_shown, Activity::Render)?;
        serde_json::from_slice(self.other.payload()).map_err(|error| {
            let what = format!("its scene is none ({error})");
            self.error(Fault::Protocol { activity: Activity::Render, what })
        })
    }

    /// Asks it to end, and waits for nothing; dropping it waits.
    pub(crate) fn let_go(&mut self) {
        self.pipe.close();
        self.process.is_to_end();
    }

    fn begin(&mut self, since: Instant, deadline: Duration) {
        (self.until, self.deadline) = (since + deadline, deadline);
    }

    fn layout(&self) -> &Layout {
        self.layout.as_ref().expect("a worker is described before it is asked for anything else")
    }

    fn send(&mut self, request: Request, payload: &[u8], activity: Activity) -> Result<(), WorkerError> {
        self.pipe.send(request, payload, self.until).map_err(|error| {
            let fault = self.fault_of(error, activity);
            self.error(fault)
        })
    }

    fn receive(
        &mut self,
        wanted: Answer,
        length_max: usize,
        is_shown: bool,
        activity: Activity,
    ) -> Result<(), WorkerError> {
        let frame = if is_shown { &mut self.shown } else { &mut self.other };
        // A failure may come in place of any answer.
        let answer = self.pipe.receive(frame, length_max.max(TEXT_LEN_MAX), self.until);
        let length = frame.payload().len();
        let fault = match answer {
            Ok(answer) if answer == wanted && length <= length_max => return Ok(()),
            Ok(Answer::Failed) => self.failed(is_shown, activity),
            Ok(answer) if answer == wanted => {
                let what = format!("it sent {length} bytes, at most {length_max} were expected");
                Fault::Protocol { activity, what }
            }
            Ok(answer) => {
                let what = format!("it sent {answer:?} where {wanted:?} was expected");
                Fault::Protocol { activity, what }
            }
            Err(error) => self.fault_of(error, activity),
        };
        Err(self.error(fault))
    }

    /// What it says of its failure; the traceback goes to the log.
    fn failed(&self, is_shown: bool, activity: Activity) -> Fault {
        let frame = if is_shown { &self.shown } else { &self.other };
        let failure: Failure = match serde_json::from_slice(frame.payload()) {
            Ok(failure) => failure,
            Err(error) => return Fault::Protocol { activity, what: format!("its failure is none ({error})") },
        };
        let environment = self.launch.environment.as_str();
        for line in failure.traceback.iter().flat_map(|traceback| traceback.lines()) {
            tracing::warn!(environment, worker = self.number, "{line}");
        }
        failure.fault()
    }

    fn fault_of(&mut self, error: PipeError, activity: Activity) -> Fault {
        match error {
            PipeError::Io(source) => Fault::Io(source),
            PipeError::Broken(what) => Fault::Protocol { activity, what },
            PipeError::Late => {
                // Nothing waits for it any more, and what hangs does not hear that its pipe is closed.
                match self.process.kill() {
                    Ok(_) => Fault::Silent { activity, deadline: self.deadline },
                    Err(source) => Fault::Io(source),
                }
            }
            PipeError::Closed => match self.process.ended() {
                Ok((_, Some(said))) if said.contains(NO_PACKAGE) => {
                    Fault::PackageMissing { program: self.launch.program.to_string() }
                }
                Ok((status, said)) => Fault::Died { activity, status, said },
                Err(fault) => fault,
            },
        }
    }

    fn damaged(&self, damage: Damage, activity: Activity) -> Fault {
        match damage {
            Damage::Length { found, expected } => {
                let what = format!("its answer has {found} bytes, the arrays of its environments have {expected}");
                Fault::Protocol { activity, what }
            }
            Damage::Number { environment, field, value, bounds } => {
                Fault::Value { index: self.first + environment, field, value, bounds }
            }
        }
    }

    fn error(&self, fault: Fault) -> WorkerError {
        WorkerError { environment: self.launch.environment.clone(), worker: self.number, fault }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.pipe.close();
    }
}

/// Height and width as u32, then the colours.
fn picture(payload: &[u8]) -> Option<Picture> {
    let (height, rest) = payload.split_first_chunk::<4>()?;
    let (width, rgb) = rest.split_first_chunk::<4>()?;
    let [height, width] = [height, width].map(|side| usize::try_from(u32::from_le_bytes(*side)).ok());
    let (height, width) = (height?, width?);
    let is_whole = height.checked_mul(width)?.checked_mul(3)? == rgb.len();
    is_whole.then(|| Picture { width, height, rgb: rgb.to_vec() })
}

/// What a worker says that it speaks; later versions may say more after that.
fn version(hello: &[u8]) -> Option<u32> {
    let (version, _) = hello.strip_prefix(&MAGIC)?.split_first_chunk::<4>()?;
    Some(u32::from_le_bytes(*version))
}
