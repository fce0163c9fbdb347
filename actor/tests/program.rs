//! The program `impala-actor` as images run it.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn actor(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_impala-actor"));
    std::env::vars().filter(|(name, _)| name.starts_with("IMPALA_")).for_each(|(name, _)| {
        command.env_remove(name);
    });
    command.envs(variables.iter().copied()).args(arguments).output().unwrap()
}

#[test]
fn the_health_check_reads_the_variables_of_the_actor() {
    // All that an image or a manifest sets; nobody listens there.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("0.0.0.0:{}", closed.port());
    let variables = [
        ("IMPALA_LEARNER", "dns:///impala-learner:50051"),
        ("IMPALA_METRICS_LISTEN", listen.as_str()),
        ("IMPALA_ACTOR_NAME", "impala-actor-5d8f"),
        ("IMPALA_LOG_FORMAT", "json"),
    ];
    let output = actor(&variables, &["health"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains(&format!("the actor at {closed} is not healthy")), "{message}");
}

#[test]
fn a_learner_that_cannot_be_reached_by_design_is_refused_before_anything_starts() {
    let output = actor(&[("IMPALA_LEARNER", "dns:///impala-learner")], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("has no port"));
}
