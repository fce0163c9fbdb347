//! How a run gets on with many actors, each on a core of its own: the real step, batcher and environments in simulated time, from
//! costs that are measured when it starts. Prints Markdown. How sure a time is follows from the seeds; what is not in the model
//! (a network that is shared, cores that are not there) only makes real runs slower.

use anyhow::ensure;
use clap::Parser;
use impala_actor::calibration::unroll_time;
use impala_actor::rollout::RollPlan;
use impala_benches::simulation::{Costs, Fleet, Simulated, simulate};
use impala_benches::{line, note};
use impala_env::builtin;
use impala_learner::config::Config;
use impala_learner::config::settings::GivenSettings;
use impala_learner::fit::calibration::{Workload, update_time_of};
use impala_learner::learn::compute::ComputeDevice;
use std::time::Duration;

// As in the program that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bound of each measurement.
const MEASURING: Duration = Duration::from_millis(200);
/// Columns of the two batches from which the time of an update is told.
const COLUMNS: [u32; 2] = [8, 512];
/// A trajectory that comes over a thread that is there for it anyway: `make ladder` measured 73,000 to 82,000 a second.
const MESSAGE: Duration = Duration::from_micros(13);
/// Socket, wake-ups and packing on the way there and back: see `cli/src/split.rs`.
const WAY: Duration = Duration::from_micros(180);
/// Twice the actors pay where they shorten a run by this part of it at least.
const PAYS: f64 = 0.1;

/// Simulates runs with many actors, each on a core of its own
#[derive(Parser)]
struct Args {
    /// Numbers of actors.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64, 128])]
    actors: Vec<u32>,

    /// Runs of each.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// The first seed.
    #[arg(long, default_value_t = 1)]
    first_seed: u64,

    /// Frames to train on after solving, of which the worst mean return and the share below the goal are told.
    #[arg(long, default_value_t = 0)]
    after: u64,

    /// Actors that join later, all at once.
    #[arg(long, default_value_t = 0)]
    joining: u32,

    /// Frames trained after solving when they join.
    #[arg(long, default_value_t = 20_000)]
    joining_after: u64,

    /// Time of an unroll, microseconds; measured where it is not given.
    #[arg(long)]
    unroll: Option<f64>,

    #[command(flatten)]
    settings: GivenSettings,
}

fn main() -> anyhow::Result<()> {
    let Args { actors, seeds, first_seed, after, joining, joining_after, unroll, settings } = Args::parse();
    ensure!(
        joining == 0 || joining_after < after,
        "--joining-after {joining_after} is not before the end: raise --after {after}"
    );
    // As many batches as any are small; then the order of events does not depend on how many cores there are.
    rayon::ThreadPoolBuilder::new().num_threads(1).build_global()?;
    let config = |seed| {
        let mut given = settings.clone();
        given.task.seed = Some(seed);
        Config::complete(given, &builtin())
    };
    let costs = measured(&config(first_seed)?, unroll);
    let Costs { unroll, way, message, update, column } = costs;
    line(&format!(
        "An unroll takes {unroll:.1?}, the way there and back {way:.1?}, the reading of a message {message:.1?}, an update \
         {update:.1?} and {column:.2?} for each column.\n"
    ));
    line(
        "| actors | solved | frames, median | largest | time s, median | lag | effective samples | tries | worst after | below |",
    );
    line("|---|---|---|---|---|---|---|---|---|---|");
    let mut times = Vec::new();
    for actors in actors {
        let runs: Vec<_> = (first_seed..first_seed + seeds)
            .map(|seed| simulate(&config(seed)?, Fleet { actors, joining, joining_after }, costs, after))
            .collect::<anyhow::Result<_>>()?;
        note(&format!("{actors} actors are done"));
        line(&row(actors, &runs));
        let solved = sorted(runs.iter().filter_map(|run| run.solved.map(|(_, time)| time.as_secs_f64())));
        times.push((actors, solved.get(solved.len() / 2).copied()));
    }
    if let Some(actors) = pays_up_to(&times) {
        line(&format!(
            "\nMore than {actors} actors no longer shorten a run by {:.0} % where their number doubles.",
            PAYS * 100.0
        ));
    }
    Ok(())
}

fn measured(config: &Config, unroll: Option<f64>) -> Costs {
    let plan = RollPlan::of(&config.agreement(), config.environment().clone());
    let workload = Workload::of(config);
    let [few, many] =
        COLUMNS.map(|columns| update_time_of(&workload, columns as usize, &ComputeDevice::cpu(), MEASURING, &|| false));
    let column = many.saturating_sub(few) / (COLUMNS[1] - COLUMNS[0]);
    Costs {
        unroll: unroll.map_or_else(|| unroll_time(plan, MEASURING), |micros| Duration::from_secs_f64(micros * 1e-6)),
        way: WAY,
        message: MESSAGE,
        update: few.saturating_sub(column * COLUMNS[0]),
        column,
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn row(actors: u32, runs: &[Simulated]) -> String {
    let solved: Vec<_> = runs.iter().filter_map(|run| run.solved).collect();
    let frames = sorted(solved.iter().map(|(frames, _)| *frames as f64));
    let times = sorted(solved.iter().map(|(_, time)| time.as_secs_f64()));
    let at = |values: &[f64], index: usize| values.get(index).map_or("-".into(), |value| format!("{value:.0}"));
    let mean = |of: fn(&Simulated) -> f64| runs.iter().map(of).sum::<f64>() / runs.len() as f64;
    let after: Vec<_> = runs.iter().filter_map(|run| run.after).collect();
    let worst = after.iter().map(|(worst, _)| *worst).fold(f64::INFINITY, f64::min);
    let below = after.iter().map(|(_, below)| *below).fold(0.0, f64::max);
    let (worst, below) = match worst.is_finite() {
        true => (format!("{worst:.0}"), format!("{:.2} %", below * 100.0)),
        false => ("-".into(), "-".into()),
    };
    format!(
        "| {actors} | {} of {} | {} | {} | {} | {:.2} | {:.1} % | {:.2} | {worst} | {below} |",
        solved.len(),
        runs.len(),
        at(&frames, frames.len() / 2),
        at(&frames, frames.len().saturating_sub(1)),
        times.get(times.len() / 2).map_or("-".into(), |time| format!("{time:.3}")),
        mean(|run| run.lag),
        mean(|run| run.effective) * 100.0,
        mean(|run| f64::from(run.tries)),
    )
}

/// The last number of actors that shortened runs enough; nothing if all that were asked for did, or there is no telling.
fn pays_up_to(times: &[(u32, Option<f64>)]) -> Option<u32> {
    let best = times.windows(2).find(|pair| match (pair[0], pair[1]) {
        ((_, Some(fewer)), (_, Some(more))) => more > fewer * (1.0 - PAYS),
        _ => false,
    });
    best.map(|pair| pair[0].0)
}
