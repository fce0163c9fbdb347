//! Where files lie: a directory, or a prefix in an object store. This crate knows names and bytes, and how a file is written
//! so that it is there whole or not at all; what the bytes mean is the business of whoever stores them.

mod hold;
mod lease;
mod location;
mod process;
mod store;
mod whole;

pub use hold::{Held, Hold, holder};
pub use lease::Tenure;
pub use location::{LocationError, StoreLocation, refuse_home};
pub use store::{Possession, Store, StoreError, TakeError};
pub use whole::{open_regular, remove_halves, write_named, write_whole};
