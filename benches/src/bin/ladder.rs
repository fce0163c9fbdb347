//! Measures the ladder of the system's paths side by side and prints it as a table.

use anyhow::{Context, ensure};
use clap::Parser;
use impala_benches::figures::{Report, Sample, figures, markdown};
use impala_benches::ladder::{Plan, ROWS, Row, Throughput};
use impala_benches::machine::Machine;
use impala_benches::{line, note};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// glibc's allocator costs a learner step up to half its speed; the programs use this one too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures every path of the system, from the parts alone to whole runs, and prints a table: median, range over the
/// repeats, target.
///
/// Each row is measured in a process of its own, one-core rows pinned to the last core where `taskset` is installed; the
/// whole ladder is gone through once a repeat, so that a slow minute of the machine does not meet one row alone. Whole runs
/// are processes of the `impala` program beside this one: run `cargo build --release` first.
#[derive(Parser)]
#[command(max_term_width = 120, after_help = rows_help())]
struct Args {
    /// Rows to measure, separated by commas; all without it. Shares need the rows that they are shares of
    #[arg(long, value_name = "ROW,ROW", value_delimiter = ',')]
    only: Vec<String>,

    /// Times that the whole ladder is measured
    #[arg(long, default_value_t = 3)]
    repeats: usize,

    /// One short repeat, to see that all of it works; its figures are rough
    #[arg(long)]
    quick: bool,

    /// Write machine, command and all figures to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Seconds for each figure of a single path
    #[arg(long, default_value_t = 0.7)]
    seconds: f64,

    /// Seconds of an end-to-end run; the first fifth is warm-up
    #[arg(long, default_value_t = 6.0)]
    run_seconds: f64,

    /// Seconds of each run of the scaling rows
    #[arg(long, default_value_t = 3.0)]
    scaling_seconds: f64,

    /// Actor processes of the scaling rows: powers of two
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_value = "1,2,4,8,16,64")]
    scaling_actors: Vec<usize>,

    /// Minutes of the run whose memory is watched
    #[arg(long, default_value_t = 0.15)]
    memory_minutes: f64,

    /// Actor processes of the end-to-end run
    #[arg(long, default_value_t = 2)]
    actors: usize,

    /// Environments of each of them
    #[arg(long, default_value_t = 128)]
    environments_per_actor: usize,

    /// Columns of its batches
    #[arg(long, default_value_t = 256)]
    batch_size: usize,

    /// Steps of its trajectories
    #[arg(long, default_value_t = 20)]
    unroll_length: usize,

    /// Trajectories that each of its actors may have under way
    #[arg(long, default_value_t = 1)]
    in_flight_max: usize,

    /// The `impala` program [default: the one beside this program]
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,

    /// Measures this row here and prints its samples
    #[arg(long, hide = true)]
    in_process: Option<String>,

    /// Further flags for the learner of end-to-end and memory rows, after `--`
    #[arg(last = true)]
    learner: Vec<String>,
}

fn rows_help() -> String {
    let rows: String = ROWS.iter().map(|row| format!("\n  {:<12} {}", row.name, row.about)).collect();
    format!("Rows:{rows}")
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let plan = plan(&args)?;
    if let Some(name) = &args.in_process {
        let row = Row::named(name).with_context(|| unknown(name))?;
        line(&serde_json::to_string(&row.measure_here(&plan)?)?);
        return Ok(());
    }
    let rows = rows(&args.only)?;
    let repeats = if args.quick { 1 } else { args.repeats };
    ensure!(repeats > 0, "--repeats 0 measures nothing: choose 1 or more");
    let machine = Machine::here();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut samples = Vec::new();
    for repeat in 1..=repeats {
        samples.extend(climb(&rows, &arguments, &format!("repeat {repeat} of {repeats}"))?);
    }
    let figures = figures(&samples);
    line(&markdown(&machine, repeats, &figures));
    if let Some(path) = &args.json {
        let report = Report { machine: &machine, command: std::env::args().collect(), figures: &figures };
        std::fs::write(path, format!("{}\n", serde_json::to_string_pretty(&report)?))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Measures all rows once.
fn climb(rows: &[&Row], arguments: &[String], title: &str) -> anyhow::Result<Vec<Sample>> {
    let mut samples: Vec<Sample> = Vec::new();
    for row in rows {
        let started = Instant::now();
        note(&format!("{title}: {} ({})", row.name, row.about));
        let measured = row.measure(arguments, &samples)?;
        for Sample { name, unit, value, .. } in &measured {
            note(&format!("    {name}: {}", unit.show(*value)));
        }
        note(&format!("  took {:.1} s", started.elapsed().as_secs_f64()));
        samples.extend(measured);
    }
    Ok(samples)
}

fn plan(args: &Args) -> anyhow::Result<Plan> {
    let program = match &args.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?.with_file_name("impala"),
    };
    let quick = |usual: f64, quick: f64| if args.quick { quick } else { usual };
    Ok(Plan {
        seconds: quick(args.seconds, 0.1),
        program,
        throughput: Throughput {
            actors: args.actors,
            environments_per_actor: args.environments_per_actor,
            batch_size: args.batch_size,
            unroll_length: args.unroll_length,
            in_flight_max: args.in_flight_max,
            flags: args.learner.clone(),
        },
        run_time: seconds("--run-seconds", quick(args.run_seconds, 2.0))?,
        scaling_time: seconds("--scaling-seconds", quick(args.scaling_seconds, 1.0))?,
        scaling_actors: args.scaling_actors.clone(),
        memory_time: seconds("--memory-minutes", 60.0 * quick(args.memory_minutes, 0.05))?,
    })
}

fn seconds(flag: &str, seconds: f64) -> anyhow::Result<Duration> {
    let time = Duration::try_from_secs_f64(seconds).ok().filter(|time| !time.is_zero());
    time.with_context(|| format!("{flag} makes a run of {seconds} s: choose a number above 0"))
}

fn rows(only: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    for name in only {
        ensure!(Row::named(name).is_some(), unknown(name));
    }
    Ok(ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|name| name == row.name)).collect())
}

fn unknown(name: &str) -> String {
    let names: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    format!("no row is called `{name}`: choose from {}", names.join(", "))
}
