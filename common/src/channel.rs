//! The way to a learner from outside, for actors and for whoever asks how its run stands: its address, how it is reached, and
//! the questions that need no registration.
//!
//! Names, sockets and times come from outside: [`dial::Resolver`] finds the addresses, [`dial::Connector`] opens the socket, and
//! the clock is tokio's, which a test may pause or simulate. What a connection is secured with will be a part of
//! [`dial::Dialler`], which builds every connection in one place.

pub mod client;
pub mod dial;
pub mod url;

pub use dial::{Connector, Dialler, Resolver, Timing};
pub use url::LearnerUrl;
