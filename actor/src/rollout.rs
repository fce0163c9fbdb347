//! x
mod roller;
pub use roller::*;
