//! The slim learner: what images carry.

use clap::Parser;
use impala_learner::cli::{LearnerArgs, run};
use std::process::ExitCode;

/// glibc gives freed pages back after every step and faults them in again: up to half the time of a learner step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// IMPALA learner: waits for actors, trains with V-trace on their trajectories, sends them new weights.
#[derive(Parser)]
#[command(name = "impala-learner", version)]
struct Cli {
    #[command(flatten)]
    args: LearnerArgs,
}

#[allow(clippy::print_stderr, reason = "the error of the program")]
fn main() -> ExitCode {
    run(Cli::parse().args).unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
