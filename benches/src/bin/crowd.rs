//! Many real actors in one process, for a learner that is to be seen with more of them than a machine has room for as processes.

use anyhow::{Context, ensure};
use clap::Parser;
use impala_actor::app::{self, ActorConfig};
use impala_benches::note;
use impala_common::channel::LearnerUrl;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Runs actors `crowd-0`, `crowd-1` and so on until their learner ends the run, or Ctrl-C
#[derive(Parser)]
struct Args {
    /// The learner that they work for.
    #[arg(long, value_name = "HOST:PORT")]
    learner: LearnerUrl,

    /// How many; each has a connection and a thread of its own.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=4096))]
    actors: u32,
}

fn main() -> anyhow::Result<()> {
    let Args { learner, actors } = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    runtime.block_on(async {
        let stop = CancellationToken::new();
        let mut crowd = JoinSet::new();
        for number in 0..actors {
            let config = ActorConfig::new(learner.clone(), format!("crowd-{number}"), impala_env::builtin());
            crowd.spawn(app::run(config, stop.clone()));
        }
        let mut trajectories = 0;
        loop {
            tokio::select! {
                interrupted = tokio::signal::ctrl_c(), if !stop.is_cancelled() => {
                    interrupted.context("Ctrl-C cannot be heard")?;
                    stop.cancel();
                }
                ended = crowd.join_next() => match ended {
                    Some(ended) => trajectories += ended.context("an actor broke")??.trajectories,
                    None => break,
                },
            }
        }
        note(&format!("{actors} actors made {trajectories} trajectories"));
        ensure!(trajectories > 0, "no actor made any: is there a learner at {learner}?");
        Ok(())
    })
}
