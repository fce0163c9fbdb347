//! What a step through workers takes, microseconds of all environments together: `scripts/measure-gym.sh` prints it beside gymnasium's
//! own ways. Arguments: interpreter, environment, environments, workers, seconds.

#![allow(clippy::print_stdout, reason = "it prints its figures")]

use impala_env::array::Array;
use impala_env::space::ActionSpace;
use impala_env::{StepBuffer, VectorEnvironment};
use impala_worker::{Launch, Program, WorkerEnvironments};
use std::path::Path;
use std::time::{Duration, Instant};

/// Calls that are not counted.
const WARM_UP: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [python, name, environments, workers, seconds] = arguments.as_slice() else {
        return Err("arguments: PYTHON ENVIRONMENT ENVIRONMENTS WORKERS SECONDS".into());
    };
    let mut launch = Launch::new(Program::python(Path::new(python)), &name.parse()?);
    launch.workers = workers.parse()?;
    let seeds: Vec<u64> = (0..environments.parse()?).collect();
    let time = Duration::from_secs_f64(seconds.parse()?);
    let mut environments = WorkerEnvironments::start(&launch, &seeds)?;
    let mut buffer = StepBuffer::new(environments.spec(), seeds.len());
    let components = environments.spec().actions.components() * seeds.len();
    // Both of CartPole's actions in turn.
    let actions: Array = match environments.spec().actions {
        ActionSpace::Box(_) => vec![0.0; components].into(),
        _ => (0..components).map(|place| u8::from(place % 2 == 0)).collect::<Vec<_>>().into(),
    };
    (0..WARM_UP).for_each(|_| buffer.step(&mut environments, actions.view()));
    let mut calls = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < time {
        let since = Instant::now();
        buffer.step(&mut environments, actions.view());
        calls.push(since.elapsed());
    }
    if let Some(fault) = environments.fault() {
        return Err(fault.into());
    }
    let mean = begin.elapsed().as_secs_f64() / calls.len() as f64;
    calls.sort_unstable();
    let median = calls[calls.len() / 2].as_secs_f64();
    println!("{:.1} {:.1}", median * 1e6, mean * 1e6);
    Ok(())
}
