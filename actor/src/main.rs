//! The program `impala-actor`.

use clap::{Parser, Subcommand};
use impala_actor::cli::{self, ActorArgs, HealthArgs};
use impala_common::process::arguments;
use impala_common::process::errors::{self, Level};
use impala_common::process::workers::{Trust, WorkerArgs};
use std::process::ExitCode;

/// Steps and buffers of the rollout are freed on another thread than they are made on: glibc's allocator returns memory to
/// the system and faults it in again, this one does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The IMPALA actor: steps environments with a slightly old policy and streams trajectories to a learner.
#[derive(Parser)]
#[command(name = "impala-actor", version)]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: ActorArgs,
    #[command(flatten)]
    workers: WorkerArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether the actor on this machine lives: exit code 0 or 1.
    Health(HealthArgs),
}

fn main() -> ExitCode {
    let Program { command, args, workers } = arguments::parse();
    let result = match command {
        None => cli::run(args, &workers.registry(impala_env::builtin(), Trust::Any)),
        Some(Command::Health(args)) => cli::health(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            errors::tell(Level::Error, format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
