//! The other side of this crate: a worker in Rust, which has the environments of a registry and answers what an actor asks.

mod frames;
mod listing;
mod stage;
mod streams;

use crate::frame::{Answer, Request};
use crate::message::Failure;
use crate::worker::{MAGIC, VERSION};
use frames::{Incoming, read, write};
use impala_env::Registry;
pub use listing::list;
use stage::Stage;
use std::any::Any;
use std::io::{self, ErrorKind, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use streams::Streams;

/// How a worker came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The other side wanted no more.
    Asked,
    /// Something failed, and the other side was told what.
    Failed,
}

/// Is a worker on this process's standard streams until the other side has enough. From then on what environments print goes to
/// standard error, and they read nothing. A process that hangs in an environment ends soon after the other side is gone.
///
/// # Errors
/// The streams cannot be had, read or written.
pub fn serve(registry: &Registry) -> io::Result<Ending> {
    let Streams { mut input, mut output } = Streams::take()?;
    serve_on(registry, &mut input, &mut output)
}

/// The same on other streams. A panic of an environment is told as its failure.
///
/// # Errors
/// They cannot be read or written.
pub fn serve_on(registry: &Registry, input: &mut impl Read, output: &mut impl Write) -> io::Result<Ending> {
    match converse(registry, input, output) {
        // Whoever asked is gone.
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(Ending::Asked),
        result => result,
    }
}

fn converse(registry: &Registry, input: &mut impl Read, output: &mut impl Write) -> io::Result<Ending> {
    let hello = [MAGIC, VERSION.to_le_bytes()].concat();
    write(output, Answer::Hello, &hello)?;
    let (mut stage, mut payload, mut reply) = (None, Vec::new(), Vec::new());
    loop {
        let answered = match read(input, &mut payload)? {
            Incoming::End => return Ok(Ending::Asked),
            Incoming::Unknown(kind) => Err(Failure::new("protocol", format!("requests of kind {kind} are unknown"))),
            Incoming::Request(request) => {
                reply.clear();
                let answer = || answer(registry, &mut stage, request, &payload, &mut reply);
                catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|panic| Err(panicked(&*panic)))
            }
        };
        match answered {
            Ok(answer) => write(output, answer, &reply)?,
            Err(failure) => {
                write(output, Answer::Failed, &serde_json::to_vec(&failure)?)?;
                return Ok(Ending::Failed);
            }
        }
    }
}

fn answer(
    registry: &Registry,
    stage: &mut Option<Stage>,
    request: Request,
    payload: &[u8],
    reply: &mut Vec<u8>,
) -> Result<Answer, Failure> {
    match (request, stage) {
        (Request::Start, stage @ None) => {
            let made = stage.insert(Stage::make(registry, payload)?);
            made.describe(reply)?;
            Ok(Answer::Described)
        }
        (Request::Start, Some(_)) => Err(Failure::new("protocol", "it was started already")),
        (_, None) => Err(Failure::new("protocol", format!("{request:?} was asked before Start"))),
        (Request::Observe, Some(stage)) => {
            stage.observe(reply);
            Ok(Answer::Observed)
        }
        (Request::Step, Some(stage)) => {
            stage.step(payload, reply)?;
            Ok(Answer::Stepped)
        }
        (Request::Scene, Some(stage)) => {
            stage.draw(payload, reply)?;
            Ok(Answer::Drawn)
        }
        (Request::Render, Some(stage)) => {
            let name = stage.name();
            Err(Failure::new("unsupported", format!("{name} is of Rust, whose worker has scenes and no pictures")))
        }
    }
}

/// What an environment's panic says; where it was, standard error has.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::new("raised", format!("a panic: {}", text.unwrap_or_else(|| "no message".into())))
}
