//! What runs left in their directories, for people who look through them: read, never changed, and as tolerant as can be, since some were
//! written by other releases, some are under way and some never came far.

use crate::config;
use crate::handover::progress::Solved;
use crate::run::resume::{CONFIG_FILE, METRICS_FILE};
use crate::run::run_dir::shown_name;
use impala_policy::evaluate::Score;
use impala_store::open_regular;
use serde::{Deserialize, Serialize, Serializer};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Name of a finished run's summary for scripts.
const SUMMARY_FILE: &str = "summary.json";

/// Texts have some thousands; more is not read of one.
const TEXT_BYTES_MAX: u64 = 1 << 20;
/// A row has some hundreds of bytes; the last one lies in the last so many of its table.
const END_BYTES: u64 = 1 << 15;

/// A run as its directory tells of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArchivedRun {
    /// The directory.
    #[serde(serialize_with = "as_text")]
    pub path: PathBuf,
    /// Its name.
    pub name: String,
    /// What it is or was about.
    pub result: RunResult,
    /// What it trains on; nothing where the configuration cannot be read.
    pub environment: Option<String>,
    /// Its seed.
    pub seed: Option<u64>,
    /// Frames trained.
    pub frames: u64,
    /// Seconds of training.
    pub seconds: f64,
    /// Frames after which it was solved.
    pub solved_after: Option<u64>,
    /// Mean return of the last 100 training episodes.
    pub mean_return: Option<f64>,
    /// Mean return of the policy that it left, over fresh episodes.
    pub evaluated_return: Option<f64>,
    /// Mean return from which its task counts as solved, if it says so.
    pub solved_return: Option<f64>,
    /// When it was last written to.
    #[serde(skip)]
    pub written: SystemTime,
}

/// What a run came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "detail")]
pub enum RunResult {
    /// A process works on it.
    Running,
    /// It ended: `solved`, `frames_budget`, ..
    Ended(String),
    /// It has not ended, and nobody works on it.
    Stopped,
}

impl std::fmt::Display for RunResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Running => f.write_str("running"),
            Self::Ended(end) => f.write_str(&end.replace('_', " ")),
            Self::Stopped => f.write_str("stopped, to be resumed"),
        }
    }
}

/// What is read of a summary.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Ended {
    end: String,
    frames: u64,
    seconds: f64,
    solved: Option<Solved>,
    mean_return: Option<f64>,
    solved_return: Option<f64>,
    greedy: Option<Score>,
    sampled: Option<Score>,
    verification: Verification,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Verification {
    last: Option<Score>,
}

/// A row of a run's table.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct CurveRow {
    /// Seconds since the run's start.
    pub seconds: f64,
    /// Frames trained.
    pub frames: u64,
    /// Of the last 100 episodes.
    pub mean_return: Option<f64>,
    /// Of the newest evaluation beside the training.
    #[serde(default)]
    pub evaluation_mean_return: Option<f64>,
    /// Frames that its policy was trained on.
    #[serde(default)]
    pub evaluation_frames: Option<u64>,
}

/// The runs in a directory, the one that was written to last at the end; what is none is passed over.
///
/// # Errors
/// The directory cannot be read.
pub fn runs_in(directory: &Path) -> io::Result<Vec<ArchivedRun>> {
    let mut runs = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        runs.extend(run_at(&entry?.path()));
    }
    runs.sort_by(|one, other| (one.written, &one.name).cmp(&(other.written, &other.name)));
    Ok(runs)
}

/// The run of this name in a directory: one that lies right in it.
pub fn run_named(directory: &Path, name: &str) -> Option<ArchivedRun> {
    let mut paths = std::fs::read_dir(directory).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    run_at(&paths.find(|path| shown_name(path) == name)?)
}

/// The run in this directory, if it is one's.
pub fn run_at(path: &Path) -> Option<ArchivedRun> {
    let settings = text_of(path, CONFIG_FILE).and_then(|text| config::parse(&path.join(CONFIG_FILE), &text).ok());
    let last = last_row_of(path);
    let mut ended = ended_as(path);
    // It is shown on terminals.
    ended.iter_mut().for_each(|ended| ended.end = ended.end.replace(char::is_control, "\u{fffd}"));
    if settings.is_none() && last.is_none() && ended.is_none() {
        return None;
    }
    let is_running = impala_store::holder(path).is_some();
    let last = last.as_ref();
    // A run that was resumed goes on after its summary.
    let ended = ended.filter(|ended| !is_running && last.is_none_or(|last| last.frames <= ended.frames));
    let result = match &ended {
        _ if is_running => RunResult::Running,
        Some(ended) => RunResult::Ended(ended.end.clone()),
        None => RunResult::Stopped,
    };
    let evaluated = ended.as_ref().and_then(|ended| ended.greedy.or(ended.sampled).or(ended.verification.last));
    let beside = last.and_then(|last| last.evaluation_mean_return);
    Some(ArchivedRun {
        name: shown_name(path),
        result,
        environment: settings.as_ref().and_then(|given| given.task.environment.as_ref().map(ToString::to_string)),
        seed: settings.as_ref().and_then(|given| given.task.seed),
        frames: ended.as_ref().map(|ended| ended.frames).or(last.map(|last| last.frames)).unwrap_or(0),
        seconds: ended.as_ref().map(|ended| ended.seconds).or(last.map(|last| last.seconds)).unwrap_or(0.0),
        solved_after: ended.as_ref().and_then(|ended| ended.solved).map(|solved| solved.frames),
        mean_return: ended.as_ref().map_or_else(|| last.and_then(|last| last.mean_return), |ended| ended.mean_return),
        evaluated_return: evaluated.map(|score| score.mean).or(beside),
        solved_return: ended.as_ref().and_then(|ended| ended.solved_return),
        written: written(path),
        path: path.to_owned(),
    })
}

/// What a run's summary says.
fn ended_as(path: &Path) -> Option<Ended> {
    serde_json::from_str(&text_of(path, SUMMARY_FILE)?).ok()
}

/// A text of a run, as far as one is read; nothing where it has none of this name.
pub fn text_of(run: &Path, name: &str) -> Option<String> {
    let mut text = String::new();
    open_regular(&run.join(name)).ok()?.take(TEXT_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Also of a path that is no Unicode.
fn as_text<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&path.display())
}

/// The last whole row of a run's table: of a long one, little more than that is read.
fn last_row_of(path: &Path) -> Option<CurveRow> {
    let mut file = open_regular(&path.join(METRICS_FILE)).ok()?;
    let mut text = Vec::new();
    file.by_ref().take(END_BYTES).read_to_end(&mut text).ok()?;
    let len = file.metadata().ok()?.len();
    if len > END_BYTES {
        // The header, and what follows the first line's end in the last part.
        text.truncate(text.iter().position(|byte| *byte == b'\n')? + 1);
        let mut end = Vec::new();
        file.seek(SeekFrom::Start(len - END_BYTES)).ok()?;
        file.read_to_end(&mut end).ok()?;
        text.extend_from_slice(&end[end.iter().position(|byte| *byte == b'\n')? + 1..]);
    }
    rows_in(&text).ok()?.pop()
}

/// The rows of a run's table, without a part of one that a process is about to write.
///
/// # Errors
/// There is no table, or none that has frames and returns.
pub fn rows_of(path: &Path) -> Result<Vec<CurveRow>, csv::Error> {
    let mut text = Vec::new();
    open_regular(&path.join(METRICS_FILE))?.read_to_end(&mut text)?;
    rows_in(&text)
}

/// The rows of a table but for a last one without its end.
fn rows_in(text: &[u8]) -> Result<Vec<CurveRow>, csv::Error> {
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    csv::Reader::from_reader(&text[..whole]).deserialize().collect()
}

/// When one of the files that a run writes to was last written to.
fn written(path: &Path) -> SystemTime {
    let times = [CONFIG_FILE, METRICS_FILE, SUMMARY_FILE].into_iter();
    let times = times.filter_map(|name| std::fs::metadata(path.join(name)).ok()?.modified().ok());
    times.max().unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_store::Hold;

    const ROWS: &str = "seconds,frames,updates,mean_return\n0.2,800,10,\n0.4,1600,20,31.5\n0.6,24";

    fn run(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| std::fs::write(directory.path().join(name), text).unwrap());
        directory
    }

    #[test]
    fn a_run_is_told_by_what_it_left() {
        let directory = run(&[
            (CONFIG_FILE, "environment = \"cartpole-v1\"\nseed = 7\n"),
            (METRICS_FILE, ROWS),
            (
                SUMMARY_FILE,
                r#"{"end":"solved","frames":1600,"seconds":0.5,"solved":{"frames":1500,"seconds":0.45},
                    "mean_return":480.0,"greedy":{"episodes":100,"mean":499.5,"min":450.0,"max":500.0,"cut":0}}"#,
            ),
        ]);
        let told = run_at(directory.path()).unwrap();
        assert_eq!((told.environment.as_deref(), told.seed), (Some("cartpole-v1"), Some(7)));
        assert_eq!(
            (told.result, told.frames, told.solved_after),
            (RunResult::Ended("solved".into()), 1600, Some(1500))
        );
        assert_eq!((told.mean_return, told.evaluated_return), (Some(480.0), Some(499.5)));
    }

    #[test]
    fn a_run_without_an_end_is_told_by_its_table_and_by_who_works_on_it() {
        let directory = run(&[(METRICS_FILE, ROWS)]);
        let told = run_at(directory.path()).unwrap();
        assert_eq!((told.result, told.frames, told.mean_return), (RunResult::Stopped, 1600, Some(31.5)));
        let hold = Hold::take(directory.path()).unwrap();
        assert_eq!(run_at(directory.path()).unwrap().result, RunResult::Running);
        drop(hold);
        // It was resumed after its end, and has gone further.
        std::fs::write(directory.path().join(SUMMARY_FILE), r#"{"end":"solved","frames":800}"#).unwrap();
        assert_eq!(run_at(directory.path()).unwrap().result, RunResult::Stopped);
    }

    #[test]
    fn the_last_row_is_that_of_the_whole_table_however_long_it_is() {
        for count in [0, 1, 2, 5_000] {
            let rows: String = (0..count).map(|i| format!("{i}.5,{},{i},9.5\n", 80 * i)).collect();
            let table = format!("seconds,frames,updates,mean_return\n{rows}7,77");
            let directory = run(&[(METRICS_FILE, &table)]);
            assert_eq!(last_row_of(directory.path()), rows_of(directory.path()).unwrap().pop(), "{count}");
        }
        assert_eq!(last_row_of(Path::new("/no/such/run")), None);
    }

    #[test]
    fn what_is_no_run_is_passed_over() {
        let directory = run(&[("notes.txt", "x")]);
        std::fs::create_dir(directory.path().join("empty")).unwrap();
        let one = directory.path().join("one");
        std::fs::create_dir(&one).unwrap();
        std::fs::write(one.join(METRICS_FILE), ROWS).unwrap();
        let names: Vec<_> = runs_in(directory.path()).unwrap().into_iter().map(|run| run.name).collect();
        assert_eq!(names, ["one"]);
        // What is read is a file, and not what waits for somebody to write.
        let odd = directory.path().join("odd");
        std::fs::create_dir(&odd).unwrap();
        for name in [CONFIG_FILE, SUMMARY_FILE, METRICS_FILE] {
            let made = std::process::Command::new("mkfifo").arg(odd.join(name)).status().unwrap();
            assert!(made.success());
        }
        assert!(run_at(&odd).is_none() && rows_of(&odd).is_err());
        let named = |name: &str| run_named(directory.path(), name).map(|run| run.path);
        assert_eq!((named("one"), named(".."), named("one/../one")), (Some(one), None, None));
        assert!(runs_in(&directory.path().join("nothing")).is_err());
    }
}
