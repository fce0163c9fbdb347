//! The Prometheus endpoints of a learner and an actor at work give every documented metric, with help and unit's name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use support::{Run, impala, signal, wait_for, wait_for_end};

#[test]
fn learner_and_actor_serve_every_metric_with_help() {
    let run = Run::new();
    let mut command = impala(&["learner", "--solved-return", "501", "--listen", "127.0.0.1:0", "--runs-dir"]);
    let (mut learner, learner_log) = start(command.arg(run.path()).args(["--log-format", "json"]));
    let learner_metrics = address(&learner_log, "http://", "/metrics");
    let learner_address = address(&learner_log, "\"address\":\"", "\"");
    let (mut actor, actor_log) = start(&mut impala(&["actor", "--learner", &learner_address]));
    let actor_metrics = address(&actor_log, "http://", "/metrics");

    for (address, names) in [
        (&learner_metrics, impala_learner::metrics::names().collect::<Vec<_>>()),
        (&actor_metrics, impala_actor::metrics::NAMES.to_vec()),
    ] {
        // Some appear with the first episode or the first report.
        wait_for(&names.join(", "), || names.iter().all(|name| is_complete(&get(address), name)).then_some(()));
    }
    signal(learner.id(), "INT");
    wait_for_end(&mut learner);
    assert!(wait_for_end(&mut actor).success());
}

/// Starts a program; gives its log line by line.
fn start(command: &mut Command) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let log = BufReader::new(child.stderr.take().unwrap());
    let (lines, receiver) = std::sync::mpsc::channel();
    // Reads on to the end, so that the program never blocks on a full pipe.
    let read = move || log.lines().map_while(Result::ok).for_each(|line| drop(lines.send(line)));
    std::thread::Builder::new().name("log".into()).spawn(read).unwrap();
    (child, receiver)
}

/// What stands between two texts in the first line of a log that has both.
fn address(log: &std::sync::mpsc::Receiver<String>, before: &str, behind: &str) -> String {
    let found = log.iter().find_map(|line| Some(line.split_once(before)?.1.split_once(behind)?.0.to_owned()));
    found.unwrap_or_else(|| panic!("the log ended before `{before}`"))
}

fn get(address: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

/// Whether a metric has its help and at least one sample.
fn is_complete(answer: &str, name: &str) -> bool {
    let has_help = answer.contains(&format!("# HELP {name} "));
    let is_sample = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', '_']));
    has_help && answer.lines().any(is_sample)
}
