//! Event files for TensorBoard: the numbers of `metrics.csv` as scalars, histograms of lags, returns, parameters and gradients, the
//! settings as hyperparameters with what came of them, and the configuration as text. [`series`](crate::report::series) and [`tags`] say what
//! there is.
//!
//! Every process of a run writes a file of its own, whose first events say from which step on the earlier files do not count any more. The
//! step of an event is the number of frames trained.

mod file;
mod histograms;
mod hparams;
pub mod messages;
mod records;
pub mod tags;

use crate::config::Config;
use crate::config::hyperparameters::Hyperparameter;
use crate::handover::inspection::{Inspection, Look};
use crate::handover::progress::{LagHistogram, Progress};
use crate::learn::histogram::Histogram;
use crate::report::row::Row;
use crate::report::series::{RESULTS, ROWS, Scalar, Tag};
use crate::report::spacing::Spacing;
use crate::report::summary::Summary;
use file::EventFile;
use messages::{Content, DataClass, DataType, Metadata, Plugin, SessionLog, SessionStatus, Tensor, Value, What};
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::time::Duration;
use tags::{CONFIG, GRADIENT, LAGS, PARAMETERS, RETURNS};

/// Rows are the time of the run so far by this apart, of those that `metrics.csv` has: with one each 0.2 s there are fewer from 400 s on,
/// and after a day 13,000 of 1 kB. TensorBoard shows a thousand of a series.
const ROWS_SHARE: u32 = 2_000;
/// The same for histograms: after a day 700 of some 17 kB for the default network. TensorBoard shows a hundred of a series.
const LOOKS_SHARE: u32 = 100;
/// Time between two looks at the network in any case.
const LOOKS_APART: Duration = Duration::from_secs(2);
/// And so many times the time that the trainer spent on the last one: of its time, looks take a five-hundredth at most.
const LOOK_COSTS: u32 = 500;

/// What the first events of a file tell.
#[derive(Debug)]
pub(crate) struct Preface {
    hyperparameters: Vec<Hyperparameter>,
    config: String,
}

impl Preface {
    /// Of a run with these settings.
    pub(crate) fn new(config: &Config) -> Self {
        Self { hyperparameters: config.hyperparameters(), config: config.record() }
    }
}

/// Writes the event file of one process.
#[derive(Debug)]
pub(crate) struct TensorBoard {
    file: EventFile,
    rows: Spacing,
    looks: Spacing,
    inspection: Inspection,
    /// As of the histograms before.
    lag: LagHistogram,
    /// Tags whose series have been described.
    described: HashSet<String>,
}

impl TensorBoard {
    /// Begins a file in the run's directory, of a run that stands at this progress. Looks at the network come from `inspection`.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn create(
        directory: &Path,
        progress: &Progress,
        preface: &Preface,
        inspection: Inspection,
    ) -> io::Result<Self> {
        let mut tensorboard = Self {
            file: EventFile::create(directory)?,
            rows: Spacing::new(ROWS_SHARE),
            looks: Spacing::new(LOOKS_SHARE).at_least(LOOKS_APART),
            inspection,
            lag: progress.lag.clone(),
            described: HashSet::new(),
        };
        let Preface { hyperparameters, config } = preface;
        let values = vec![
            tensorboard.config_text(config),
            hparams::experiment(hyperparameters),
            hparams::session_start(hyperparameters),
        ];
        let start = What::SessionLog(SessionLog { status: SessionStatus::Start.into() });
        tensorboard.file.append([(progress.frames, start), (progress.frames, summary(values))])?;
        Ok(tensorboard)
    }

    /// Writes a row if one is due, as the last of a run always is, and with it the looks that were left since the row before; asks for the
    /// next look when that is due.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn append(&mut self, row: &Row, progress: &Progress, is_last: bool) -> io::Result<()> {
        let elapsed = progress.elapsed();
        if !is_last && !self.rows.is_due(elapsed) {
            return Ok(());
        }
        self.rows.mark(elapsed);
        let scalars = self.scalars(ROWS, row);
        let mut events = vec![(row.frames, summary(scalars))];
        for look in self.inspection.take() {
            self.looks.set_least(LOOKS_APART.max(look.took.saturating_mul(LOOK_COSTS)));
            let frames = look.frames;
            events.push((frames, summary(self.histograms(look))));
        }
        // A look may have been left before the row's numbers were read, or after.
        events.sort_by_key(|(step, _)| *step);
        if self.looks.is_due(elapsed) {
            self.looks.mark(elapsed);
            self.inspection.ask();
        }
        self.file.append(events)
    }

    /// Writes what the run came to. Nothing is to follow it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn conclude(&mut self, results: &Summary) -> io::Result<()> {
        let mut values = self.scalars(RESULTS, results);
        values.extend(hparams::session_end(&results.end));
        self.file.append([(results.frames, summary(values))])
    }

    fn scalars<T>(&mut self, table: &[Scalar<T>], of: &T) -> Vec<Value> {
        let value = |Scalar { tag, value }: &Scalar<T>| {
            let content = Content::Scalar(value(of)? as f32);
            Some(self.value(tag, tag.name.into(), ("scalars", DataClass::Scalar), content))
        };
        table.iter().filter_map(value).collect()
    }

    fn histograms(&mut self, look: Look) -> Vec<Value> {
        let lags = histograms::lags_between(&self.lag, &look.lag);
        self.lag = look.lag;
        let single = [(&RETURNS, look.returns), (&LAGS, lags)];
        let single = single.into_iter().filter_map(|(tag, histogram)| Some((tag, String::new(), histogram?)));
        let blocks = [(&PARAMETERS, look.parameters), (&GRADIENT, look.gradient)];
        let blocks =
            blocks.into_iter().flat_map(|(tag, blocks)| blocks.into_iter().map(move |(name, h)| (tag, name, h)));
        let value = |(tag, block, histogram): (&Tag, String, Histogram)| {
            let content = Content::Histogram(histograms::message(&histogram));
            self.value(tag, format!("{}{block}", tag.name), ("histograms", DataClass::Tensor), content)
        };
        single.chain(blocks).map(value).collect()
    }

    /// The configuration, indented: that is a block of code in Markdown, whatever stands in it.
    fn config_text(&mut self, config: &str) -> Value {
        let markdown: String = config.lines().map(|line| format!("    {line}\n")).collect();
        let content = Content::Tensor(Tensor {
            data_type: DataType::String.into(),
            strings: vec![markdown.into_bytes()],
            ..Tensor::default()
        });
        self.value(&CONFIG, CONFIG.name.into(), ("text", DataClass::Tensor), content)
    }

    /// A value; the first of a series with what it means.
    fn value(&mut self, tag: &Tag, name: String, (plugin, class): (&str, DataClass), content: Content) -> Value {
        let is_new = !self.described.contains(&name) && self.described.insert(name.clone());
        let metadata = is_new.then(|| Metadata {
            plugin: Some(Plugin { name: plugin.into(), content: Vec::new() }),
            description: tag.meaning.into(),
            data_class: class.into(),
        });
        Value { tag: name, metadata, content: Some(content) }
    }
}

fn summary(values: Vec<Value>) -> What {
    What::Summary(messages::Summary { values })
}

#[cfg(test)]
mod tests;
