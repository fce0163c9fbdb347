//! What is started, and how long it may take. It knows no process yet.

use impala_env::spec::EnvironmentName;
use serde_json::{Map, Value};
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The module of the package in `python/`.
const MODULE: &str = "impala_gym";

/// A program that is a worker, with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub(crate) path: OsString,
    pub(crate) arguments: Vec<OsString>,
}

impl Program {
    /// The worker for gymnasium, in this interpreter: a path, or a name that is looked for in `PATH`.
    pub fn python(interpreter: &Path) -> Self {
        Self::new(interpreter, ["-m", MODULE])
    }

    /// A worker in any language.
    pub fn new<S: Into<OsString>>(path: &Path, arguments: impl IntoIterator<Item = S>) -> Self {
        Self { path: path.into(), arguments: arguments.into_iter().map(Into::into).collect() }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", argument.display()))
    }
}

/// How long a worker may be silent when something is asked of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// From its start until it says that it is a worker, at most what it has for the whole start.
    pub hello: Duration,
    /// From its start to the first observations of all its environments.
    pub start: Duration,
    /// For one step of all its environments, or a picture of one.
    pub step: Duration,
}

impl Default for Deadlines {
    /// Two minutes and one: a simulator may load its world at the start and now and then at a reset.
    fn default() -> Self {
        let start = Duration::from_mins(2);
        Self { hello: start, start, step: Duration::from_mins(1) }
    }
}

/// What an actor starts.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The worker.
    pub program: Program,
    /// The environment, e.g. `gym:LunarLander-v3`.
    pub environment: EnvironmentName,
    /// What the environment's constructor gets by name.
    pub arguments: Map<String, Value>,
    /// Processes that share the environments; no more are started than there are environments.
    pub workers: usize,
    /// Whether pictures will be asked for: some environments must know when they are made.
    pub renders: bool,
    /// How long a worker may be silent.
    pub deadlines: Deadlines,
}

impl Launch {
    /// One worker with this environment as it is registered, without pictures.
    pub fn new(program: Program, environment: &EnvironmentName) -> Self {
        let (arguments, deadlines) = (Map::new(), Deadlines::default());
        Self { program, environment: environment.clone(), arguments, workers: 1, renders: false, deadlines }
    }

    /// The name that the worker knows the environment by.
    pub(crate) fn name(&self) -> &str {
        self.environment.in_gymnasium().unwrap_or(self.environment.as_str())
    }
}
