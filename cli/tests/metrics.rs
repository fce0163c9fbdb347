//! The Prometheus endpoints of a learner and an actor at work give every documented metric, with help and unit's name.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use support::{Run, address, get, impala, signal, start, wait_for, wait_for_end};

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
        (&learner_metrics, impala_learner::handover::metrics::names().collect::<Vec<_>>()),
        (&actor_metrics, impala_actor::metrics::NAMES.to_vec()),
    ] {
        // Some appear with the first episode or the first report.
        wait_for(&names.join(", "), || {
            names.iter().all(|name| is_complete(&get(address, "/metrics").1, name)).then_some(())
        });
    }
    signal(learner.id(), "INT");
    wait_for_end(&mut learner);
    assert!(wait_for_end(&mut actor).success());
}

/// Whether a metric has its help and at least one sample.
fn is_complete(answer: &str, name: &str) -> bool {
    let has_help = answer.contains(&format!("# HELP {name} "));
    let is_sample = |line: &str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{', '_']));
    has_help && answer.lines().any(is_sample)
}
