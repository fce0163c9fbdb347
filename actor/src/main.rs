//! The program `impala-actor`.

use clap::Parser;
use impala_actor::cli::{self, ActorArgs};
use std::process::ExitCode;

/// Steps and buffers of the rollout are freed on another thread than they are made on: glibc's allocator returns memory to
/// the system and faults it in again, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The IMPALA actor: steps environments with a slightly old policy and streams trajectories to a learner.
#[derive(Parser)]
#[command(name = "impala-actor", version)]
struct Program {
    #[command(flatten)]
    args: ActorArgs,
}

fn main() -> ExitCode {
    match cli::run(Program::parse().args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the one line that tells a person why the program ended")]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
