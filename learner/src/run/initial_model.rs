//! What a new run begins with instead of random parameters: those of a policy that a person names (`initial_model`).

use crate::config::Config;
use crate::run::policy_source::{self, NamedPolicy, PolicyError};
use impala_env::Registry;
use impala_policy::network::NetworkSpec;
use std::fmt;
use std::path::Path;

/// Why a run cannot begin with a policy.
#[derive(Debug, thiserror::Error)]
pub enum InitialModelError {
    /// There is no such policy.
    #[error("initial_model: {0}")]
    Policy(#[source] PolicyError),
    /// It was trained on something else, or has another network.
    #[error(
        "initial_model: {policy} is {theirs}, and this run trains {ours}: give it --environment, --hidden and --activation of the policy, or another policy"
    )]
    Misfit {
        /// Where the policy lies.
        policy: String,
        /// What it is.
        theirs: String,
        /// What the run needs.
        ours: String,
    },
}

/// The policy that the settings name, if they name one; where it is a file, the settings name it by its whole path from now on, for
/// whoever begins another run with them elsewhere.
///
/// # Errors
/// It cannot be read, or is another task's or network's.
pub fn of(config: &mut Config, registry: &Registry) -> Result<Option<NamedPolicy>, InitialModelError> {
    let Some(named) = config.architecture.initial_model.clone() else { return Ok(None) };
    let policy = policy_source::find(&named, registry).map_err(InitialModelError::Policy)?;
    let (theirs, ours) = ((policy.environment.as_str(), &policy.network), config.network());
    let ours = (config.task.environment.as_str(), &ours);
    if theirs != ours {
        let (theirs, ours) = (Described(theirs).to_string(), Described(ours).to_string());
        return Err(InitialModelError::Misfit { policy: policy.source, theirs, ours });
    }
    let whole = Path::new(&named).canonicalize().ok().and_then(|path| path.to_str().map(str::to_owned));
    config.architecture.initial_model = Some(whole.unwrap_or(named));
    Ok(Some(policy))
}

/// An environment and a network for it.
struct Described<'a>((&'a str, &'a NetworkSpec));

impl fmt::Display for Described<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (environment, NetworkSpec { observation_len, hidden, activation, head, normalises }) = self.0;
        let normalised = if *normalises { " normalised" } else { "" };
        write!(f, "{environment} with {observation_len}{normalised} inputs, hidden {hidden:?}, {activation}, {head}")
    }
}
