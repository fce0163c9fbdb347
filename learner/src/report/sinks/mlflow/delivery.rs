//! The thread's work: takes what the run has told out of the outbox and sends it, again and again until it is there or refused.

use super::api::batch::{Batch, METRICS_MAX, Metric};
use super::api::error::{ApiError, readable};
use super::api::{Client, Status};
use super::introduction::Introduction;
use super::now;
use super::opening::{OpenRun, Opening};
use super::outbox::{Conclusion, Outbox, Told};
use super::troubles::Troubles;
use crate::report::series::{ROWS, Scalar};
use crate::run::resume::CONFIG_FILE;
use rand::RngExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Troubles that are over after less than this were none.
const TOLD_FROM: Duration = Duration::from_secs(1);
/// How often a file is tried: a server that takes rows and no files is nothing that passes.
const FILE_TRIES: u32 = 3;

/// How long things take. In tests shorter.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// Rows are gathered for so long before they are sent.
    pub(super) gather: Duration,
    /// A request may take so long.
    pub(super) request_max: Duration,
    /// Before the second try.
    pub(super) pause_first: Duration,
    /// The longest between two tries.
    pub(super) pause_max: Duration,
}

impl Times {
    /// Of a run. An answer takes some hundredths of a second, but seconds where the server's machine is overloaded: a request that is given
    /// up is made again, and would be one more that it has to bear.
    pub(super) const REAL: Self = Self {
        gather: Duration::from_secs(2),
        request_max: Duration::from_secs(30),
        pause_first: Duration::from_millis(500),
        pause_max: Duration::from_secs(30),
    };
}

/// The last words of a run.
#[derive(Debug)]
pub(super) struct Farewell {
    pub(super) status: Status,
    pub(super) files: Vec<PathBuf>,
}

/// Sends what one process tells of a run.
#[derive(Debug)]
pub(super) struct Delivery {
    client: Client,
    outbox: Arc<Outbox>,
    times: Times,
    opening: Opening,
    run: Option<OpenRun>,
    directory: PathBuf,
    troubles: Troubles,
}

impl Delivery {
    pub(super) fn new(client: Client, outbox: Arc<Outbox>, introduction: Introduction, times: Times) -> Self {
        let (directory, opening) = (introduction.directory.clone(), Opening::new(introduction));
        Self { client, outbox, times, opening, run: None, directory, troubles: Troubles::default() }
    }

    /// Works until the run has said its last words; tells `settled` when only these are left.
    pub(super) async fn work(mut self, settled: oneshot::Sender<()>, farewell: oneshot::Receiver<Farewell>) {
        self.begin().await;
        self.send_rows().await;
        let Conclusion { results, files } = self.outbox.take_conclusion().unwrap_or_default();
        let sent = self.send_metrics("send the results", results).await;
        self.outbox.note(|account| account.results_sent = sent);
        for file in files {
            self.send_file(&file).await;
        }
        // Whoever waits no longer says no last words either.
        let _ = settled.send(());
        let Ok(Farewell { status, files }) = farewell.await else { return };
        for file in files {
            self.send_file(&file).await;
        }
        let end = now();
        let update =
            async |client: &Client, run: &OpenRun| client.update_run(&run.tracked.run_id, status, Some(end)).await;
        if let Err(error) = self.persist("tell the end of the run", None, update).await {
            self.outbox.note(|account| account.end_lost = Some(error.to_string()));
        }
    }

    /// A run is there, with its configuration, before it has anything to tell. The configuration has another chance at the end.
    async fn begin(&mut self) {
        self.try_file(&self.directory.join(CONFIG_FILE), 1).await;
    }

    /// Sends rows until the run is over and none is left.
    async fn send_rows(&mut self) {
        loop {
            self.outbox.gather(self.times.gather).await;
            let is_over = self.outbox.is_over();
            let rows = self.outbox.take();
            if rows.is_empty() && is_over {
                return;
            }
            let count = rows.len() as u64;
            let of_row = |Told { timestamp, row }: &Told| metrics(ROWS, row, row.frames, *timestamp);
            let metrics = rows.iter().flat_map(of_row).collect();
            let sent = self.send_metrics("send rows", metrics).await;
            self.outbox.note(|account| match sent {
                true => account.rows_sent += count,
                false => account.rows_lost += count,
            });
        }
    }

    /// Tells whether the server took them; no request is made for none.
    async fn send_metrics(&mut self, what: &str, metrics: Vec<Metric>) -> bool {
        assert!(metrics.len() <= METRICS_MAX, "a request has too many metrics");
        if metrics.is_empty() {
            return true;
        }
        let batch = Batch { metrics, ..Batch::default() };
        let log = async |client: &Client, run: &OpenRun| client.log(&run.tracked.run_id, &batch).await;
        self.persist(what, None, log).await.is_ok()
    }

    /// Sends a file unless it was sent before. One that cannot be does not keep others from being sent.
    async fn send_file(&mut self, path: &Path) {
        let name = name_of(&self.directory, path);
        if !self.outbox.has_sent(&name) && !self.try_file(path, FILE_TRIES).await {
            self.outbox.note(|account| account.files_lost.push(name));
        }
    }

    async fn try_file(&mut self, path: &Path, tries: u32) -> bool {
        let name = name_of(&self.directory, path);
        let upload = async |client: &Client, run: &OpenRun| {
            let place = place(&run.artifact_uri)?;
            client.upload(&place.split('/').chain(name.split('/')).collect::<Vec<_>>(), path).await
        };
        let sent = self.persist(&format!("send {name}"), Some(tries), upload).await.is_ok();
        if sent {
            self.outbox.note(|account| account.files_sent.push(name));
        }
        sent
    }

    /// Tries something with the run, which is opened before, until it is done, refused, or was tried so often; pauses grow meanwhile.
    async fn persist(
        &mut self,
        what: &str,
        tries: Option<u32>,
        attempt: impl AsyncFn(&Client, &OpenRun) -> Result<(), ApiError>,
    ) -> Result<(), ApiError> {
        let mut pause = self.times.pause_first;
        let mut left = tries;
        loop {
            let opened = self.open().await;
            let is_open = opened.is_ok();
            let tried = match opened {
                Ok(run) => attempt(&self.client, &run).await,
                Err(error) => Err(error),
            };
            let Err(error) = tried else {
                self.answered();
                return Ok(());
            };
            self.outbox.note(|account| account.requests_failed += 1);
            // Without a run nothing can be sent, so there is no giving up.
            let is_refused = is_open && !error.may_pass() && !error.needs_help();
            if is_refused && matches!(error, ApiError::Refused { .. }) {
                self.answered();
            }
            let line = match is_refused {
                true => self.troubles.refused(what, &error),
                false => self.troubles.failed(if is_open { what } else { "begin the run" }, &error),
            };
            line.iter().for_each(|line| tracing::warn!("{line}"));
            left = left.map(|left| left - u32::from(is_open));
            if is_refused || left == Some(0) {
                return Err(error);
            }
            let longest = self.times.pause_max;
            let wait = if error.may_pass() { error.wait().unwrap_or(pause).max(pause) } else { longest };
            // So that learners that lost the same server do not return at once.
            let spread = rand::rng().random_range(0.5..=1.0);
            self.outbox.pause(wait.min(longest).mul_f64(spread)).await;
            pause = pause.saturating_mul(2).min(longest);
        }
    }

    async fn open(&mut self) -> Result<OpenRun, ApiError> {
        if let Some(run) = &self.run {
            return Ok(run.clone());
        }
        let run = self.opening.go_on(&self.client).await?;
        let page = run.tracked.page();
        tracing::info!("MLflow: this run is at {page}");
        if let Err(error) = run.tracked.write(&self.directory) {
            tracing::warn!(%error, "MLflow: cannot write down which run it is; if this one is resumed, a new one begins there");
        }
        self.outbox.note(|account| account.page = Some(page));
        Ok(self.run.insert(run).clone())
    }

    /// The server is there.
    fn answered(&mut self) {
        // A single failure was no absence.
        if let Some(time) = self.troubles.over().filter(|time| *time >= TOLD_FROM) {
            let waiting = self.outbox.rows_waiting();
            tracing::info!("MLflow: the server answers again after {:.0} s; {waiting} rows wait", time.as_secs_f64());
        }
    }
}

/// The series that have a number after so many frames.
pub(super) fn metrics<T>(series: &[Scalar<T>], of: &T, frames: u64, timestamp: i64) -> Vec<Metric> {
    let step = i64::try_from(frames).unwrap_or(i64::MAX);
    let metric = |series: &Scalar<T>| {
        let value = (series.value)(of).filter(|value| value.is_finite())?;
        Some(Metric { key: series.tag.name, value, timestamp, step })
    };
    series.iter().filter_map(metric).collect()
}

/// The name under which a file of the run's directory is known there.
pub(super) fn name_of(directory: &Path, path: &Path) -> String {
    let parts = path.strip_prefix(directory).unwrap_or(path).iter().map(|part| part.to_string_lossy());
    parts.collect::<Vec<_>>().join("/")
}

/// Where in the server's own store artefacts lie, by their URI.
fn place(artifact_uri: &str) -> Result<&str, ApiError> {
    let place = artifact_uri.strip_prefix("mlflow-artifacts:");
    // One with a host is that of another server.
    let place = place.filter(|place| !place.starts_with("//") || place.starts_with("///"));
    place.map(|place| place.trim_matches('/')).ok_or_else(|| ApiError::OutOfReach(readable(artifact_uri)))
}
