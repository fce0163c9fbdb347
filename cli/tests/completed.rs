//! A learner that keeps serving, its actors, and what people and probes are told, with real processes.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use impala_harness::processes::{ENDLESS, Program, Run, address, asked, get, line_with, signal, start, wait_for_end};
use std::net::TcpListener;
use std::process::Output;
use std::sync::mpsc::Receiver;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Success, and what was printed.
fn ask(arguments: &[&str]) -> (bool, String) {
    let output = IMPALA.command(arguments).output().unwrap();
    (output.status.success(), text(&output))
}

/// Waits until the run is completed: its learner says so before it is, in its last line about the training.
fn completed(log: &Receiver<String>, url: &str) {
    line_with(log, "training is over; serving the final model");
    asked("the completed run", || {
        let (is_there, status) = ask(&["status", "--learner", url, "--json"]);
        assert!(is_there, "{status}");
        status.contains("\"state\": \"completed\"").then_some(())
    });
}

#[test]
fn a_completed_run_is_served_until_a_signal_and_its_actors_work_for_the_next_learner() {
    let run = Run::of(IMPALA);
    let mut command = IMPALA.command(&["learner", "--keep-serving", "--listen", "127.0.0.1:0", "--log-format", "json"]);
    let (mut learner, log) = start(command.arg("--runs-dir").arg(run.path()));
    let probes = address(&log, "http://", "/metrics");
    let learner_address = address(&log, "\"address\":\"", "\"");
    let url = format!("dns:///{learner_address}");
    let (mut actor, actor_log) = start(&mut IMPALA.command(&["actor", "--name", "survivor", "--learner", &url]));
    let actor_probes = address(&actor_log, "http://", "/metrics");

    completed(&log, &url);
    let (_, status) = ask(&["status", "--learner", &url]);
    assert!(status.contains("state         completed: solved") && status.contains("0 in flight"), "{status}");
    for name in ["model.safetensors", "summary.txt", "summary.json"] {
        assert!(run.directory().join(name).exists(), "{name}");
    }
    assert_eq!(get(&probes, "/readyz"), ("HTTP/1.1 200 OK".into(), "completed: solved\n".into()));
    assert_eq!(get(&probes, "/livez").0, "HTTP/1.1 200 OK");
    let metric = "impala_learner_run_state{state=\"completed\"} 1";
    asked(metric, || get(&probes, "/metrics").1.contains(metric).then_some(()));
    let (is_healthy, sentence) = ask(&["health", "learner", "--listen", &learner_address]);
    assert!(is_healthy && sentence.contains("is ready"), "{sentence}");
    let actor_health = ["health", "actor", "--ready", "--metrics-listen", &actor_probes];
    line_with(&actor_log, "idle until the learner at");
    assert!(ask(&actor_health).1.contains("idle: the run is completed"));
    assert_eq!(get(&actor_probes, "/readyz").0, "HTTP/1.1 200 OK");

    signal(learner.id(), "TERM");
    assert_eq!(wait_for_end(&mut learner).code(), Some(0), "the exit code is the result's: solved");
    let (is_healthy, sentence) = ask(&["health", "learner", "--listen", &learner_address]);
    assert!(!is_healthy && sentence.contains("is not healthy") && sentence.contains("cannot connect"), "{sentence}");
    let (is_there, sentence) = ask(&["status", "--learner", &url]);
    assert!(!is_there && sentence.contains("no status from the learner"), "{sentence}");
    line_with(&actor_log, "waiting for the learner at");
    assert!(ask(&actor_health).1.contains("waiting for the learner"));
    assert_eq!(get(&actor_probes, "/readyz").0, "HTTP/1.1 503 Service Unavailable");
    assert!(ask(&["health", "actor", "--metrics-listen", &actor_probes]).0, "who waits lives all the same");

    let mut next = IMPALA.command(&["learner", "--frames-max", "2000", "--listen", &learner_address, "--runs-dir"]);
    next.arg(run.path());
    // Another process may hold the port for a moment: a client whose own port it happened to become.
    let end = asked("the next run", || {
        let end = next.output().unwrap();
        (!text(&end).contains("cannot listen")).then_some(end)
    });
    assert_eq!(end.status.code(), Some(3), "{}", text(&end));
    assert!(wait_for_end(&mut actor).success(), "without --keep-serving actors end with the run");
}

#[test]
fn a_stopped_learner_that_keeps_serving_leaves_its_actors_waiting() {
    let run = Run::of(IMPALA);
    let arguments = ["learner", "--keep-serving", "--listen", "127.0.0.1:0", "--runs-dir"];
    let (mut learner, log) = start(IMPALA.command(&arguments).arg(run.path()).args(ENDLESS));
    let learner_address = address(&log, "address=", " ");
    let (mut actor, actor_log) = start(&mut IMPALA.command(&["actor", "--learner", &learner_address]));
    run.wait_for_training();
    signal(learner.id(), "TERM");
    assert_eq!(wait_for_end(&mut learner).code(), Some(0));
    address(&actor_log, "waiting for the learner at http://", ": ");
    signal(actor.id(), "TERM");
    assert!(wait_for_end(&mut actor).success());
}

#[test]
fn who_accepts_but_never_answers_is_not_healthy() {
    let mute = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = mute.local_addr().unwrap().to_string();
    let questions =
        [["health", "learner", "--listen"], ["health", "actor", "--metrics-listen"], ["status", "", "--learner"]];
    let ask = |words: [&str; 3]| {
        let words = words.iter().filter(|word| !word.is_empty()).copied().collect::<Vec<_>>();
        IMPALA.command(&words).arg(&address).stderr(std::process::Stdio::piped()).spawn().unwrap()
    };
    // Together, since each takes all of its patience.
    let asked = questions.map(ask);
    for child in asked {
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(text(&output).contains("no answer"), "{}", text(&output));
    }
}

#[test]
fn a_port_that_nobody_can_know_is_refused_by_the_health_check() {
    let (is_healthy, sentence) = ask(&["health", "learner", "--listen", "127.0.0.1:0"]);
    assert!(!is_healthy && sentence.contains("port 0"), "{sentence}");
    let (is_healthy, sentence) = ask(&["health", "actor"]);
    assert!(!is_healthy && sentence.contains("IMPALA_METRICS_LISTEN"), "{sentence}");
}

#[test]
fn a_completed_learner_that_is_started_again_is_completed_at_once() {
    let run = Run::of(IMPALA);
    let run_dir = run.path().join("cartpole");
    let learner = || {
        let mut command =
            IMPALA.command(&["learner", "--keep-serving", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        start(command.arg("--run-dir").arg(&run_dir))
    };
    let (mut first, log) = learner();
    let url = address(&log, "\"address\":\"", "\"");
    let (mut actor, _) = start(&mut IMPALA.command(&["actor", "--learner", &url]));
    completed(&log, &url);
    // As when its machine goes.
    signal(first.id(), "KILL");
    wait_for_end(&mut first);
    signal(actor.id(), "TERM");
    wait_for_end(&mut actor);
    let model = std::fs::read(run_dir.join("model.safetensors")).unwrap();

    let (mut second, log) = learner();
    let url = address(&log, "\"address\":\"", "\"");
    completed(&log, &url);
    let (_, status) = ask(&["status", "--learner", &url]);
    assert!(status.contains("state         completed: solved") && status.contains("0 in flight"), "{status}");
    assert!(std::fs::read(run_dir.join("model.safetensors")).unwrap() == model, "it is another model");
    signal(second.id(), "TERM");
    assert_eq!(wait_for_end(&mut second).code(), Some(0));
}
