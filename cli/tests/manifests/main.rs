//! The Kubernetes manifests say what the programs do: what no schema knows. Schemas, best practices and builds of the overlays
//! are the business of `scripts/check-manifests.sh`.
//!
//! Each rule stands beside changes to the manifests that must break it, so that no rule is true of everything.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod actors;
mod dashboard;
mod learner;
mod network;
mod objects;
mod overlays;
mod programs;
mod queries;
mod running;
mod tree;

use impala_harness::processes::Program;

/// The program under test.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));
