//! Attacks a learner as peers might that are up to no good: how much of a run's speed is left, beside the same attack on another
//! process, and how much memory the learner takes.

use anyhow::ensure;
use clap::{Parser, ValueEnum};
use impala_benches::siege::attacks::Attack;
use impala_benches::siege::garrison::program_beside;
use impala_benches::siege::{memory, speed};
use impala_benches::{line, note};
use std::path::PathBuf;
use std::time::Duration;

/// Attacks learners on this machine, one after the other, and prints a table
#[derive(Parser)]
struct Args {
    /// Attacks; all of them by default.
    #[arg(value_enum)]
    attacks: Vec<Attack>,

    /// Length of an attack, seconds.
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,

    /// Rounds: in each, another process is attacked first, and then the run.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,

    /// The `impala` program; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let program = args.program.map_or_else(program_beside, Ok)?;
    ensure!(program.exists(), "{} does not exist: run `cargo build --release --workspace` first", program.display());
    let attacks = if args.attacks.is_empty() { Attack::value_variants() } else { &args.attacks };
    let time = Duration::from_secs(args.seconds);
    line(
        "| attack | frames/s, another process attacked | frames/s, this one | ratio, median | from, to | memory before, MB | most |",
    );
    line("|---|---|---|---|---|---|---|");
    for attack in attacks {
        note(&format!("{}: {}", attack.name(), description(*attack)));
        if attack.is_after_memory() {
            let flags: &[&str] = if *attack == Attack::UnreadWeights { &["--hidden", "3000,3000"] } else { &[] };
            let [before, most] = memory(&program, *attack, flags, time)?;
            line(&format!("| {} | | | | | {} | {} |", attack.name(), megabytes(before), megabytes(most)));
            continue;
        }
        let effect = speed(&program, *attack, args.rounds, time)?;
        let ratios: Vec<_> = effect.frames_per_second.iter().map(|[other, this]| this / other).collect();
        let column = |place: usize| effect.frames_per_second.iter().map(|pair| pair[place]).collect::<Vec<_>>();
        let [(other, ..), (this, ..), (ratio, least, most)] = [column(0), column(1), ratios].map(spread);
        line(&format!(
            "| {} | {other:.0} | {this:.0} | {ratio:.2} | {least:.2} to {most:.2} | {} | {} |",
            attack.name(),
            megabytes(effect.memory[0]),
            megabytes(effect.memory[1])
        ));
    }
    Ok(())
}

fn description(attack: Attack) -> String {
    let help = attack.to_possible_value().and_then(|value| value.get_help().map(ToString::to_string));
    help.unwrap_or_default()
}

fn megabytes(bytes: u64) -> u64 {
    bytes / 1_000_000
}

/// Median, least and most.
fn spread(mut values: Vec<f64>) -> (f64, f64, f64) {
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
