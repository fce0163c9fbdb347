//! The states of the project's environments as bytes: a name that tells kinds apart, then the numbers, exact to the last bit.

use crate::environment::StateError;
use crate::{cartpole, catch};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A state's bytes.
pub(crate) fn encode(kind: &str, state: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(&(kind, state), Vec::new()).expect("plain numbers are written to memory")
}

/// The state that [`encode`] made these bytes of, for the same kind.
///
/// # Errors
/// They are another kind's, or damaged.
pub(crate) fn decode<T: DeserializeOwned>(kind: &str, environments: usize, bytes: &[u8]) -> Result<T, StateError> {
    // The name first: the bytes after another one mean something else.
    let read = postcard::take_from_bytes::<&str>(bytes).ok().filter(|(name, _)| *name == kind);
    let state = read.and_then(|(_, rest)| postcard::take_from_bytes(rest).ok());
    state
        .filter(|(_, rest)| rest.is_empty())
        .map(|(state, _)| state)
        .ok_or_else(|| StateError::new(kind.to_owned(), environments))
}

/// How the state of the project's environments stood in the actors' states of format 1, where the set of environments was
/// closed: checkpoints of deterministic runs have it. [`StateOfFormat1::into_bytes`] makes what
/// [`VectorEnvironment::restore`](crate::VectorEnvironment::restore) reads now.
#[derive(Debug, Deserialize)]
pub struct StateOfFormat1(Closed);

/// The order is that of the format.
#[derive(Debug, Deserialize)]
enum Closed {
    CartPole(cartpole::State),
    Catch(catch::Catch),
}

impl StateOfFormat1 {
    /// The same state as its environment writes it now.
    pub fn into_bytes(self) -> Vec<u8> {
        match self.0 {
            Closed::CartPole(state) => encode(cartpole::KIND, &state),
            Closed::Catch(state) => encode(catch::KIND, &state),
        }
    }
}
