//! Trains one run a seed with the real `impala train` and prints the table: solved or not, frames, wall time, greedy
//! evaluation, worst mean after solving, policy lag.

use anyhow::{Context, ensure};
use clap::Parser;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Trains many seeds one after the other and prints a table.
#[derive(Parser)]
struct Args {
    /// Number of seeds, from 1 on.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,

    /// Where the runs' directories stay, one for each seed; by default they are removed.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,

    /// The `impala` program; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Flags for `impala train`, after `--`.
    #[arg(last = true)]
    train: Vec<String>,
}

/// A number of a run.
type Column = fn(&Run) -> f64;

/// One run.
struct Run {
    seed: u64,
    is_solved: bool,
    frames: f64,
    wall: f64,
    start_up: f64,
    training: f64,
    evaluation: f64,
    greedy: f64,
    worst_after_solved: Option<f64>,
    lag: f64,
    /// Of the last updates, share of the frames.
    effective_samples: f64,
    frames_per_second: f64,
}

fn main() -> anyhow::Result<ExitCode> {
    let args = Args::parse();
    let program = match args.program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("impala"),
    };
    ensure!(program.exists(), "{} does not exist: run `cargo build --release` first", program.display());
    let temporary = tempfile::tempdir()?;
    let runs_dir = args.keep.as_deref().unwrap_or(temporary.path());
    line(
        "| seed | solved | frames | wall s | start-up s | training s | evaluation s | greedy mean | worst after | lag | ess % | frames/s |",
    );
    line("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut runs = Vec::new();
    for seed in 1..=args.seeds {
        let run_dir = runs_dir.join(seed.to_string());
        ensure!(!run_dir.exists(), "{} exists: name another directory for --keep, or remove it", run_dir.display());
        let run = train(&program, seed, &args.train, &run_dir)?;
        line(&row(&run));
        runs.push(run);
    }
    let all_solved = runs.iter().all(|run| run.is_solved);
    summarise(&runs);
    Ok(if all_solved { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn train(program: &Path, seed: u64, flags: &[String], runs_dir: &Path) -> anyhow::Result<Run> {
    let mut command = Command::new(program);
    command.args(["train", "--quiet", "--seed", &seed.to_string()]).args(flags).arg("--runs-dir").arg(runs_dir);
    // An unsolved run is a row of the table, not an error; a run without a summary is.
    command.stdout(Stdio::null()).status().with_context(|| format!("cannot start {}", program.display()))?;
    let directory = std::fs::read_dir(runs_dir)?.next().context("the run left no directory")??;
    let path = directory.path().join("summary.json");
    let text = std::fs::read_to_string(&path).with_context(|| format!("seed {seed} left no {}", path.display()))?;
    let json: Value = serde_json::from_str(&text)?;
    let number = |pointer: &str| json.pointer(pointer).and_then(Value::as_f64);
    let phase = |name: &str| number(&format!("/seconds_by_phase/{name}")).unwrap_or(f64::NAN);
    let (start_up, training, evaluation) = (phase("start_up"), phase("training"), phase("evaluation"));
    Ok(Run {
        seed,
        // Training mean and greedy evaluation both reach the goal.
        is_solved: json["end"] == "solved" && number("/greedy/mean") >= number("/solved_return"),
        frames: number("/solved/frames").or(number("/frames")).unwrap_or(f64::NAN),
        wall: start_up + training + phase("shut_down") + evaluation,
        start_up,
        training,
        evaluation,
        greedy: number("/greedy/mean").unwrap_or(f64::NAN),
        worst_after_solved: number("/worst_after_solved"),
        lag: number("/policy_lag_mean").unwrap_or(f64::NAN),
        effective_samples: number("/policy/effective_samples").unwrap_or(f64::NAN),
        frames_per_second: number("/frames").unwrap_or(f64::NAN) / training,
    })
}

fn row(run: &Run) -> String {
    let Run { seed, frames, wall, start_up, training, evaluation, greedy, lag, frames_per_second, .. } = run;
    let effective = run.effective_samples * 100.0;
    let solved = if run.is_solved { "yes" } else { "no" };
    let worst = run.worst_after_solved.map_or("-".into(), |worst| format!("{worst:.1}"));
    format!(
        "| {seed} | {solved} | {frames:.0} | {wall:.2} | {start_up:.3} | {training:.2} | {evaluation:.3} | {greedy:.1} | \
         {worst} | {lag:.1} | {effective:.1} | {frames_per_second:.0} |"
    )
}

fn summarise(runs: &[Run]) {
    let sorted = |value: Column| {
        let mut values: Vec<f64> = runs.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let solved = runs.iter().filter(|run| run.is_solved).count();
    line(&format!("\n{solved} of {} seeds solved", runs.len()));
    let columns: [(&str, Column); 8] = [
        ("frames to solve", |run| run.frames),
        ("wall s", |run| run.wall),
        ("start-up s", |run| run.start_up),
        ("training s", |run| run.training),
        ("greedy mean", |run| run.greedy),
        ("policy lag, updates", |run| run.lag),
        ("effective samples at the end, %", |run| run.effective_samples * 100.0),
        ("worst 100-episode mean after solving", |run| run.worst_after_solved.unwrap_or(f64::NAN)),
    ];
    for (name, value) in columns {
        let values = sorted(value);
        let (Some(first), Some(last)) = (values.first(), values.last()) else { return };
        if !values.iter().any(|value| value.is_nan()) {
            let median = (values[(values.len() - 1) / 2] + values[values.len() / 2]) / 2.0;
            line(&format!("{name}: median {median:.2}, from {first:.2} to {last:.2}"));
        }
    }
}

#[allow(clippy::print_stdout, reason = "the table is the result")]
fn line(text: &str) {
    println!("{text}");
}
