//! Runs of the real program in a directory of their own.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Bound on every wait: a guard against hanging, not an expectation.
const PATIENCE: Duration = Duration::from_secs(120);

/// The program with arguments.
pub(crate) fn impala(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala"));
    command.args(arguments).stdin(Stdio::null());
    command
}

/// A program that ends with the test, however that ends.
pub(crate) struct Process(Child);

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

/// Starts a program; gives its log line by line.
pub(crate) fn start(command: &mut Command) -> (Process, std::sync::mpsc::Receiver<String>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (lines, receiver) = std::sync::mpsc::channel();
    // Reads on to the end, so that the program never blocks on a full pipe.
    let read = move || log.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
    std::thread::Builder::new().name("log".into()).spawn(read).unwrap();
    (Process(child), receiver)
}

/// What stands between two texts in the first line of a log that has both.
pub(crate) fn address(log: &std::sync::mpsc::Receiver<String>, before: &str, behind: &str) -> String {
    let found = log.iter().find_map(|line| Some(line.split_once(before)?.1.split_once(behind)?.0.to_owned()));
    found.unwrap_or_else(|| panic!("the log ended before `{before}`"))
}

/// Status line and body of `GET path`.
pub(crate) fn get(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

/// A place for one run.
pub(crate) struct Run {
    directory: tempfile::TempDir,
}

impl Run {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// The runs directory, which the program makes.
    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("runs")
    }

    /// `impala train` in this place, with a budget that ends a run that goes wrong.
    pub(crate) fn train(&self, arguments: &[&str]) -> Command {
        let mut command = impala(&["train", "--quiet", "--time-max", "5m", "--runs-dir"]);
        command.arg(self.path()).args(arguments);
        command
    }

    /// A training with two actors that does not end by itself for a long time.
    pub(crate) fn endless(&self) -> Child {
        let mut command = self.train(&["--actors", "2", "--solved-return", "501", "--frames-max", "1000000000000"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// The one run directory, once it is there.
    pub(crate) fn directory(&self) -> PathBuf {
        wait_for("a run directory", || std::fs::read_dir(self.path()).ok()?.next()?.ok().map(|entry| entry.path()))
    }

    /// Waits until a file of the run contains `text`.
    pub(crate) fn wait_for_text(&self, file: &str, text: &str) {
        let path = self.directory().join(file);
        wait_for(text, || std::fs::read_to_string(&path).ok().filter(|content| content.contains(text)));
    }

    /// Waits until training is under way.
    pub(crate) fn wait_for_training(&self) {
        let path = self.directory().join("metrics.csv");
        let trained = |csv: String| csv.lines().skip(1).any(|row| row.split(',').nth(1) != Some("0")).then_some(());
        wait_for("a trained frame", || std::fs::read_to_string(&path).ok().and_then(trained));
    }
}

/// Waits for the end of a process.
pub(crate) fn wait_for_end(child: &mut Child) -> std::process::ExitStatus {
    wait_for("the end of the process", || child.try_wait().unwrap())
}

/// Looks until there is something.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Sends a signal by its name.
pub(crate) fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap();
    assert!(status.success());
}

/// Processes whose parent is `pid`.
#[cfg(target_os = "linux")]
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let parent = |stat: &str| stat.rsplit(')').next()?.split_whitespace().nth(1)?.parse::<u32>().ok();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|child| std::fs::read_to_string(stat_file(*child)).is_ok_and(|stat| parent(&stat) == Some(pid)))
        .collect()
}

/// Whether a process runs (a zombie does not).
#[cfg(target_os = "linux")]
pub(crate) fn is_running(pid: u32) -> bool {
    let state =
        |stat: String| stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next().map(str::to_owned));
    std::fs::read_to_string(stat_file(pid)).ok().and_then(state).is_some_and(|state| state != "Z" && state != "X")
}

#[cfg(target_os = "linux")]
fn stat_file(pid: u32) -> PathBuf {
    Path::new("/proc").join(pid.to_string()).join("stat")
}
