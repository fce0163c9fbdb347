//! Makes the reports and hands them to every sink: metrics, the display, `metrics.csv`, event files for TensorBoard, an MLflow server, the
//! live view.

use super::doctor::{Circumstances, Diagnosis, Limit, diagnose};
use super::row::Row;
use super::shares::{RecentShares, Shares, Totals};
use super::sinks::console::Console;
use super::sinks::csv::MetricsCsv;
use super::sinks::mlflow::account::Delivered;
use super::sinks::mlflow::{MlflowSink, Remainder};
use super::sinks::prometheus;
use super::sinks::tensorboard::{Preface, TensorBoard};
use super::sinks::web::WebSink;
use super::spacing::Spacing;
use super::summary::Summary;
use super::{Rates, View};
use crate::handover::admission::PolicyLagGate;
use crate::handover::inspection::Inspection;
use crate::handover::ledger::Account;
use crate::handover::progress::Progress;
use crate::run::resume::METRICS_FILE;
use crate::run::run_dir::RunDir;
use std::time::{Duration, Instant};

/// The sinks of a run, and what the next report is compared with.
#[derive(Debug)]
pub(crate) struct Reporter {
    rates: Rates,
    start: Totals,
    recent: RecentShares,
    /// Of what goes into files.
    rows: Spacing,
    csv: Option<MetricsCsv>,
    tensorboard: Option<TensorBoard>,
    mlflow: Option<MlflowSink>,
    web: Option<WebSink>,
    console: Option<Console>,
    /// Whether training is over: then nothing limits it any more.
    is_over: bool,
    /// When an actor that works in vain was last told of in the log.
    warned: Option<Instant>,
}

/// Rows are the time of the run so far by this apart: with one each 0.2 s there are fewer from 2,000 s on, and after a year about
/// 100,000 of 460 bytes.
const ROWS_SHARE: u32 = 10_000;
/// Time between two lines of the log about actors that work in vain.
const WARNING_INTERVAL: Duration = Duration::from_secs(10);

impl Reporter {
    /// For a run in this directory, which may go on with one before.
    pub(crate) fn new(
        run_dir: &RunDir,
        resumes: bool,
        shows_progress: bool,
        progress: &Progress,
        account: &Account,
    ) -> Self {
        let csv = MetricsCsv::open(&run_dir.file(METRICS_FILE), resumes.then_some(progress.frames));
        let csv = csv.inspect_err(|error| tracing::warn!(%error, "cannot open metrics.csv; the training goes on")).ok();
        // What earlier processes of a resumed run did is no part of what is measured here.
        let start = Totals::now(progress, account);
        let (rates, recent) = (Rates::new(progress), RecentShares::new(start));
        Self {
            rates,
            start,
            recent,
            rows: Spacing::new(ROWS_SHARE),
            csv,
            tensorboard: None,
            mlflow: None,
            web: None,
            console: shows_progress.then(Console::new),
            is_over: false,
            warned: None,
        }
    }

    /// Writes an event file for TensorBoard too.
    #[must_use]
    pub(crate) fn with_tensorboard(
        self,
        run_dir: &RunDir,
        progress: &Progress,
        preface: &Preface,
        inspection: Inspection,
    ) -> Self {
        let tensorboard = TensorBoard::create(run_dir.path(), progress, preface, inspection).inspect_err(
            |error| tracing::warn!(%error, "cannot write an event file for TensorBoard; the training goes on"),
        );
        Self { tensorboard: tensorboard.ok(), ..self }
    }

    /// Tells an MLflow server of the run, too.
    #[must_use]
    pub(crate) fn with_mlflow(self, mlflow: Option<MlflowSink>) -> Self {
        Self { mlflow, ..self }
    }

    /// Tells the run to whoever looks at it in a browser, too.
    #[must_use]
    pub(crate) fn with_web(self, web: Option<WebSink>) -> Self {
        Self { web, ..self }
    }

    /// The display ends and nothing more is written; metrics go on. Tells whether there was a display.
    pub(crate) fn end(&mut self) -> bool {
        (self.csv, self.is_over) = (None, true);
        self.console.take().inspect(Console::clear).is_some()
    }

    /// Writes what the run came to, where results are compared. Gives what is left to send to an MLflow server.
    pub(crate) fn conclude(&mut self, results: &Summary) -> Option<Remainder> {
        let tensorboard = self.tensorboard.take();
        if let Some(Err(error)) = tensorboard.map(|mut tensorboard| tensorboard.conclude(results)) {
            tracing::warn!(%error, "the event file for TensorBoard has no results");
        }
        self.mlflow.as_mut().and_then(|mlflow| mlflow.conclude(results))
    }

    /// Where the time went since the first batch.
    pub(crate) fn shares(&self, progress: &Progress, account: &Account) -> Shares {
        Shares::between(&self.start, &Totals::now(progress, account))
    }

    /// Clears the display.
    pub(crate) fn clear(&self) {
        self.console.iter().for_each(Console::clear);
    }

    /// Tells everybody how the run stands.
    pub(crate) fn report(
        &mut self,
        progress: &Progress,
        account: Account,
        actors_connected: usize,
        gate: &PolicyLagGate,
        circumstances: &Circumstances,
        time_left: Duration,
    ) {
        if progress.first_batch().is_none() {
            // How busy the machine was before the first batch says nothing about the run.
            self.start = Totals::now(progress, &account);
            self.recent = RecentShares::new(self.start);
        }
        let (frames_per_second, busy) = self.rates.update(progress);
        let shares = self.recent.update(Totals::now(progress, &account));
        let diagnosis = &if self.is_over { Diagnosis::default() } else { diagnose(&shares, circumstances) };
        if diagnosis.limit == Limit::ActorInVain && self.warned.is_none_or(|last| last.elapsed() >= WARNING_INTERVAL) {
            self.warned = Some(Instant::now());
            tracing::warn!("{}", diagnosis.sentence);
        }
        let view = View {
            progress,
            account,
            actors_connected,
            frames_per_second,
            busy,
            shares,
            diagnosis,
            laggards: &circumstances.laggards,
            time_left,
        };
        prometheus::report(&view, gate);
        match &self.mlflow {
            Some(mlflow) => mlflow.read(prometheus::report_tracker),
            None => prometheus::report_tracker(&Delivered::default()),
        }
        if let Some(web) = &self.web {
            web.tell(&view);
        }
        if let Some(console) = &mut self.console {
            console.show(&view);
        }
        let is_last = progress.ended().is_some();
        if is_last || self.rows.is_due(progress.elapsed()) {
            self.rows.mark(progress.elapsed());
            self.write_row(&Row::of(&view), progress, is_last);
        }
    }

    /// A file that cannot be written is done without from then on.
    fn write_row(&mut self, row: &Row, progress: &Progress, is_last: bool) {
        if let Some(Err(error)) = self.csv.as_mut().map(|csv| csv.append(row)) {
            tracing::warn!(%error, "cannot write metrics.csv any more; the training goes on");
            self.csv = None;
        }
        let tensorboard = self.tensorboard.as_mut();
        if let Some(Err(error)) = tensorboard.map(|tensorboard| tensorboard.append(row, progress, is_last)) {
            tracing::warn!(%error, "cannot write the event file for TensorBoard any more; the training goes on");
            self.tensorboard = None;
        }
        if let Some(mlflow) = &self.mlflow {
            mlflow.append(row);
        }
    }
}
