//! Makes the reports and hands them to every sink: metrics, the display, `metrics.csv`.

use super::doctor::{Circumstances, Diagnosis, Limit, diagnose};
use super::shares::{RecentShares, Shares, Totals};
use super::sinks::console::Console;
use super::sinks::csv::MetricsCsv;
use super::sinks::prometheus;
use super::{Rates, View};
use crate::handover::admission::PolicyLagGate;
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
    csv: Option<MetricsCsv>,
    console: Option<Console>,
    /// Whether training is over: then nothing limits it any more.
    is_over: bool,
    /// When an actor that works in vain was last told of in the log.
    warned: Option<Instant>,
}

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
        Self { rates, start, recent, csv, console: shows_progress.then(Console::new), is_over: false, warned: None }
    }

    /// The display ends and nothing more is written; metrics go on. Tells whether there was a display.
    pub(crate) fn end(&mut self) -> bool {
        (self.csv, self.is_over) = (None, true);
        self.console.take().inspect(Console::clear).is_some()
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
        if let Some(console) = &mut self.console {
            console.show(&view);
        }
        let is_last = progress.ended().is_some();
        let csv = self.csv.as_mut().filter(|csv| is_last || csv.is_due(progress.elapsed()));
        let written = csv.map_or(Ok(()), |csv| csv.append(&view));
        if let Err(error) = written {
            tracing::warn!(%error, "cannot write metrics.csv any more; the training goes on");
            self.csv = None;
        }
    }
}
