//! The tables of metrics, from the tables by which the programs describe them.

use super::markdown;
use impala_common::metric::{Label, Metric, Values};

/// The learner's metrics.
pub(super) fn of_the_learner() -> String {
    table(impala_learner::handover::metrics::TABLE)
}

/// What the learner tells of the GPUs of its machine.
pub(super) fn of_gpus() -> String {
    table(impala_learner::handover::metrics::GPU_TABLE)
}

/// An actor's metrics.
pub(super) fn of_an_actor() -> String {
    table(impala_actor::metrics::TABLE)
}

/// What every process tells of itself.
pub(super) fn of_a_process() -> String {
    table(impala_common::process::probes::PROCESS_TABLE)
}

fn table(metrics: &[Metric]) -> String {
    let row = |metric: &Metric| {
        let meaning = metric.label.map_or(metric.help.to_owned(), |label| format!("{}; {}", metric.help, by(label)));
        [format!("`{}`", metric.name), metric.kind.name().to_owned(), metric.unit.to_owned(), meaning]
    };
    markdown(["name", "kind", "unit", "meaning"], metrics.iter().map(row))
}

fn by(label: Label) -> String {
    let value = |(value, words): &(&str, &str)| match *words {
        "" => format!("`{value}`"),
        words => format!("`{value}` ({words})"),
    };
    let values = match label.values {
        Values::These(values) => values.iter().map(value).collect::<Vec<_>>().join(", "),
        Values::Any(words) => words.to_owned(),
    };
    format!("label `{}`: {values}", label.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_name_kind_unit_help_and_label() {
        let metric =
            Metric::counter("impala_x_total", "things", "Things").by("what", &[("big", ""), ("small", "tiny")]);
        let row = "| `impala_x_total` | counter | things | Things; label `what`: `big`, `small` (tiny) |\n";
        assert!(table(&[metric]).ends_with(row));
    }
}
