//! The slim learner: what images carry.

use clap::{Parser, Subcommand};
use impala_common::process::arguments;
use impala_common::process::elsewhere::ElsewhereArgs;
use impala_common::process::errors::{self, Level};
use impala_common::process::workers::Trust;
use impala_learner::cli::{HealthArgs, LearnerArgs, health, run};
use impala_learner::fit::device_choice;
use std::process::ExitCode;

/// glibc gives freed pages back after every step and faults them in again: up to half the time of a learner step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// IMPALA learner: waits for actors, trains with V-trace on their trajectories, sends them new weights.
#[derive(Parser)]
#[command(name = "impala-learner", version)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    args: LearnerArgs,
    #[command(flatten)]
    elsewhere: ElsewhereArgs,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether the learner on this machine takes actors or serves weights: exit code 0 or 1.
    Health(HealthArgs),
}

fn main() -> ExitCode {
    let Cli { command, args, elsewhere } = arguments::parse();
    let result = match command {
        None => args
            .on_only_environment(&elsewhere)
            .and_then(|args| run(args, &elsewhere.registry(impala_env::builtin(), Trust::Any))),
        Some(Command::Health(args)) => health(&args),
    };
    let status = result.unwrap_or_else(|error| {
        errors::tell(Level::Error, format_args!("{error:#}"));
        ExitCode::FAILURE
    });
    device_choice::wait_until_idle();
    status
}
