//! The tables of TensorBoard's tags, from the list that the event files are written by.

use super::markdown;
use impala_learner::report::series::{self, Tag};
use impala_learner::report::sinks::tensorboard::tags;

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}`") }
}

/// Every series of numbers, and the column of `metrics.csv` that has the same ones.
pub(super) fn scalars() -> String {
    let row = |Tag { name, column, meaning }: Tag| [quoted(name), quoted(column), meaning.to_owned()];
    markdown(["tag", "column of `metrics.csv`", "meaning"], series::scalars().map(row))
}

/// Every series of distributions.
pub(super) fn histograms() -> String {
    let row = |Tag { name, meaning, .. }: Tag| {
        let name = if name.ends_with('/') { format!("{name}<layer>") } else { name.to_owned() };
        [quoted(&name), meaning.to_owned()]
    };
    markdown(["tag", "of what"], tags::histograms().map(row))
}
