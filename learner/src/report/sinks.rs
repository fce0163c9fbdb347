//! Where reports go.

pub mod console;
pub mod csv;
pub mod curve;
pub mod prometheus;
