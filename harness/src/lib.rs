//! What tests of both sides share; nothing that ships depends on it.
//!
//! ```text
//! fake_learner   a learner that a test plays by hand, for a real actor; replies: what it says
//! fake_actor     an actor that a test plays by hand, for a real learner
//! test_actor     a real actor in the test's runtime
//! test_learner   a real learner in the test's runtime (feature `learner`, and so burn)
//! proxy          a network between two of them that can fall silent
//! simulation     both sides in a simulated network with simulated time
//! processes      real programs; their paths come from the tests of the package that makes them
//! ```
//!
//! Nothing here sleeps: every wait is for an event and ends with [`patience`]. Unit tests of a crate do not use this one,
//! since it would bring them a second build of their own crate.
#![allow(clippy::unwrap_used, reason = "what fails here fails a test")]

pub mod fake_actor;
pub mod fake_learner;
pub mod patience;
pub mod processes;
pub mod proxy;
pub mod replies;
pub mod simulation;
pub mod test_actor;
#[cfg(feature = "learner")]
pub mod test_learner;
