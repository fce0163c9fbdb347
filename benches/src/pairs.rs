//! The programs of two commits side by side: every row is measured of both in every round, one right after the other, the
//! one that goes first changing with the rounds. Only public flags are used, so that either side may be older or newer than
//! this program.

mod rows;

use crate::figures::{Sample, Unit};
use crate::note;
use crate::ratio::{Ratio, median};
use anyhow::ensure;
pub use rows::{ROWS, Row};
use std::path::PathBuf;
use std::time::Duration;

/// The built programs of one commit.
#[derive(Clone, Debug)]
pub struct Side {
    /// Holds `impala`, and for some rows `ladder`, `impala-learner` and `impala-actor`.
    pub directory: PathBuf,
    /// Length of each whole run.
    pub run_time: Duration,
    /// Seconds for each figure of a single path.
    pub seconds: f64,
}

/// The samples of both sides in one round.
type Round = [Vec<Sample>; 2];

/// Measures all rows so many times.
///
/// # Errors
/// Whatever keeps a row from being measured, with the side that it was.
pub fn measure(sides: &[Side; 2], rows: &[&Row], rounds: usize) -> anyhow::Result<Vec<Round>> {
    let mut all = Vec::new();
    for round in 0..rounds {
        let mut samples: Round = [Vec::new(), Vec::new()];
        for row in rows.iter().filter(|row| round == 0 || !row.is_constant) {
            for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
                let directory = sides[side].directory.display();
                note(&format!("round {} of {rounds}: {} of {directory}", round + 1, row.name));
                let measured = (row.measure)(&sides[side]).map_err(|error| error.context(format!("in {directory}")))?;
                for Sample { name, unit, value, .. } in &measured {
                    note(&format!("    {name}: {}", unit.show(*value)));
                }
                samples[side].extend(measured);
            }
        }
        for samples in &mut samples {
            samples.extend(rows::shares(samples));
        }
        all.push(samples);
    }
    Ok(all)
}

/// Rows of these names, all without any.
///
/// # Errors
/// A name that no row has.
pub fn rows(names: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let known: Vec<_> = ROWS.iter().map(|row| row.name).collect();
    for name in names {
        ensure!(known.contains(&name.as_str()), "no row is called `{name}`: choose from {}", known.join(", "));
    }
    Ok(ROWS.iter().filter(|row| names.is_empty() || names.iter().any(|name| name == row.name)).collect())
}

/// Medians of both sides and the median of the rounds' ratios, with its interval.
pub fn markdown(rounds: &[Round]) -> String {
    let mut text = String::from("| measured | before | after | after / before | 95 % interval | rounds |\n");
    text.push_str("|---|---|---|---|---|---|\n");
    // The first round has every figure.
    for Sample { name, unit, .. } in rounds.first().map_or(&[][..], |[before, _]| before) {
        let value = |samples: &[Sample]| samples.iter().find(|sample| sample.name == *name).map(|sample| sample.value);
        let pairs: Vec<(f64, f64)> =
            rounds.iter().filter_map(|[before, after]| Some((value(before)?, value(after)?))).collect();
        text.push_str(&line(name, *unit, &pairs));
    }
    text
}

fn line(name: &str, unit: Unit, pairs: &[(f64, f64)]) -> String {
    let (before, after): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    let [before, after] = [before, after].map(|values| median(&values).map_or("-".into(), |value| unit.show(value)));
    let ratio = Ratio::of(pairs);
    let interval = ratio.and_then(|ratio| ratio.interval);
    let interval = interval.map_or("-".into(), |(low, high)| format!("{low:.3} to {high:.3}"));
    let ratio = ratio.map_or("-".into(), |ratio| format!("{:.3}", ratio.median));
    format!("| {name} | {before} | {after} | {ratio} | {interval} | {} |\n", pairs.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_become_medians_and_the_median_of_their_ratios() {
        let side = |rate: f64, size: Option<f64>| {
            let rate = Sample::new("rate", Unit::FramesPerSecond, rate);
            [Some(rate), size.map(|size| Sample::new("size", Unit::Megabytes, size))].into_iter().flatten().collect()
        };
        let rounds = [
            [side(100.0, Some(3.0)), side(200.0, Some(6.0))],
            [side(10.0, None), side(20.0, None)],
            [side(500.0, None), side(1000.0, None)],
        ];
        let text = markdown(&rounds);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "| rate | 100 frames/s | 200 frames/s | 2.000 | 2.000 to 2.000 | 3 |");
        assert_eq!(lines[1], "| size | 3.0 MB | 6.0 MB | 2.000 | - | 1 |");
    }

    #[test]
    fn an_unknown_row_is_refused_with_the_known_ones() {
        let error = rows(&["defaults".into(), "nonsense".into()]).err().unwrap().to_string();
        assert!(error.contains("nonsense") && error.contains("throughput"), "{error}");
    }
}
