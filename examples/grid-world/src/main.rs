//! The program of the example: an actor with the grid world alone.

use std::process::ExitCode;

/// As the programs of the project have it: what a rollout makes is freed on another thread, which this allocator is good at.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let registry = grid_world::registry().expect("its names and numbers are in bounds");
    impala_actor::program::main(&registry)
}
