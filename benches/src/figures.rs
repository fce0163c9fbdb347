//! Samples become figures: medians with their spread beside a target, as a Markdown table and as JSON.

use crate::machine::Machine;
use serde::{Deserialize, Serialize};

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    /// Environment steps in a second.
    #[serde(rename = "frames/s")]
    FramesPerSecond,
    /// Of the parameters as `f32`.
    #[serde(rename = "MB/s")]
    MegabytesPerSecond,
    /// One size or rate over another.
    #[serde(rename = "x")]
    Ratio,
    /// Part of a whole, 0 to 1.
    #[serde(rename = "share")]
    Share,
    /// 10^6 bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// Megabytes a minute, of growing memory.
    #[serde(rename = "MB/min")]
    MegabytesPerMinute,
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Time for one environment step.
    #[serde(rename = "ns/frame")]
    NanosecondsPerFrame,
    /// Versions of the weights.
    #[serde(rename = "updates")]
    Updates,
}

/// What a figure should reach.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Met by this value or a larger one.
    AtLeast(f64),
    /// Met by this value or a smaller one.
    AtMost(f64),
}

/// One measurement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// What was measured; samples of one name are repeats.
    pub name: String,
    /// Unit of the value and of the target.
    pub unit: Unit,
    /// What was measured.
    pub value: f64,
    /// What the value should reach, of those that have a target.
    pub target: Option<Target>,
}

impl Sample {
    /// A sample without a target.
    pub fn new(name: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { name: name.into(), unit, value, target: None }
    }

    /// The same with a target.
    #[must_use]
    pub fn with_target(self, target: Option<Target>) -> Self {
        Self { target, ..self }
    }
}

/// The value of the first sample of this name.
pub fn value(samples: &[Sample], name: &str) -> Option<f64> {
    samples.iter().find(|sample| sample.name == name).map(|sample| sample.value)
}

/// The repeats of one measurement.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Unit of every value and of the target.
    pub unit: Unit,
    /// Middle value; of an even number the mean of the two in the middle.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// What the median should reach.
    pub target: Option<Target>,
    /// Median over target.
    pub ratio: Option<f64>,
    /// Whether the median reaches the target, of those that have one.
    pub is_met: Option<bool>,
    /// In the order in which they were measured.
    pub values: Vec<f64>,
}

/// Gathers samples of one name, in the order in which names first appear.
pub fn figures(samples: &[Sample]) -> Vec<Figure> {
    let mut names: Vec<&Sample> = Vec::new();
    for sample in samples {
        if !names.iter().any(|known| known.name == sample.name) {
            names.push(sample);
        }
    }
    let figure = |first: &Sample| {
        let values = samples.iter().filter(|sample| sample.name == first.name).map(|sample| sample.value).collect();
        Figure::new(first, values)
    };
    names.into_iter().map(figure).collect()
}

impl Figure {
    fn new(sample: &Sample, values: Vec<f64>) -> Self {
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (n, target) = (sorted.len(), sample.target);
        let median = (sorted[(n - 1) / 2] + sorted[n / 2]) / 2.0;
        let ratio = target.map(|(Target::AtLeast(bound) | Target::AtMost(bound))| median / bound);
        let is_met = target.map(|target| match target {
            Target::AtLeast(bound) => median >= bound,
            Target::AtMost(bound) => median <= bound,
        });
        let (min, max) = (sorted[0], sorted[n - 1]);
        Self { name: sample.name.clone(), unit: sample.unit, median, min, max, target, ratio, is_met, values }
    }

    fn row(&self) -> String {
        let Self { name, unit, .. } = self;
        let show = |value| unit.show(value);
        let target = self.target.map_or("-".into(), |target| match target {
            Target::AtLeast(bound) => format!(">= {}", show(bound)),
            Target::AtMost(bound) => format!("<= {}", show(bound)),
        });
        let ratio = self.ratio.map_or("-".into(), |ratio| format!("{ratio:.2}"));
        let met = self.is_met.map_or("-", |is_met| if is_met { "yes" } else { "no" });
        let (median, min, max) = (show(self.median), unit.number(self.min), unit.number(self.max));
        format!("| {name} | {median} | {min} to {max} | {target} | {ratio} | {met} |")
    }
}

impl Unit {
    /// A value, followed by its unit.
    pub fn show(self, value: f64) -> String {
        format!("{} {}", self.number(value), self.name())
    }

    fn number(self, value: f64) -> String {
        match self {
            Self::FramesPerSecond => match value {
                few @ ..1e3 => format!("{few:.0}"),
                some @ ..1e6 => format!("{} k", three_digits(some / 1e3)),
                many => format!("{} M", three_digits(many / 1e6)),
            },
            Self::Share if value < 0.01 => format!("{:.4}", 100.0 * value),
            Self::Share => format!("{:.1}", 100.0 * value),
            Self::MegabytesPerSecond | Self::NanosecondsPerFrame => format!("{value:.0}"),
            Self::Updates | Self::Megabytes => format!("{value:.1}"),
            Self::Ratio | Self::MegabytesPerMinute | Self::Milliseconds => format!("{value:.2}"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::FramesPerSecond => "frames/s",
            Self::MegabytesPerSecond => "MB/s",
            Self::Ratio => "x",
            Self::Share => "%",
            Self::Megabytes => "MB",
            Self::MegabytesPerMinute => "MB/min",
            Self::Milliseconds => "ms",
            Self::NanosecondsPerFrame => "ns/frame",
            Self::Updates => "updates",
        }
    }
}

/// Of a number from 1 to 1000, as many digits as the spread of a measurement lets mean something.
fn three_digits(value: f64) -> String {
    match value {
        ..10.0 => format!("{value:.2}"),
        ..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The table and, in a line before it, where it was measured.
pub fn markdown(machine: &Machine, repeats: usize, figures: &[Figure]) -> String {
    let Machine { cpu, cores, others, date, commit } = machine;
    let others = Unit::Share.show(*others);
    let mut text = format!(
        "{date}, {cpu}, {cores} cores, {others} taken by others, commit {commit}; median and range of {repeats} repeats\n\n"
    );
    text.push_str("| measured | median | range | target | of target | met |\n|---|---|---|---|---|---|\n");
    figures.iter().for_each(|figure| text.push_str(&format!("{}\n", figure.row())));
    text
}

/// The table as JSON, for scripts.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// Where it was measured.
    pub machine: &'a Machine,
    /// The command line, with its flags.
    pub command: Vec<String>,
    /// What was measured.
    pub figures: &'a [Figure],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_become_a_median_with_its_range_and_target() {
        let sample =
            |value| Sample::new("path", Unit::FramesPerSecond, value).with_target(Some(Target::AtLeast(1_000_000.0)));
        let samples = [sample(1_250_000.0), Sample::new("size", Unit::Megabytes, 3.0), sample(1e6), sample(2e6)];
        let figures = figures(&samples);
        let row = figures[0].row();
        let expected = "| path | 1.25 M frames/s | 1.00 M to 2.00 M | >= 1.00 M frames/s | 1.25 | yes |";
        assert_eq!(row, expected);
        assert_eq!(figures[1].row(), "| size | 3.0 MB | 3.0 to 3.0 | - | - | - |");
    }

    #[test]
    fn a_bound_from_above_is_met_below_it() {
        let sample = Sample::new("memory", Unit::Megabytes, 200.0).with_target(Some(Target::AtMost(150.0)));
        assert_eq!(Figure::new(&sample, vec![200.0]).is_met, Some(false));
        assert_eq!(Figure::new(&sample, vec![100.0, 120.0]).is_met, Some(true));
    }
}
