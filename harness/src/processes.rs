//! Real programs, each with a directory of its own. Which program is started is told by the test: cargo names a program's
//! path only to the tests of its own package.

#[cfg(target_os = "linux")]
mod events;

use crate::patience::PATIENCE;
#[cfg(target_os = "linux")]
pub use events::{Ending, file_with, until};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Instant;

/// A program of the workspace.
#[derive(Clone, Copy, Debug)]
pub struct Program(&'static str);

impl Program {
    /// The program in this file: `Program::at(env!("CARGO_BIN_EXE_impala"))`.
    pub const fn at(path: &'static str) -> Self {
        Self(path)
    }

    /// The program with arguments.
    pub fn command(self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.0);
        command.args(arguments).stdin(Stdio::null());
        command
    }
}

/// A program that ends with the test, however that ends.
#[derive(Debug)]
pub struct Process(Child);

impl std::ops::Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.0
    }
}

impl std::ops::DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.0
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails for one that has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Settings of a run that ends when it is told to: no policy reaches its goal, and no machine uses up its frames.
pub const ENDLESS: [&str; 4] = ["--solved-return", "501", "--frames-max", "1000000000000"];

/// Starts a program; gives its log line by line.
pub fn start(command: &mut Command) -> (Process, Receiver<String>) {
    start_printing_to(Stdio::null(), command)
}

/// The same, with a place for what it prints.
pub fn start_printing_to(output: impl Into<Stdio>, command: &mut Command) -> (Process, Receiver<String>) {
    let mut child = command.stdout(output).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (lines, receiver) = std::sync::mpsc::channel();
    // Reads on to the end, so that the program never blocks on a full pipe.
    let read = move || log.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
    std::thread::Builder::new().name("log".into()).spawn(read).unwrap();
    (Process(child), receiver)
}

/// The next line of a log that contains `text`.
pub fn line_with(log: &Receiver<String>, text: &str) -> String {
    find_line(log, text).unwrap_or_else(|| panic!("the log ended before `{text}`"))
}

/// The same; nothing where the log ends before.
pub fn find_line(log: &Receiver<String>, text: &str) -> Option<String> {
    lines(log).find(|line| line.contains(text))
}

/// What stands between two texts in the next line of a log that has both.
pub fn address(log: &Receiver<String>, before: &str, after: &str) -> String {
    let found = lines(log).find_map(|line| Some(line.split_once(before)?.1.split_once(after)?.0.to_owned()));
    found.unwrap_or_else(|| panic!("the log ended before `{before}`"))
}

/// A log to its end.
fn lines(log: &Receiver<String>) -> impl Iterator<Item = String> {
    std::iter::from_fn(|| match log.recv_timeout(PATIENCE) {
        Ok(line) => Some(line),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => panic!("the log was silent for {PATIENCE:?}"),
    })
}

/// Asks until there is the answer that a test expects. Each question waits for its answer; who asks knows by an event before
/// that the expected one is near.
pub fn asked<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let since = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(since.elapsed() < PATIENCE, "{what}: no such answer within {PATIENCE:?}");
    }
}

/// Status line and body of `GET path`.
pub fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// A place for one run.
#[derive(Debug)]
pub struct Run {
    program: Program,
    directory: tempfile::TempDir,
}

impl Run {
    /// A new place for runs of this program.
    pub fn of(program: Program) -> Self {
        Self { program, directory: tempfile::tempdir().unwrap() }
    }

    /// The runs directory, which the program makes.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("runs")
    }

    /// `train` in this place, with a budget that ends a run that goes wrong.
    pub fn train(&self, arguments: &[&str]) -> Command {
        let mut command = self.program.command(&["train", "--quiet", "--time-max", "5m", "--runs-dir"]);
        command.arg(self.path()).args(arguments);
        command
    }

    /// The one run directory of a run that has begun.
    pub fn directory(&self) -> PathBuf {
        self.found().expect("a run directory")
    }

    fn found(&self) -> Option<PathBuf> {
        std::fs::read_dir(self.path()).ok()?.next()?.ok().map(|entry| entry.path())
    }
}

#[cfg(target_os = "linux")]
impl Run {
    /// A training with two actors that does not end by itself for a long time. Its summary can be read from its standard output.
    pub fn endless(&self) -> Process {
        self.endless_after("true")
    }

    /// The same, by a shell that does something before.
    pub fn endless_after(&self, before: &str) -> Process {
        let training = self.train(&[&ENDLESS[..], &["--actors", "2"]].concat());
        let mut command = Command::new("sh");
        command.args(["-c", &format!("{before}; exec \"$0\" \"$@\"")]);
        command.arg(training.get_program()).args(training.get_args());
        Process(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap())
    }

    /// The one run directory, once it is there.
    pub fn begun(&self) -> PathBuf {
        until("the runs directory", self.directory.path(), || self.path().exists().then_some(()));
        until("a run directory", &self.path(), || self.found())
    }

    /// Waits until training is under way.
    pub fn wait_for_training(&self) {
        self.wait_for_rows(1);
    }

    /// Waits for so many rows of reports with trained frames.
    pub fn wait_for_rows(&self, count: usize) {
        let is_trained = |row: &&str| row.split(',').nth(1) != Some("0");
        let has = |csv: &str| csv.lines().skip(1).filter(is_trained).count() >= count;
        file_with("trained frames", &self.begun().join("metrics.csv"), has);
    }

    /// Waits until a file of the run contains `text`.
    pub fn wait_for_text(&self, file: &str, text: &str) {
        file_with(text, &self.begun().join(file), |content| content.contains(text));
    }
}

/// Waits for the end of a process.
#[cfg(target_os = "linux")]
pub fn wait_for_end(child: &mut Child) -> ExitStatus {
    if child.try_wait().unwrap().is_none() {
        Ending::of(child.id()).wait();
    }
    child.wait().unwrap()
}

/// Waits for the end of a process, however long it takes.
#[cfg(not(target_os = "linux"))]
pub fn wait_for_end(child: &mut Child) -> ExitStatus {
    child.wait().unwrap()
}

/// Sends a signal by its name.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Processes whose parent is `pid`.
#[cfg(target_os = "linux")]
pub fn children(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| std::fs::read_to_string(stat_file(*child)).is_ok_and(|stat| parent(&stat) == Some(pid)))
        .collect()
}

/// Whether a process runs (a zombie does not).
#[cfg(target_os = "linux")]
pub fn is_running(pid: u32) -> bool {
    let state =
        |stat: String| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
    std::fs::read_to_string(stat_file(pid)).ok().and_then(state).is_some_and(|state| state != "Z" && state != "X")
}

#[cfg(target_os = "linux")]
fn stat_file(pid: u32) -> PathBuf {
    PathBuf::from("/proc").join(pid.to_string()).join("stat")
}
