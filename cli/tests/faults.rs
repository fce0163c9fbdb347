//! What happens when processes of a run are told to stop, or die.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use impala_harness::processes::{
    ENDLESS, Ending, Program, Run, asked, children, file_with, find_line, is_running, line_with, signal, start,
    wait_for_end,
};
use std::fs;
use std::io::Read;
use std::process::Stdio;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

#[test]
fn one_interrupt_stops_cleanly_with_everything_written() {
    let run = Run::of(IMPALA);
    let mut training = run.endless();
    run.wait_for_training();
    let actors = children(training.id());
    assert_eq!(actors.len(), 2);
    signal(training.id(), "INT");
    assert_eq!(wait_for_end(&mut training).code(), Some(130));
    let mut text = String::new();
    training.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(text.contains("result        interrupted") && text.contains("0 in flight"), "{text}");
    for name in ["model.safetensors", "summary.json", "learning_curve.svg", "metrics.csv"] {
        assert!(run.directory().join(name).exists(), "{name}");
    }
    assert!(actors.iter().all(|pid| !is_running(*pid)));
}

#[test]
fn a_terminal_that_goes_away_stops_cleanly_with_everything_written() {
    let run = Run::of(IMPALA);
    let mut training = run.endless();
    run.wait_for_training();
    // The kernel tells the foreground's processes, and a shell its own besides.
    signal(training.id(), "HUP");
    run.wait_for_text("learner.log", "SIGHUP");
    (0..3).for_each(|_| signal(training.id(), "HUP"));
    assert_eq!(wait_for_end(&mut training).code(), Some(130));
    for name in ["model.safetensors", "summary.json"] {
        assert!(run.directory().join(name).exists(), "{name}");
    }
}

#[test]
fn a_run_that_is_to_outlive_its_terminal_does() {
    let run = Run::of(IMPALA);
    // As `nohup` does.
    let mut training = run.endless_after("trap '' HUP");
    run.wait_for_training();
    signal(training.id(), "HUP");
    run.wait_for_rows(3);
    signal(training.id(), "TERM");
    assert_eq!(wait_for_end(&mut training).code(), Some(130));
    let log = fs::read_to_string(run.directory().join("learner.log")).unwrap();
    assert!(log.contains("SIGTERM") && !log.contains("SIGHUP"), "{log}");
}

#[test]
fn a_second_interrupt_exits_at_once_and_takes_the_actors_along() {
    let run = Run::of(IMPALA);
    let mut training = run.endless();
    run.wait_for_training();
    let actors = children(training.id());
    let endings: Vec<_> = actors.iter().copied().map(Ending::of).collect();
    // Stopped actors cannot say farewell: the first interrupt has to wait for them.
    actors.iter().for_each(|pid| signal(*pid, "STOP"));
    signal(training.id(), "INT");
    run.wait_for_text("learner.log", "a second signal exits at once");
    signal(training.id(), "INT");
    assert_eq!(wait_for_end(&mut training).code(), Some(130));
    actors.iter().for_each(|pid| signal(*pid, "CONT"));
    endings.into_iter().for_each(Ending::wait);
}

#[test]
fn no_actor_outlives_a_killed_parent() {
    let run = Run::of(IMPALA);
    let mut training = run.endless();
    run.wait_for_training();
    let actors = children(training.id());
    assert_eq!(actors.len(), 2);
    let endings: Vec<_> = actors.into_iter().map(Ending::of).collect();
    signal(training.id(), "KILL");
    wait_for_end(&mut training);
    endings.into_iter().for_each(Ending::wait);
}

#[test]
fn a_killed_actor_is_started_again_and_training_goes_on() {
    let run = Run::of(IMPALA);
    let mut training = run.endless();
    run.wait_for_training();
    let (log, connected) = (run.directory().join("learner.log"), |log: &str| log.matches("an actor connected").count());
    // Training begins with the first of them: one that is killed before it has connected is never counted.
    file_with("both actors' connections", &log, |log| connected(log) == 2);
    let killed = children(training.id())[0];
    signal(killed, "KILL");
    run.wait_for_text("learner.log", "starting it again");
    file_with("the new actor's connection", &log, |log| connected(log) == 3);
    assert_eq!(children(training.id()).into_iter().filter(|pid| is_running(*pid)).count(), 2);
    signal(training.id(), "INT");
    assert_eq!(wait_for_end(&mut training).code(), Some(130));
    let summary = fs::read_to_string(run.directory().join("summary.txt")).unwrap();
    assert!(summary.contains("0 in flight"), "{summary}");
}

#[test]
fn an_actor_outlives_its_learner_and_works_for_the_next_one() {
    let run = Run::of(IMPALA);
    // The first learner takes a free port; the second one takes the same.
    let learner = |listen: &str| {
        let mut command = IMPALA.command(&["learner", "--listen", listen, "--runs-dir"]);
        start(command.arg(run.path()).args(ENDLESS))
    };
    let (mut first, log) = learner("127.0.0.1:0");
    let ready = line_with(&log, "learner ready");
    let address = ready.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
    let mut actor =
        IMPALA.command(&["actor", "--learner", &address, "--name", "survivor"]).stderr(Stdio::null()).spawn().unwrap();
    line_with(&log, "an actor connected");
    signal(first.id(), "KILL");
    wait_for_end(&mut first);

    // Another process may hold the port for a moment: a client whose own port it happened to become.
    let (mut second, log) = asked("a learner on the port of the one before", || {
        let (mut child, log) = learner(&address);
        let is_ready = find_line(&log, "learner ready").is_some();
        if !is_ready {
            wait_for_end(&mut child);
        }
        is_ready.then_some((child, log))
    });
    assert!(line_with(&log, "an actor connected").contains("survivor"));
    signal(second.id(), "INT");
    assert_eq!(wait_for_end(&mut second).code(), Some(130));
    assert!(wait_for_end(&mut actor).success(), "the actor ends with the run");
}
