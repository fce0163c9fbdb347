//! What can go wrong with a worker, each in a sentence that names environment and value, and says what to do where that is known.

use impala_env::KindError;
use impala_env::spec::EnvironmentName;
use std::fmt;
use std::io;
use std::process::ExitStatus;
use std::time::Duration;

/// Why environments in workers cannot be had, or no longer.
#[derive(Debug, thiserror::Error)]
#[error("environment {environment}, worker {worker}: {fault}")]
pub struct WorkerError {
    /// The environment.
    pub environment: EnvironmentName,
    /// Which of the actor's workers, from 0.
    pub worker: usize,
    /// What happened.
    #[source]
    pub fault: Fault,
}

/// What a worker was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activity {
    /// To come up, make its environments and show them.
    Start,
    /// To step them.
    Step,
    /// To draw one of them.
    Render,
}

/// What happened to a worker, or what its environment did.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The program cannot be started.
    #[error(
        "`{program}` cannot be started ({source}): install Python 3.10 or newer, or name the interpreter with --python"
    )]
    Launch {
        /// What was to be started.
        program: String,
        /// Why it was not.
        source: io::Error,
    },
    /// The interpreter does not have the worker's package.
    #[error(
        "`{program}` lacks the package impala_gym: install it with `pip install ./python` from the project's root, or name \
         another interpreter with --python"
    )]
    PackageMissing {
        /// What was started.
        program: String,
    },
    /// Python lacks what the worker or the environment needs: what, and how it is installed, in the worker's words.
    #[error("something is missing in Python: {0}")]
    ModuleMissing(String),
    /// No environment has the name: the nearest names, in the worker's words.
    #[error("{0}")]
    Unknown(String),
    /// No training works with the environment's spaces, or with how it begins episodes: what to do, in the worker's words.
    #[error("{0}")]
    Unsupported(String),
    /// The environment's numbers are out of bounds.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The environment gave something else than its spaces say, in the worker's words.
    #[error("{0}")]
    Malformed(String),
    /// The environment gave a number that no training works with.
    #[error("the environment with index {index} gave {field} = {value}, it must be {bounds}")]
    Value {
        /// Which of the actor's environments, from 0.
        index: usize,
        /// What it gave, with the place in it.
        field: String,
        /// The number.
        value: String,
        /// What it must be.
        bounds: &'static str,
    },
    /// The environment raised an error, in its own words.
    #[error("the environment raised {0}; the log has the traceback")]
    Raised(String),
    /// The worker's process ended.
    #[error("the worker ended {activity} with {status}{}", last_words(.said.as_deref()))]
    Died {
        /// What it was asked to do.
        activity: Activity,
        /// How it ended.
        status: ExitStatus,
        /// The last line that it wrote to standard error.
        said: Option<String>,
    },
    /// The worker did not answer in time.
    #[error("the worker was silent for {} s {activity} and was ended", .deadline.as_secs_f64())]
    Silent {
        /// What it was asked to do.
        activity: Activity,
        /// How long it had.
        deadline: Duration,
    },
    /// What was started is no worker.
    #[error(
        "`{program}` does not speak the protocol of workers, its standard output began with {found:?}: nothing but frames may \
         be written there"
    )]
    NoWorker {
        /// What was started.
        program: String,
        /// The first that it wrote.
        found: String,
    },
    /// What was started lists no environments.
    #[error("`{program}` lists no environments, its standard output began with {found:?}")]
    NoListing {
        /// What was started.
        program: String,
        /// The first that it wrote.
        found: String,
    },
    /// The worker is of another release.
    #[error(
        "the worker speaks version {theirs} of the protocol, this program speaks {ours}: install the package of this release \
         with `pip install ./python`"
    )]
    Version {
        /// The worker's.
        theirs: u32,
        /// This program's.
        ours: u32,
    },
    /// The worker broke the protocol.
    #[error("the worker broke the protocol {activity}: {what}")]
    Protocol {
        /// What it was asked to do.
        activity: Activity,
        /// What it did.
        what: String,
    },
    /// The worker does not understand this program, in its own words.
    #[error("the worker does not understand this program: {0}")]
    NotUnderstood(String),
    /// Two workers of one actor made different environments of one name.
    #[error("the worker describes it otherwise than worker 0")]
    Differs,
    /// The pipe to the worker, or the thread for what it prints, failed.
    #[error("the worker cannot be spoken with ({0})")]
    Io(#[from] io::Error),
    /// A call came after a failure, which was told before.
    #[error("the workers were ended after a failure")]
    Ended,
}

impl fmt::Display for Activity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "at its start",
            Self::Step => "in a step",
            Self::Render => "while it drew a picture",
        })
    }
}

fn last_words(said: Option<&str>) -> String {
    said.map(|line| format!("; the last that it wrote: {line}")).unwrap_or_default()
}
