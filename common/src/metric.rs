//! How a metric is declared. Each program's crate has one table of these (its `metrics.rs`); what the exporter tells about a
//! metric and the manual's table of metrics (`docs/metrics.md`) are both written from it.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram};

/// The kinds of metric that Prometheus tells apart here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts observations in buckets.
    Histogram,
}

impl Kind {
    /// The name as documents write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A label that splits a metric into several series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The label's name.
    pub name: &'static str,
    /// What it may be.
    pub values: Values,
}

/// The values of a label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// Every value that occurs, with a few words on those that do not explain themselves.
    These(&'static [(&'static str, &'static str)]),
    /// As many as the machine has of something, in words; never as many as there are peers.
    Any(&'static str),
}

/// A metric: what it is called and what a reader must know to use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `impala_<process>_<quantity>_<unit>`.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
    /// The unit as a person would write it, `s` or `frames/s`; `1` for a pure number.
    pub unit: &'static str,
    /// What it measures, one sentence without a full stop.
    pub help: &'static str,
    /// The label, of those that have one.
    pub label: Option<Label>,
}

impl Metric {
    /// A metric that only grows.
    pub const fn counter(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, unit, help, label: None }
    }

    /// A metric that goes up and down.
    pub const fn gauge(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, unit, help, label: None }
    }

    /// A metric that counts observations in buckets.
    pub const fn histogram(name: &'static str, unit: &'static str, help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, unit, help, label: None }
    }

    /// The same metric with one series for each value of a label.
    #[must_use]
    pub const fn by(self, name: &'static str, values: &'static [(&'static str, &'static str)]) -> Self {
        Self { label: Some(Label { name, values: Values::These(values) }), ..self }
    }

    /// The same metric with one series for each of what the machine has, whose values the words describe.
    #[must_use]
    pub const fn by_any(self, name: &'static str, words: &'static str) -> Self {
        Self { label: Some(Label { name, values: Values::Any(words) }), ..self }
    }

    /// The help text of the Prometheus endpoint, which has no place of its own for the label.
    fn exported_help(&self) -> String {
        let Some(label) = self.label else { return self.help.to_owned() };
        let value = |(value, words): &(&str, &str)| match *words {
            "" => (*value).to_owned(),
            words => format!("{value} ({words})"),
        };
        let values = match label.values {
            Values::These(values) => values.iter().map(value).collect::<Vec<_>>().join(", "),
            Values::Any(words) => words.to_owned(),
        };
        format!("{}; by {}: {values}", self.help, label.name)
    }

    /// The nearest unit that the recorder knows.
    fn recorder_unit(&self) -> Unit {
        match self.unit {
            "s" => Unit::Seconds,
            "bytes" => Unit::Bytes,
            "frames/s" => Unit::CountPerSecond,
            _ => Unit::Count,
        }
    }
}

/// Tells the installed recorder help and unit of every metric of a table.
pub fn describe(table: &[Metric]) {
    for metric in table {
        let (name, unit, help) = (metric.name, metric.recorder_unit(), metric.exported_help());
        match metric.kind {
            Kind::Counter => describe_counter!(name, unit, help),
            Kind::Gauge => describe_gauge!(name, unit, help),
            Kind::Histogram => describe_histogram!(name, unit, help),
        }
    }
}

/// Lets every counter of a table whose series are known appear with 0 before anything is counted, so that rates are right from
/// the first scrape.
pub fn start_counters(table: &[Metric]) {
    for metric in table.iter().filter(|metric| metric.kind == Kind::Counter) {
        match metric.label {
            None => counter!(metric.name).increment(0),
            Some(Label { name, values: Values::These(values) }) => {
                values.iter().for_each(|(value, _)| counter!(metric.name, name => *value).increment(0));
            }
            Some(Label { values: Values::Any(_), .. }) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exported_help_tells_the_label_and_its_values() {
        let values = &[("written", ""), ("skipped", "another was being written")];
        let metric = Metric::counter("impala_x_checkpoints_total", "checkpoints", "Checkpoints").by("result", values);
        let expected = "Checkpoints; by result: written, skipped (another was being written)";
        assert_eq!(metric.exported_help(), expected);
        let metric = Metric::gauge("impala_x_gpu_watts", "W", "Power").by_any("gpu", "its number");
        assert_eq!(metric.exported_help(), "Power; by gpu: its number");
        assert_eq!(Metric::gauge("impala_x_loss", "1", "Loss").exported_help(), "Loss");
    }
}
