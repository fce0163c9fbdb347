//! The learner's gRPC service by behaviour: a whole learner on a free loopback port, and bare clients that speak the wire
//! contract to it. Nothing here sleeps: every step waits for a reply of the learner.

#[cfg(test)]
mod actors;
#[cfg(test)]
mod bad_input;
#[cfg(test)]
mod completed;
#[cfg(test)]
mod endpoint;
#[cfg(test)]
mod evaluation;
#[cfg(test)]
mod lockstep;
#[cfg(test)]
mod registration;
#[cfg(test)]
mod shutdown;
#[cfg(test)]
mod silence;
#[cfg(test)]
mod training;
