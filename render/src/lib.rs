//! One episode of a policy, for people to watch: as an animation ([`gif`], [`apng`]), as a page that plays it ([`html`]), or in a
//! [`terminal`]. [`record`] plays the episode; everything else draws what was recorded.
//!
//! It knows environments, by the scenes that they draw, and policies; no runs, no wire, no files: it gives bytes, or writes to
//! what it is given.

pub mod apng;
mod estimates;
pub mod gif;
pub mod html;
mod indexed;
mod picture;
mod raster;
pub mod record;
pub mod terminal;
pub mod theme;
mod words;

#[cfg(test)]
mod samples;

pub use picture::{Animation, HOLD, WIDTH, WIDTHS};
pub use record::{RecordError, Recording};
