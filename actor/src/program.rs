//! A program of one's own: an actor for the environments of a registry, with all of its command line.
//!
//! `main` calls [`main()`], and `impala train --actor-program` does the rest: it asks the program for its environments, starts it for
//! each actor, and plays in it what a learner evaluates.

use crate::cli::{self, ActorArgs, HealthArgs};
use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use impala_common::process::arguments;
use impala_common::process::errors::{self, Level};
use impala_env::Registry;
use impala_worker::{Ending, list, serve};
use std::io::IsTerminal;
use std::process::ExitCode;

/// An actor with environments of its own.
///
/// Start it beside a learner on any machine, or let `impala train --actor-program` start it.
#[derive(Parser)]
struct Program {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    args: ActorArgs,

    /// Print the environments that there are, a JSON object a line, and exit
    #[arg(long)]
    describe: bool,

    /// Serve environments on the standard streams, by the protocol of workers, to the process that started this one
    #[arg(long, conflicts_with = "describe")]
    worker: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Tell whether the actor on this machine lives: exit code 0 or 1.
    Health(HealthArgs),
}

/// All that the program does, from its command line to its exit code.
pub fn main(registry: &Registry) -> ExitCode {
    let result = match arguments::parse() {
        Program { command: Some(Command::Health(args)), .. } => cli::health(&args).map(|()| ExitCode::SUCCESS),
        Program { describe: true, .. } => describe(registry).map(|()| ExitCode::SUCCESS),
        Program { worker: true, .. } => work(registry),
        Program { args, .. } => cli::run(args, registry).map(|()| ExitCode::SUCCESS),
    };
    result.unwrap_or_else(|error| {
        errors::tell(Level::Error, format_args!("{error:#}"));
        ExitCode::FAILURE
    })
}

fn describe(registry: &Registry) -> anyhow::Result<()> {
    list(registry, &mut std::io::stdout().lock()).context("cannot write to standard output")
}

fn work(registry: &Registry) -> anyhow::Result<ExitCode> {
    if std::io::stdin().is_terminal() {
        bail!("--worker is for a process that starts this one: impala train --actor-program");
    }
    // What failed was told where it was asked for.
    Ok(match serve(registry).context("cannot serve on the standard streams")? {
        Ending::Asked => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::FAILURE,
    })
}
