//! `impala`: the person's tool. It composes the learner and the actor; their logic is theirs.

mod actors;
mod browser;
mod eval;
mod render;
mod runs;
mod split;
mod status;
mod train;
mod view;

use clap::{Parser, Subcommand};
use eval::EvalArgs;
use impala_actor::cli::ActorArgs;
use impala_common::process::arguments;
use impala_common::process::elsewhere::ElsewhereArgs;
use impala_common::process::errors::{self, Level};
use impala_common::process::workers::{Trust, WorkerArgs};
use impala_env::Registry;
use impala_learner::cli::LearnerArgs;
use impala_learner::fit::device_choice;
use render::RenderArgs;
use runs::RunsArgs;
use status::StatusArgs;
use std::process::ExitCode;
use std::time::Instant;
use train::TrainArgs;
use view::ViewArgs;

/// glibc gives freed pages back after every step and faults them in again: up to half the time of a learner step.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Distributed IMPALA: actors step environments, a learner trains with V-trace, weights flow back.
#[derive(Parser)]
#[command(name = "impala", version, max_term_width = 120)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Train on this machine: one learner and several actor processes, until the task is solved.
    Train(Playing<TrainArgs>),
    /// Run a learner alone; actors join from this or other machines.
    Learner(Playing<LearnerArgs>),
    /// Run an actor alone; it waits for its learner, and for the next one after it.
    Actor(Acting),
    /// Play fresh episodes with a policy and tell what it reaches.
    Eval(Playing<EvalArgs>),
    /// Watch an episode of a trained policy: as an animation, as a page, or in the terminal.
    Render(Playing<RenderArgs>),
    /// List runs and what they came to, or compare some.
    Runs(RunsArgs),
    /// Show runs in a browser: which there are, their curves beside each other, and what each left.
    View(ViewArgs),
    /// Tell how the run of a learner stands.
    Status(StatusArgs),
    /// Tell whether a learner or an actor on this machine is healthy: exit code 0 or 1.
    #[command(subcommand)]
    Health(Health),
}

/// A command that has environments to play.
#[derive(clap::Args)]
struct Playing<T: clap::Args> {
    #[command(flatten)]
    args: T,
    #[command(flatten)]
    elsewhere: ElsewhereArgs,
}

/// An actor, which is no program of one's own.
#[derive(clap::Args)]
struct Acting {
    #[command(flatten)]
    args: ActorArgs,
    #[command(flatten)]
    workers: WorkerArgs,
}

impl<T: clap::Args> Playing<T> {
    /// The environments that it knows.
    fn registry(&self, trust: Trust) -> Registry {
        self.elsewhere.registry(impala_env::builtin(), trust)
    }
}

#[derive(Subcommand)]
enum Health {
    /// Whether it takes actors or serves weights.
    Learner(impala_learner::cli::HealthArgs),
    /// Whether it lives.
    Actor(impala_actor::cli::HealthArgs),
}

fn main() -> ExitCode {
    let started = Instant::now();
    let result = match arguments::parse::<Cli>().command {
        Command::Train(playing) => {
            let registry = playing.registry(Trust::Any);
            train::run(playing.args, &playing.elsewhere, &registry, started)
        }
        Command::Learner(playing) => {
            let registry = playing.registry(Trust::Any);
            playing
                .args
                .on_only_environment(&playing.elsewhere)
                .and_then(|args| impala_learner::cli::run(args, &registry))
        }
        Command::Actor(Acting { args, workers }) => {
            let registry = workers.registry(impala_env::builtin(), Trust::Any);
            impala_actor::cli::run(args, &registry).map(|()| ExitCode::SUCCESS)
        }
        Command::Eval(playing) => eval::run(&playing.args, &playing.registry(Trust::Named(playing.args.environment()))),
        Command::Render(playing) => {
            render::run(&playing.args, &playing.registry(Trust::Named(playing.args.environment())))
        }
        Command::Runs(args) => runs::run(&args).map(|()| ExitCode::SUCCESS),
        Command::View(args) => view::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Status(args) => status::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Health(Health::Learner(args)) => impala_learner::cli::health(&args),
        Command::Health(Health::Actor(args)) => impala_actor::cli::health(&args).map(|()| ExitCode::SUCCESS),
    };
    let status = result.unwrap_or_else(|error| {
        errors::tell(Level::Error, format_args!("{error:#}"));
        ExitCode::FAILURE
    });
    device_choice::wait_until_idle();
    status
}
