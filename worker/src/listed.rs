//! Which environments a program of one's own has: it is started once and asked by `--describe`, which [`list`](crate::list) answers.

use crate::error::{Activity, Fault};
use crate::frame::PipeError;
use crate::launch::Program;
use crate::process::Process;
use impala_env::spec::EnvironmentName;
use serde::Deserialize;
use std::path::Path;
use std::time::{Duration, Instant};

/// The flag that asks.
const FLAG: &str = "--describe";
/// Longest listing that is read, bytes.
const LISTING_LEN_MAX: usize = 1 << 20;
/// Of what is no listing, so many characters are shown.
const SHOWN: usize = 64;

/// A line of a listing, as far as it matters here.
#[derive(Deserialize)]
struct Listed {
    name: EnvironmentName,
}

/// The names of the program's environments, in its order.
///
/// # Errors
/// The program cannot be started, does not end in time or not well, or lists nothing.
pub fn listed(program: &Path, deadline: Duration) -> Result<Vec<EnvironmentName>, Fault> {
    let until = Instant::now() + deadline;
    let (mut process, mut pipe) = Process::start(&Program::new(program, [FLAG]), FLAG, 0)?;
    pipe.close();
    let activity = Activity::Start;
    let text = match pipe.receive_all(LISTING_LEN_MAX, until) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(PipeError::Late) => {
            process.kill()?;
            return Err(Fault::Silent { activity, deadline });
        }
        Err(PipeError::Io(error)) => return Err(Fault::Io(error)),
        Err(PipeError::Closed | PipeError::Broken(_)) => unreachable!("what is read to its end has no frames"),
    };
    let (status, said) = process.ended()?;
    if !status.success() {
        return Err(Fault::Died { activity, status, said });
    }
    let names: Result<Vec<_>, _> =
        text.lines().map(|line| serde_json::from_str(line).map(|Listed { name }| name)).collect();
    names.ok().filter(|names| !names.is_empty()).ok_or_else(|| {
        let (program, found) = (format!("{} {FLAG}", program.display()), text.chars().take(SHOWN).collect());
        Fault::NoListing { program, found }
    })
}
