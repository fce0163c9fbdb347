//! What arrives at a strict server that fails in all the ways that there are, and what does not arrive is counted.

mod stand_in;

use super::api::batch::Entry;
use super::*;
use crate::config::settings::GivenSettings;
use crate::handover::ledger::Account;
use crate::handover::progress::Progress;
use crate::report::doctor::Circumstances;
use crate::report::shares::Shares;
use crate::run::tracked_run::TrackedRun;
use stand_in::{Fault, Point, StandIn};
use std::collections::BTreeSet;
use std::sync::Mutex;
use tempfile::TempDir;

/// A run that has just begun.
const SHORT: Duration = Duration::from_millis(200);
/// Nothing takes long here, and no answer depends on how long it is.
const TIMES: Times = Times {
    gather: Duration::from_millis(1),
    request_max: Duration::from_millis(200),
    pause_first: Duration::from_millis(1),
    pause_max: Duration::from_millis(4),
};

/// A run and how it is told.
struct Bench {
    directory: TempDir,
    introduction: Introduction,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(CONFIG_FILE), "seed = 7\n").unwrap();
        let introduction = Self::introduce(&directory, "seed = 7", false);
        Self { directory, introduction }
    }

    fn introduce(directory: &TempDir, settings: &str, resumes: bool) -> Introduction {
        let given: GivenSettings = settings.parse().unwrap();
        let config = Config::complete(given, &impala_env::builtin()).unwrap();
        let run_dir = RunDir::take(&config, Some(directory.path())).unwrap();
        Introduction::new(&config, &run_dir, &ComputeDevice::cpu(), resumes)
    }

    /// The next process of the run.
    fn resumed(self, settings: &str) -> Self {
        let introduction = Self::introduce(&self.directory, settings, true);
        Self { introduction, ..self }
    }

    fn sink(&self, server: &StandIn) -> MlflowSink {
        let client = Client::new(server.url(), Credentials::None, TIMES.request_max).unwrap();
        MlflowSink::with(client, self.introduction.clone(), TIMES).unwrap()
    }
}

fn row(frames: u64) -> Row {
    Row { frames, seconds: frames as f64 / 3.0, mean_return: Some(0.1), ..Row::default() }
}

fn results(end: RunEnd) -> Summary {
    let progress = Progress::new(475.0);
    Summary::new(end, &progress, Account::default(), Shares::default(), &Circumstances::default())
}

/// Ends a run and says what became of it.
async fn end(mut sink: MlflowSink, end: RunEnd) -> Delivered {
    let stop = CancellationToken::new();
    let mut remainder = sink.conclude(&results(end.clone())).unwrap();
    remainder.deadline = Instant::now() + Duration::from_secs(60);
    let account = remainder.settle(&stop).await;
    remainder.close(&end, &stop).await;
    account
}

/// The steps at which a series has a point, each as often as it has one.
fn steps(points: &BTreeSet<Point>, series: &str) -> Vec<i64> {
    let mut steps: Vec<_> = points.iter().filter(|point| point.0 == series).map(|point| point.2).collect();
    steps.sort_unstable();
    steps
}

#[tokio::test]
async fn a_run_is_told_with_its_settings_its_rows_its_files_and_its_end() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let large: Vec<u8> = (0..3_000_001_u32).map(|number| number as u8).collect();
    std::fs::write(bench.directory.path().join(MODEL_FILE), &large).unwrap();
    std::fs::write(bench.directory.path().join("an episode.gif"), "GIF").unwrap();
    std::fs::write(bench.directory.path().join("summary.json"), "{}").unwrap();
    let kept = bench.directory.path().join(RENDERS_DIRECTORY);
    std::fs::create_dir(&kept).unwrap();
    std::fs::write(kept.join("frames-080.gif"), "kept").unwrap();
    let sink = bench.sink(&server);
    (1..=100).for_each(|frames| sink.append(&row(frames)));
    sink.append(&Row { mean_return: Some(f64::NAN), ..row(101) });
    let account = end(sink, RunEnd::Solved).await;
    assert_eq!((account.rows_sent, account.loss()), (101, None));
    let run = server.run();
    assert_eq!(steps(&run.points, "progress/seconds"), (1..=101).collect::<Vec<_>>());
    // What is not finite is left out, and nothing is told of updates before the first.
    assert_eq!(steps(&run.points, "return/mean"), (1..=100).collect::<Vec<_>>());
    assert!(steps(&run.points, "loss/total").is_empty());
    assert!(run.points.iter().any(|point| point.0 == "return/mean" && f64::from_bits(point.3) == 0.1));
    assert_eq!(steps(&run.points, "result/seconds"), [0]);
    let setting = |key: &str| run.params.get(key).map(String::as_str);
    assert_eq!(
        (setting("seed"), setting("learning_rate"), setting("hidden")),
        (Some("7"), Some("0.002"), Some("64,64"))
    );
    assert_eq!((setting("run_dir"), setting("mlflow")), (None, None));
    assert_eq!(run.tags["impala.version"], env!("CARGO_PKG_VERSION"));
    assert_eq!((&*run.status, &server.stored().experiments[..]), ("FINISHED", &["impala".to_owned()][..]));
    let stored = server.stored();
    let file = |name: &str| stored.files.get(&format!("0/run0/artifacts/{name}")).map(Vec::as_slice);
    assert_eq!(file(CONFIG_FILE), Some(&b"seed = 7\n"[..]));
    assert!(file(MODEL_FILE) == Some(&large), "the model is not the same");
    assert_eq!(file("renders/frames-080.gif"), Some(&b"kept"[..]));
    assert_eq!((file("an%20episode.gif"), file("summary.json")), (Some(&b"GIF"[..]), Some(&b"{}"[..])));
}

#[tokio::test]
async fn every_row_arrives_once_though_requests_fail_and_answers_are_lost() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let mut number = 0;
    server.fail(move |_| {
        number += 1;
        match number % 4 {
            0 => Some(Fault::AnswerLost),
            1 => Some(Fault::Status(503)),
            2 => Some(Fault::Status(429)),
            _ => None,
        }
    });
    let sink = bench.sink(&server);
    (1..=200).for_each(|frames| sink.append(&row(frames)));
    let account = end(sink, RunEnd::FramesBudget).await;
    assert_eq!((account.rows_sent, account.rows_lost), (200, 0));
    assert!(account.requests_failed > 10, "{account:?}");
    // Also the run was created once, though the answer to that may have been lost.
    let run = server.run();
    assert_eq!(steps(&run.points, "progress/seconds"), (1..=200).collect::<Vec<_>>());
    assert_eq!(run.status, "FINISHED");
}

#[tokio::test]
async fn a_run_whose_creation_was_not_answered_is_found_again() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let mut is_first = true;
    server.fail(move |path| {
        (path.ends_with("runs/create") && std::mem::take(&mut is_first)).then_some(Fault::AnswerLost)
    });
    let account = end(bench.sink(&server), RunEnd::Solved).await;
    assert_eq!((account.requests_failed, account.loss()), (1, None));
    assert_eq!(server.run().status, "FINISHED");
}

#[tokio::test]
async fn what_is_told_while_the_server_is_away_is_sent_when_it_is_back() {
    let (mut server, bench) = (StandIn::absent().await, Bench::new());
    let sink = bench.sink(&server);
    sink.append(&row(1));
    sink.outbox.until(|account| account.requests_failed > 1).await;
    server.appear().await;
    sink.outbox.until(|account| account.rows_sent == 1).await;
    server.disappear();
    // Connections of before are closed with their next answer.
    server.fail(|_| Some(Fault::Status(503)));
    let failed = sink.outbox.account().requests_failed;
    (2..=300).for_each(|frames| sink.append(&row(frames)));
    sink.outbox.until(|account| account.requests_failed > failed + 1).await;
    server.fail(|_| None);
    server.appear().await;
    let account = end(sink, RunEnd::Solved).await;
    assert_eq!((account.rows_sent, account.loss()), (300, None));
    assert_eq!(steps(&server.run().points, "progress/seconds"), (1..=300).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_server_that_never_answers_holds_up_nobody_and_what_is_lost_is_counted() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    server.fail(|_| Some(Fault::Silence));
    let mut sink = bench.sink(&server);
    (0..50_000).for_each(|frames| sink.append(&row(frames)));
    let stop = CancellationToken::new();
    let mut remainder = sink.conclude(&results(RunEnd::Solved)).unwrap();
    // Whoever is asked to stop meanwhile does not wait for it.
    let (account, ()) = tokio::join!(remainder.settle(&stop), async { stop.cancel() });
    assert_eq!((account.rows_told, account.rows_sent, account.rows_lost), (50_000, 0, 50_000));
    let told = account.to_string();
    assert!(
        told.starts_with("the server never answered; not there: 50000 of 50000 rows, the results, config.toml"),
        "{told}"
    );
    remainder.close(&RunEnd::Solved, &CancellationToken::new()).await;
}

#[tokio::test]
async fn a_run_that_was_asked_to_stop_still_waits_within_its_bound() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let mut sink = bench.sink(&server);
    (1..=60).for_each(|frames| sink.append(&row(frames)));
    let stop = CancellationToken::new();
    stop.cancel();
    let mut remainder = sink.conclude(&results(RunEnd::Interrupted)).unwrap();
    assert_eq!(remainder.settle(&stop).await.loss(), None);
    remainder.close(&RunEnd::Interrupted, &stop).await;
    assert_eq!((server.run().status.as_str(), server.run().points.is_empty()), ("KILLED", false));
}

#[test]
fn a_run_waits_least_for_a_server_that_never_answered() {
    let known = Delivered { page: Some("http://tracker".into()), requests_failed: 3, ..Delivered::default() };
    let silent = Delivered { requests_failed: 1, ..Delivered::default() };
    let times = [
        patience(&RunEnd::Solved, &known, SHORT),
        patience(&RunEnd::Interrupted, &known, SHORT),
        patience(&RunEnd::Solved, &silent, SHORT),
    ];
    assert!(times.is_sorted_by(|one, next| one > next), "{times:?}");
    assert_eq!(patience(&RunEnd::Solved, &Delivered::default(), SHORT), times[0]);
    // One that takes connections and says nothing.
    assert_eq!(patience(&RunEnd::Solved, &Delivered::default(), 2 * ANSWER_EXPECTED), times[2]);
    assert_eq!(patience(&RunEnd::Solved, &known, 2 * ANSWER_EXPECTED), times[0]);
}

#[tokio::test]
async fn rows_that_are_refused_are_lost_and_those_after_them_are_not() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let sink = bench.sink(&server);
    sink.outbox.until(|account| account.page.is_some()).await;
    let mut refused = 0;
    server.fail(move |path| {
        refused += u32::from(path.ends_with("log-batch"));
        (path.ends_with("log-batch") && refused == 1).then_some(Fault::Refused)
    });
    (1..=100).for_each(|frames| sink.append(&row(frames)));
    let account = end(sink, RunEnd::Failed("it broke".into())).await;
    let run = server.run();
    let arrived = steps(&run.points, "progress/seconds").len() as u64;
    assert_eq!((account.rows_sent, account.rows_lost), (arrived, 100 - arrived));
    let at_once = (METRICS_MAX / ROWS.len()) as u64;
    assert!((1..=at_once).contains(&account.rows_lost), "{account:?}");
    assert_eq!(run.status, "FAILED");
}

#[tokio::test]
async fn rows_wait_for_somebody_to_mend_what_stands_before_the_server() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    server.fail(|_| Some(Fault::Status(401)));
    let sink = bench.sink(&server);
    (1..=10).for_each(|frames| sink.append(&row(frames)));
    sink.outbox.until(|account| account.requests_failed > 2).await;
    server.fail(|_| None);
    assert_eq!(end(sink, RunEnd::Solved).await.loss(), None);
}

#[tokio::test]
async fn files_that_cannot_be_reached_through_the_server_keep_nothing_else_from_it() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    server.stored().artifact_root = Some("s3://bucket/1".into());
    let sink = bench.sink(&server);
    sink.append(&row(1));
    let account = end(sink, RunEnd::Solved).await;
    assert_eq!((account.rows_sent, account.loss().as_deref()), (1, Some(CONFIG_FILE)));
    assert_eq!((server.run().status.as_str(), server.stored().files.len()), ("FINISHED", 0));
}

#[tokio::test]
async fn files_that_the_server_cannot_take_keep_nothing_else_from_it() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    server.fail(|path| path.contains("mlflow-artifacts").then_some(Fault::Status(503)));
    let sink = bench.sink(&server);
    sink.append(&row(1));
    let account = end(sink, RunEnd::Solved).await;
    assert_eq!((account.rows_sent, account.loss().as_deref()), (1, Some(CONFIG_FILE)));
    assert_eq!(server.run().status, "FINISHED");
}

#[tokio::test]
async fn a_resumed_run_goes_on_where_it_was_and_says_what_changed() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let sink = bench.sink(&server);
    sink.append(&row(1));
    end(sink, RunEnd::Interrupted).await;
    let bench = bench.resumed("seed = 7\nframes_max = 77");
    let sink = bench.sink(&server);
    sink.outbox.until(|account| account.page.is_some()).await;
    assert_eq!(server.run().status, "RUNNING");
    sink.append(&row(2));
    end(sink, RunEnd::FramesBudget).await;
    let run = server.run();
    assert_eq!(steps(&run.points, "progress/seconds"), [1, 2]);
    assert_ne!(run.params["frames_max"], "77");
    let changed: Vec<_> = run.tags.iter().filter(|(key, _)| key.starts_with("impala.resumed.")).collect();
    assert_eq!(changed, [(&"impala.resumed.frames_max".to_owned(), &"77".to_owned())]);
    assert_eq!(run.status, "FINISHED");
}

#[tokio::test]
async fn a_setting_that_is_back_at_its_first_value_is_told_so() {
    let (server, mut bench) = (StandIn::start().await, Bench::new());
    end(bench.sink(&server), RunEnd::Interrupted).await;
    for frames_max in ["77", "88"] {
        bench = bench.resumed(&format!("seed = 7\nframes_max = {frames_max}"));
        end(bench.sink(&server), RunEnd::Interrupted).await;
        assert_eq!(server.run().tags["impala.resumed.frames_max"], frames_max);
    }
    let bench = bench.resumed("seed = 7");
    end(bench.sink(&server), RunEnd::Interrupted).await;
    let run = server.run();
    assert_eq!(run.tags["impala.resumed.frames_max"], run.params["frames_max"]);
}

#[tokio::test]
async fn a_long_setting_that_stays_the_same_is_not_told_as_another_one() {
    let (server, mut bench) = (StandIn::start().await, Bench::new());
    let params = vec![Entry::new("long", "ä".repeat(7000)), Entry::new("other", "ä".repeat(7000))];
    bench.introduction.params = params.clone();
    end(bench.sink(&server), RunEnd::Interrupted).await;
    let mut bench = bench.resumed("seed = 7");
    bench.introduction.params = params;
    bench.introduction.params[1].value.insert(0, 'o');
    end(bench.sink(&server), RunEnd::Interrupted).await;
    let resumed = |key: &&String| key.starts_with("impala.resumed.");
    assert_eq!(server.run().tags.keys().filter(resumed).collect::<Vec<_>>(), ["impala.resumed.other"]);
}

#[tokio::test]
async fn an_end_that_the_server_refuses_is_said() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    server.fail(|path| path.ends_with("runs/update").then_some(Fault::Refused));
    let sink = bench.sink(&server);
    let outbox = sink.outbox.clone();
    assert_eq!(end(sink, RunEnd::Solved).await.loss(), None);
    let told = outbox.account().loss().unwrap();
    let words = "how the run ended (it refuses, 400 Bad Request INVALID_PARAMETER_VALUE: it is not wanted)";
    assert_eq!((told.as_str(), server.run().status.as_str()), (words, "RUNNING"));
}

#[test]
fn of_many_pictures_the_newest_are_sent_the_smallest_first() {
    let directory = tempfile::tempdir().unwrap();
    let kept = directory.path().join(RENDERS_DIRECTORY);
    std::fs::create_dir(&kept).unwrap();
    let write = |path: &Path, second: u64| {
        std::fs::write(path, "x".repeat(second as usize)).unwrap();
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(second)).unwrap();
    };
    // Names and times go opposite ways; the newer, the larger.
    (0..50).for_each(|number| write(&kept.join(format!("frames-{number:02}.gif")), 100 - number));
    write(&directory.path().join("old.png"), 1);
    write(&directory.path().join("new.png"), 1000);
    write(&directory.path().join(CONFIG_FILE), 0);
    let names: Vec<_> = files_in(directory.path()).iter().map(|file| name_of(directory.path(), file)).collect();
    let pictures = (0..PICTURES_MAX - 1).rev().map(|number| format!("{RENDERS_DIRECTORY}/frames-{number:02}.gif"));
    let [first, last] = [CONFIG_FILE, "new.png"].map(|name| std::iter::once(name.to_owned()));
    let expected: Vec<_> = first.chain(pictures).chain(last).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn a_resumed_run_that_the_server_does_not_have_is_a_new_one_that_says_so() {
    let (one, other) = (StandIn::start().await, StandIn::start().await);
    let bench = Bench::new();
    end(bench.sink(&one), RunEnd::Interrupted).await;
    let bench = bench.resumed("seed = 7");
    end(bench.sink(&other), RunEnd::Interrupted).await;
    let continues = |run: &stand_in::StoredRun| run.tags.get("impala.continues").cloned();
    assert_eq!(continues(&other.run()), Some(format!("run0 at http://{}", one.address)));
    // The newest place is the one that is remembered; where it was deleted, a new one begins.
    other.stored().runs.get_mut("run0").unwrap().is_deleted = true;
    let bench = bench.resumed("seed = 7");
    end(bench.sink(&other), RunEnd::Solved).await;
    let stored = other.stored();
    assert_eq!(continues(&stored.runs["run1"]), Some(format!("run0 at http://{}", other.address)));
    assert_eq!(TrackedRun::read(bench.directory.path()).unwrap().run_id, "run1");
}

#[tokio::test]
async fn a_run_that_begins_anew_in_a_directory_is_another_one() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    end(bench.sink(&server), RunEnd::Interrupted).await;
    let introduction = Bench::introduce(&bench.directory, "seed = 8", false);
    end(Bench { introduction, ..bench }.sink(&server), RunEnd::Solved).await;
    assert_eq!(server.stored().runs.len(), 2);
}

#[tokio::test]
async fn many_settings_and_long_ones_are_told_within_the_limits() {
    let (server, mut bench) = (StandIn::start().await, Bench::new());
    bench.introduction.params =
        (0..350).map(|number| Entry::new(format!("p{number}"), "ä".repeat(20 * number))).collect();
    assert_eq!(end(bench.sink(&server), RunEnd::Solved).await.loss(), None);
    let params = server.run().params;
    assert_eq!((params.len(), params["p300"].chars().count(), params["p349"].chars().count()), (350, 6000, 6000));
    assert!(params["p349"].ends_with(" .. (cut)") && !params["p300"].ends_with(')'));
}

/// Where log lines go.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn credentials_go_into_the_header_and_not_into_the_log() {
    let (server, bench) = (StandIn::start().await, Bench::new());
    let mut number = 0;
    server.fail(move |_| {
        number += 1;
        (number == 1).then_some(Fault::Status(401))
    });
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(move || writer.clone());
    let _guard = tracing::subscriber::set_default(log.finish());
    let credentials = Credentials::Basic { user: "anna".into(), password: "se-cret".into() };
    let client = Client::new(server.url(), credentials, TIMES.request_max).unwrap();
    let outbox = Arc::new(Outbox::new(METRICS_MAX / ROWS.len(), ROWS_MAX));
    // In this thread, whose log is caught.
    let delivery = Delivery::new(client, outbox.clone(), bench.introduction.clone(), TIMES);
    tracing::info!("{delivery:?}");
    outbox.put(Told { timestamp: 1, row: row(1) });
    outbox.conclude(Conclusion::default());
    let ((settled, _), (last_words, farewell)) = (oneshot::channel(), oneshot::channel());
    last_words.send(Farewell { status: Status::Finished, files: vec![] }).unwrap();
    delivery.work(settled, farewell).await;
    // `anna:se-cret`, as HTTP writes it.
    assert_eq!(server.stored().authorizations, BTreeSet::from(["Basic YW5uYTpzZS1jcmV0".to_owned()]));
    let log = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    // Only lines of this test are sure to be caught: whether others are is settled where a thread comes to them first.
    assert!(log.contains("Delivery {") && log.contains("credentials: user and password"), "{log}");
    assert!(["cret", "YW5uY", "anna"].iter().all(|secret| !log.contains(secret)), "{log}");
}
