//! Measurements: criterion benches of single paths in `benches/`, programs that measure whole runs in `src/bin/`.
//!
//! `workloads` makes what both measure, `timing` measures it. The ladder (`ladder` and the files below it) knows the rows of
//! the table and their targets; `pairs` compares the programs of two commits by whole runs, round by round, and `ratio` says
//! how sure that is; `figures` turns samples into the table and JSON. `loopback` is a learner without training,
//! `cluster` a whole run of real processes, `memory` and `processor` what they take, `yardstick` the hand-written network that the learner's
//! step is measured against, `machine` where all of it ran. `simulation` is a run in simulated time, for more actors than there are
//! cores, `siege` a learner under attack. `documents` measures nothing: it writes the manual's tables.

pub mod cluster;
pub mod device_limits;
pub mod documents;
pub mod figures;
pub mod ladder;
pub mod loopback;
pub mod machine;
pub mod memory;
pub mod pairs;
pub mod processor;
pub mod ratio;
pub mod siege;
pub mod simulation;
pub mod timing;
pub mod workloads;
pub mod yardstick;

/// Prints a line of the result.
#[allow(clippy::print_stdout, reason = "the table is the result")]
pub fn line(text: &str) {
    println!("{text}");
}

/// Tells a waiting person what goes on.
#[allow(clippy::print_stderr, reason = "progress for the person at the terminal")]
pub fn note(text: &str) {
    eprintln!("{text}");
}
