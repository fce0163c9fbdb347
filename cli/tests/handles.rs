//! A process that may not open another file or socket.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(target_os = "linux")]

use impala_harness::processes::{Program, address, asked, get, line_with, start};
use std::net::TcpStream;
use std::process::Command;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));
/// Files and sockets that it may have open.
const HANDLES: u32 = 26;

#[test]
fn a_learner_without_a_free_handle_says_so_waits_for_one_and_goes_on() {
    let runs = tempfile::tempdir().unwrap();
    let learner = IMPALA.command(&["learner", "--listen", "127.0.0.1:0", "--quiet", "--device", "cpu", "--runs-dir"]);
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {HANDLES}; exec \"$0\" \"$@\"")]);
    command.arg(learner.get_program()).args(learner.get_args()).arg(runs.path());
    let (_learner, log) = start(&mut command);
    let metrics = address(&log, "metrics at http://", "/metrics");
    let grpc = address(&log, "address=", " ");
    let said = line_with(&log, "connections");
    assert!(said.contains(&format!("connections={}", HANDLES / 2)), "{said}");
    // The kernel completes connections that nobody has accepted yet.
    let held: Vec<_> = (0..HANDLES).map(|_| TcpStream::connect(&grpc).unwrap()).collect();
    let warning = line_with(&log, "cannot accept");
    assert!(warning.contains("ulimit -n"), "{warning}");
    drop(held);
    asked("a live learner", || get(&metrics, "/livez").1.contains("alive").then_some(()));
    let health = || IMPALA.command(&["health", "learner", "--listen", &grpc]).output().unwrap();
    asked("a healthy learner", || health().status.success().then_some(()));
}
