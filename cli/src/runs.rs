//! `impala runs`: which runs there are and what they came to; `impala runs compare`: their curves beside each other.

use anyhow::Context;
use clap::{Subcommand, ValueEnum};
use impala_learner::report::sinks::console;
use impala_learner::report::sinks::curve::{Chart, Series};
use impala_learner::run::archive::{self, ArchivedRun, CurveRow};
use std::path::PathBuf;

/// Where to look, or what to compare.
#[derive(Clone, Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct RunsArgs {
    /// Directory that holds the runs' directories
    #[arg(default_value = "runs")]
    directory: PathBuf,

    /// Print a JSON array
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Clone, Debug, Subcommand)]
enum Command {
    /// Tell of some runs beside each other, and draw their curves.
    Compare(CompareArgs),
}

/// What to compare.
#[derive(Clone, Debug, clap::Args)]
struct CompareArgs {
    /// The runs' directories
    #[arg(required = true, value_name = "RUN")]
    runs: Vec<PathBuf>,

    /// Draw the curves of their mean returns
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,

    /// What the curves are drawn over
    #[arg(long, value_enum, default_value_t = Over::Frames)]
    over: Over,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Over {
    /// Environment frames trained
    Frames,
    /// Seconds of training
    Seconds,
}

/// Reads and prints.
///
/// # Errors
/// The directory cannot be read, a run that is named is none, or the picture cannot be written.
pub(crate) fn run(args: &RunsArgs) -> anyhow::Result<()> {
    if let Some(Command::Compare(args)) = &args.command {
        return compare(args);
    }
    let directory = args.directory.display();
    let runs = archive::runs_in(&args.directory).with_context(|| {
        format!("cannot read {directory}; name the directory that holds the runs (--runs-dir of train), or begin with `impala train`")
    })?;
    console::print(&match (args.json, runs.is_empty()) {
        (true, _) => format!("{}\n", serde_json::to_string_pretty(&runs)?),
        (false, true) => format!("no runs in {directory}\n"),
        (false, false) => table(&runs),
    })
}

fn compare(args: &CompareArgs) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for path in &args.runs {
        let run = archive::run_at(path);
        runs.push(run.with_context(|| format!("{} is no directory of a run", path.display()))?);
    }
    if let Some(file) = &args.svg {
        let svg = draw(&runs, args.over)?;
        impala_store::write_named(file, svg).with_context(|| format!("cannot write {}", file.display()))?;
        console::note(&format!("curves in {}", file.display()));
    }
    console::print(&table(&runs))
}

fn draw(runs: &[ArchivedRun], over: Over) -> anyhow::Result<String> {
    let mut series = Vec::new();
    for run in runs {
        let rows = archive::rows_of(&run.path);
        let rows = rows.with_context(|| format!("cannot read the metrics.csv of {}", run.path.display()))?;
        let at = |row: &CurveRow| match over {
            Over::Frames => row.frames as f64,
            Over::Seconds => row.seconds,
        };
        let points = rows.iter().filter_map(|row| Some((at(row), row.mean_return?)));
        series.push(Series::new(&run.name, points, false));
    }
    let over = match over {
        Over::Frames => "environment frames trained",
        Over::Seconds => "seconds of training",
    };
    let mut environments: Vec<_> = runs.iter().filter_map(|run| run.environment.as_deref()).collect();
    environments.dedup();
    let title = environments.join(", ");
    let mut goals = runs.iter().map(|run| run.solved_return);
    let goal = goals.next().flatten().filter(|goal| goals.all(|other| other == Some(*goal)));
    Chart { title: &title, over, series: &series, goal }.svg()
}

/// A line for each run, under a header; as wide as the names make it.
fn table(runs: &[ArchivedRun]) -> String {
    let number = |value: Option<f64>| {
        value.map_or("-".into(), |value| if value.abs() < 10.0 { format!("{value:.3}") } else { format!("{value:.1}") })
    };
    let header = ["run", "result", "frames", "seconds", "solved after", "return", "evaluated", "environment", "seed"];
    let header = header.map(str::to_owned);
    let mut lines = vec![header];
    lines.extend(runs.iter().map(|run| {
        [
            run.name.clone(),
            run.result.to_string(),
            run.frames.to_string(),
            format!("{:.1}", run.seconds),
            run.solved_after.map_or("-".into(), |frames| frames.to_string()),
            number(run.mean_return),
            number(run.evaluated_return),
            run.environment.clone().unwrap_or("-".into()),
            run.seed.map_or("-".into(), |seed| seed.to_string()),
        ]
    }));
    let widths: Vec<_> = (0..9).map(|i| lines.iter().map(|line| line[i].chars().count()).max().unwrap_or(0)).collect();
    let is_number = [false, false, true, true, true, true, true, false, true];
    let mut text = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).zip(is_number);
        let cells = cells.map(|((cell, width), is_number)| match is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        });
        text += cells.collect::<Vec<_>>().join("  ").trim_end();
        text.push('\n');
    }
    text
}
