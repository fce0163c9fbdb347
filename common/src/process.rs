//! What every process of the system sets up in the same way: logs, metrics and probes, signals; and how it words errors and
//! panics.

pub mod arguments;
pub mod elsewhere;
pub mod errors;
pub mod handles;
pub mod line;
pub mod logs;
pub(crate) mod network;
pub mod panics;
pub mod probes;
pub mod signals;
pub mod surroundings;
pub mod threads;
pub mod workers;
