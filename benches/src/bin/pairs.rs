//! Compares the programs of two commits by whole runs on this machine and prints the table.

use anyhow::{Context, ensure};
use clap::Parser;
use impala_benches::machine::Machine;
use impala_benches::pairs::{ROWS, Side, markdown, measure, rows};
use impala_benches::{line, note};
use serde_json::json;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Measures the programs of two commits in alternating pairs and prints, for each figure, the medians, the median of the
/// rounds' ratios, and a 95 % interval (Student's on the ratios' logarithms).
///
/// Each directory holds what `cargo build --release --workspace` made of a commit: copy `impala`, `impala-learner`,
/// `impala-actor` and `ladder` out of `target/release` before the other one is built.
#[derive(Parser)]
#[command(max_term_width = 120, after_help = rows_help())]
struct Args {
    /// Programs of the commit before
    #[arg(long, value_name = "DIR")]
    before: PathBuf,

    /// Programs of the commit after [default: those beside this program]
    #[arg(long, value_name = "DIR")]
    after: Option<PathBuf>,

    /// Times that every row is measured of both
    #[arg(long, default_value_t = 5)]
    rounds: usize,

    /// Seconds of each whole run; the first fifth is warm-up
    #[arg(long, default_value_t = 6.0)]
    seconds: f64,

    /// Seconds for each figure of the parts alone
    #[arg(long, default_value_t = 0.5)]
    part_seconds: f64,

    /// Write machine, command and all samples to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Rows to measure; all without it. Shares need the rows that they are shares of
    rows: Vec<String>,
}

fn rows_help() -> String {
    let rows: String = ROWS.iter().map(|row| format!("\n  {:<12} {}", row.name, row.about)).collect();
    format!("Rows:{rows}")
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let rows = rows(&args.rows)?;
    ensure!(args.rounds > 0, "--rounds 0 measures nothing: choose 1 or more, 5 for an interval that says something");
    let run_time = Duration::try_from_secs_f64(args.seconds).ok().filter(|time| !time.is_zero());
    let run_time = run_time.with_context(|| format!("--seconds {}: choose a number above 0", args.seconds))?;
    let beside = || -> anyhow::Result<PathBuf> {
        let program = std::env::current_exe()?;
        Ok(program.parent().context("this program lies in no directory")?.to_path_buf())
    };
    let after = args.after.map_or_else(beside, Ok)?;
    let sides = [args.before, after].map(|directory| Side { directory, run_time, seconds: args.part_seconds });
    for Side { directory, .. } in &sides {
        ensure!(directory.join("impala").exists(), "{} holds no program `impala`", directory.display());
    }
    let (machine, started) = (Machine::here(), Instant::now());
    let rounds = measure(&sides, &rows, args.rounds)?;
    note(&format!("took {:.0} s", started.elapsed().as_secs_f64()));
    let Machine { cpu, cores, others, date, .. } = &machine;
    let [before, after] = sides.each_ref().map(|side| side.directory.display());
    let others = 100.0 * others;
    line(&format!(
        "{date}, {cpu}, {cores} cores, {others:.0} % taken by others before it; before {before}, after {after}\n"
    ));
    line(&markdown(&rounds));
    if let Some(path) = &args.json {
        let command: Vec<String> = std::env::args().collect();
        let report = json!({ "machine": machine, "command": command, "rounds": rounds });
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&report)?))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
