//! Environments that live in processes of their own: an actor starts some workers, which share its environments, and speaks with
//! them over their standard streams, by the messages of `docs/worker-protocol.md`. `python -m impala_gym` is a worker with the
//! environments of gymnasium; any other language can be one.
//!
//! [`serve()`] is the other side: a worker with the environments of a program in Rust.
//!
//! It knows no actor and no learner: [`WorkerEnvironments`] is a [`VectorEnvironment`](impala_env::VectorEnvironment), and [`kind()`]
//! makes of a [`Launch`] what a registry takes. Only what the launch names is started.

mod environments;
mod error;
mod frame;
mod kind;
mod launch;
mod layout;
mod listed;
mod message;
mod picture;
mod process;
mod serve;
mod worker;

pub use environments::WorkerEnvironments;
pub use error::{Activity, Fault, WorkerError};
pub use kind::{NEVER_SOLVED, describe, kind, of_actors};
pub use launch::{Deadlines, Launch, Program};
pub use listed::listed;
pub use message::Description;
pub use picture::Picture;
pub use serve::{Ending, list, serve, serve_on};
