//! The way to a learner from outside, for actors and for whoever asks how its run stands: its address, how it is reached, and
//! the questions that need no registration. Besides, what every server of the system does alike: it accepts connections, and gives
//! nobody more than a rate.
//!
//! Names, sockets and times come from outside: [`dial::Resolver`] finds the addresses, [`dial::Connector`] opens the socket, and
//! the clock is tokio's, which a test may pause or simulate. What a connection is secured with will be a part of
//! [`dial::Dialler`], which builds every connection in one place.

pub mod accept;
pub mod client;
pub mod dial;
pub mod rate;
pub mod url;

pub use dial::{Connector, Dialler, Resolver, Timing};
pub use url::LearnerUrl;
