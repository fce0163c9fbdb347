//! A run in a browser: the page (`assets/`, embedded in the program) and what it is told. A [`Feed`] takes what a learner tells of its run,
//! [`live`] serves it; [`archive`] serves runs that are over. Nothing that comes from a browser changes anything.
//!
//! It knows neither learners nor files: whoever has a run fills the feed and serves the router where they like.

pub mod archive;
mod assets;
pub mod feed;
pub mod history;
mod hosts;
pub mod live;
pub mod snapshot;

pub use feed::Feed;
