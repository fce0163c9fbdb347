//! An MLflow server: settings, the numbers of `metrics.csv` under TensorBoard's names, the files that a run leaves, and how it ended.
//!
//! A thread of its own sends what the reports put into an outbox, so a server that is slow or absent holds up nobody. What it could not
//! take is sent when it is back, as far as there is room to keep it; what is not sent in the end is counted and said. A request that is made
//! again after its answer was lost changes nothing where the server has a database, as by default: that has a value of a series at a moment
//! once. One that keeps runs in files (`mlruns`) appends a line for each value that it is told, and there such a value stands twice.

pub mod account;
mod api;
mod delivery;
mod introduction;
mod opening;
mod outbox;
mod troubles;

use crate::config::Config;
use crate::learn::compute::ComputeDevice;
use crate::report::row::Row;
use crate::report::series::{RESULTS, ROWS};
use crate::report::summary::{RunEnd, Summary};
use crate::run::resume::CONFIG_FILE;
use crate::run::run_dir::{MODEL_FILE, RENDERS_DIRECTORY, RunDir};
use account::Delivered;
use api::batch::METRICS_MAX;
use api::credentials::{Credentials, Unusable};
use api::{Client, Status};
use delivery::{Delivery, Farewell, Times, metrics, name_of};
use impala_common::process::{surroundings, threads};
use introduction::Introduction;
use outbox::{Conclusion, Outbox, ROWS_MAX, Told};
use std::cmp::Reverse;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;

/// Files that a run has left when it says its last words, besides the episodes that it kept, and pictures and pages that somebody put
/// into its directory.
const FILES: [&str; 3] = [CONFIG_FILE, MODEL_FILE, "learning_curve.svg"];
/// Files that follow these: they tell what became of the others.
const LAST_FILES: [&str; 2] = ["summary.txt", "summary.json"];
/// What somebody rendered of the run and kept beside it.
const RENDERED: [&str; 4] = ["gif", "png", "svg", "html"];
/// Pictures and pages that are sent, the newest: a run may keep thousands of episodes, and has seconds at its end.
const PICTURES_MAX: usize = 20;

/// Refuses credentials in the environment that no request can carry, before a run begins that would be told with them.
///
/// # Errors
/// Names the variable, and not its value.
pub(crate) fn check_credentials() -> Result<(), Unusable> {
    Credentials::from_environment().map(drop)
}

/// Tells a server of one run.
#[derive(Debug)]
pub(crate) struct MlflowSink {
    outbox: Arc<Outbox>,
    directory: PathBuf,
    begun: Instant,
    sender: Option<Sender>,
}

/// The thread that sends.
#[derive(Debug)]
struct Sender {
    settled: oneshot::Receiver<()>,
    /// Said once.
    farewell: Option<oneshot::Sender<Farewell>>,
    /// Closed when the thread has come to its end.
    ended: oneshot::Receiver<()>,
    /// Dropped, it ends the thread.
    gives_up: DropGuard,
}

impl Sender {
    /// Ends the thread, so that nothing is sent after this.
    async fn give_up(self) {
        drop(self.gives_up);
        // It waits for nothing then, unless it is for a disk that does not answer.
        let _ = timeout(GIVING_UP, self.ended).await;
    }
}

/// What is left to send of a run that is over.
#[derive(Debug)]
pub(crate) struct Remainder {
    outbox: Arc<Outbox>,
    directory: PathBuf,
    files: Vec<PathBuf>,
    /// Nothing where it was given up.
    sender: Option<Sender>,
    deadline: Instant,
}

impl MlflowSink {
    /// Begins to tell the server of a run in this directory, which may go on with one before.
    ///
    /// # Errors
    /// There is no way to ask the server at all.
    pub(crate) fn start(
        server: &Url,
        config: &Config,
        run_dir: &RunDir,
        device: &ComputeDevice,
        resumes: bool,
    ) -> io::Result<Self> {
        let introduction = Introduction::new(config, run_dir, device, resumes);
        let credentials = Credentials::from_environment().map_err(io::Error::other)?;
        let client = Client::new(server.clone(), credentials, Times::REAL.request_max).map_err(io::Error::other)?;
        Self::with(client, introduction, Times::REAL)
    }

    fn with(client: Client, introduction: Introduction, times: Times) -> io::Result<Self> {
        let outbox = Arc::new(Outbox::new(METRICS_MAX / ROWS.len(), ROWS_MAX));
        let directory = introduction.directory.clone();
        let delivery = Delivery::new(client, outbox.clone(), introduction, times);
        // Everything that waits here waits for a socket or a time, and a look-up of a name has a thread of its own.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build()?;
        let gives_up = CancellationToken::new();
        let ((tell_settled, settled), (farewell, last_words)) = (oneshot::channel(), oneshot::channel());
        let (end, ended) = oneshot::channel::<()>();
        let (given_up, gives_up) = (gives_up.clone(), gives_up.drop_guard());
        let work = move || {
            // Whatever happens here, the other end sees it by this.
            let _end = end;
            threads::give_way();
            runtime.block_on(given_up.run_until_cancelled_owned(delivery.work(tell_settled, last_words)));
            runtime.shutdown_background();
        };
        thread::Builder::new().name("mlflow".into()).spawn(work)?;
        Ok(Self {
            outbox,
            directory,
            begun: Instant::now(),
            sender: Some(Sender { settled, farewell: Some(farewell), ended, gives_up }),
        })
    }

    /// Puts a row into the outbox.
    pub(crate) fn append(&self, row: &Row) {
        self.outbox.put(Told { timestamp: now(), row: row.clone() });
    }

    /// Looks at what became of everything so far.
    pub(crate) fn read(&self, look: impl FnOnce(&Delivered)) {
        self.outbox.read(look);
    }

    /// The run is over and came to this: no row follows. Gives what is to be done before the process ends, once.
    pub(crate) fn conclude(&mut self, results: &Summary) -> Option<Remainder> {
        let sender = self.sender.take()?;
        let files = files_in(&self.directory);
        let results_told = metrics(RESULTS, results, results.frames, now());
        self.outbox.conclude(Conclusion { results: results_told, files: files.clone() });
        let deadline = Instant::now() + patience(&results.end, &self.outbox.account(), self.begun.elapsed());
        let (outbox, directory) = (self.outbox.clone(), self.directory.clone());
        Some(Remainder { outbox, directory, files, sender: Some(sender), deadline })
    }
}

impl Remainder {
    /// Waits until all but the summary is sent, not beyond a bound and not beyond `stop`. Gives what became of it.
    pub(crate) async fn settle(&mut self, stop: &CancellationToken) -> Delivered {
        let mut names: Vec<_> = self.files.iter().map(|file| name_of(&self.directory, file)).collect();
        if let Some(mut sender) = self.sender.take() {
            let settled = timeout_at(self.deadline, unless(stop, &mut sender.settled)).await;
            match settled {
                Ok(Some(Ok(()))) => self.sender = Some(sender),
                _ => sender.give_up().await,
            }
        }
        if self.sender.is_none() {
            names.extend(LAST_FILES.map(str::to_owned));
        }
        let mut account = self.outbox.account().closed(&names);
        if self.sender.is_none() && account.page.is_some() {
            account.end_lost = Some(SHOWN_AS_RUNNING.into());
        }
        self.outbox.note(|noted| *noted = account.clone());
        account
    }

    /// Sends the summary and how the run ended, within the same bound or a moment beyond.
    pub(crate) async fn close(self, end: &RunEnd, stop: &CancellationToken) {
        let Self { outbox, directory, sender, deadline, .. } = self;
        let Some(mut sender) = sender else {
            tracing::warn!("MLflow: {}", outbox.account());
            return;
        };
        let files: Vec<_> = LAST_FILES.iter().map(|name| directory.join(name)).filter(|path| path.exists()).collect();
        let names: Vec<_> = files.iter().map(|file| name_of(&directory, file)).collect();
        let farewell = sender.farewell.take();
        let _ = farewell.map(|farewell| farewell.send(Farewell { status: status(end), files }));
        let deadline = deadline.max(Instant::now() + LAST_WORDS);
        let ended = timeout_at(deadline, unless(stop, &mut sender.ended)).await;
        if !matches!(ended, Ok(Some(_))) {
            sender.give_up().await;
            outbox.note(|noted| noted.end_lost = Some(SHOWN_AS_RUNNING.into()));
        }
        let account = outbox.account().closed(&names);
        match account.loss() {
            Some(_) => tracing::warn!("MLflow: {account}"),
            None => tracing::info!("MLflow: {account}"),
        }
        outbox.note(|noted| *noted = account);
    }
}

/// What is left has so long: a server that is there takes some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(10);
/// The same where somebody asked the run to stop: orchestrators give 30 s, of which the last checkpoint has 20.
const PATIENCE_INTERRUPTED: Duration = Duration::from_secs(5);
/// The same where the server was asked and never answered: there is little hope, and a short run is not to become a long one.
const PATIENCE_WITH_A_STRANGER: Duration = Duration::from_secs(1);
/// Time in which a server that is there has said something.
const ANSWER_EXPECTED: Duration = Duration::from_secs(5);
/// What a thread has to end that waits for nothing any more.
const GIVING_UP: Duration = Duration::from_secs(1);
/// What the last words have at least: the summary comes after the evaluation of the policy.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What becomes of a run whose end is not told.
const SHOWN_AS_RUNNING: &str = "the server shows it as running";

/// How long a run that ended so waits for the server, after what was between them so far.
fn patience(end: &RunEnd, account: &Delivered, since: Duration) -> Duration {
    let was_asked_long_ago = account.requests_failed > 0 || since > ANSWER_EXPECTED;
    match end {
        _ if account.page.is_none() && was_asked_long_ago => PATIENCE_WITH_A_STRANGER,
        RunEnd::Interrupted => PATIENCE_INTERRUPTED,
        _ => PATIENCE,
    }
}

/// What something gives, unless a stop is asked for meanwhile. One that was asked for before has ended the run.
async fn unless<T>(stop: &CancellationToken, waiting: impl Future<Output = T>) -> Option<T> {
    match stop.is_cancelled() {
        true => Some(waiting.await),
        false => stop.run_until_cancelled(waiting).await,
    }
}

fn status(end: &RunEnd) -> Status {
    match end {
        RunEnd::Interrupted => Status::Killed,
        RunEnd::Failed(_) => Status::Failed,
        RunEnd::Solved | RunEnd::SolvedTimeBudget | RunEnd::FramesBudget | RunEnd::TimeBudget => Status::Finished,
    }
}

/// The files of a run that are sent, in their order; of pictures the newest.
fn files_in(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = FILES.iter().map(|name| directory.join(name)).collect();
    let is_picture = |path: &PathBuf| {
        let extension = path.extension().and_then(|extension| extension.to_str());
        extension.is_some_and(|extension| RENDERED.contains(&extension)) && !files.contains(path)
    };
    let beside = entries(directory).filter(is_picture);
    let renders = directory.join(RENDERS_DIRECTORY);
    let mut pictures: Vec<_> = beside.chain(entries(&renders)).filter(|path| path.is_file()).collect();
    pictures.sort_by_cached_key(|path| Reverse(path.metadata().and_then(|file| file.modified()).ok()));
    pictures.truncate(PICTURES_MAX);
    // The small ones first, so that a large one takes no time from them.
    pictures.sort_by_cached_key(|path| (path.metadata().map_or(u64::MAX, |file| file.len()), path.clone()));
    files.extend(pictures);
    files.retain(|path| path.is_file());
    files
}

fn entries(directory: &Path) -> impl Iterator<Item = PathBuf> {
    std::fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Milliseconds since 1970.
fn now() -> i64 {
    i64::try_from(surroundings::since_1970().as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
