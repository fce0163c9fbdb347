//! A program of one's own as a process: this one, which is a worker where it is asked to be one, and otherwise starts itself. Standard
//! output must be the worker's alone, so no harness may print to it.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and environments print")]

use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::{Environment, EnvironmentKind, Outcome, Registry, StepBuffer, VectorEnvironment, rngs};
use impala_worker::{Ending, Launch, Program, WorkerEnvironments, kind, list, listed, of_actors, serve};
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::io::Read;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

/// A number is shown; the third step does what the action says.
#[derive(Serialize, Deserialize)]
struct Odd {
    shown: f32,
    steps: u32,
}

impl Environment for Odd {
    fn reset(&mut self, rng: &mut Rng) {
        *self = Self { shown: rng.random(), steps: 0 };
    }

    fn step(&mut self, action: ArrayRef<'_>, rng: &mut Rng) -> (f32, Outcome) {
        self.steps += 1;
        match action.u8()[0] {
            1 => println!("what an environment prints is no frame"),
            2 => panic!("no way on from {}", self.steps),
            3 => std::process::exit(5),
            4 => std::thread::sleep(Duration::from_secs(600)),
            5 => assert_eq!(std::io::stdin().read(&mut [0; 8]).unwrap(), 0, "there is nothing to read"),
            _ => {}
        }
        self.shown = rng.random();
        (self.shown, if self.steps == 4 { Outcome::Truncated } else { Outcome::Continues })
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.f32()[0] = self.shown;
    }
}

fn registry() -> Registry {
    let new = || Odd { shown: 0.0, steps: 0 };
    let (observations, actions) = (ObservationSpace::vector(1), ActionSpace::Discrete(6));
    let odd = EnvironmentKind::of_one("odd-v0", observations, actions, 7.25, new).unwrap();
    let names = ["go", "print", "panic", "exit", "hang", "read"];
    Registry::only(odd.with_rewards(0.0..=1.0).unwrap().with_action_names(&names).unwrap())
}

fn launch() -> Launch {
    let program = Program::new(&std::env::current_exe().unwrap(), ["--worker"]);
    Launch { workers: 2, ..Launch::new(program, &"odd-v0".parse().unwrap()) }
}

fn its_environments_are_described_with_all_that_a_learner_wants_to_know() {
    let own = of_actors(&launch()).unwrap();
    let here = registry().kinds()[0].clone();
    assert_eq!(own, here);
    assert_eq!((own.rewards(), own.action_names()), (here.rewards(), here.action_names()));
    assert!(own.is_resumable() && !kind(&launch()).unwrap().is_resumable(), "an actor through a worker has no state");
    assert_eq!(
        listed(&std::env::current_exe().unwrap(), Duration::from_secs(60)).unwrap(),
        ["odd-v0".parse().unwrap()]
    );
    let mut misspelt = launch();
    misspelt.environment = "odd-v1".parse().unwrap();
    let error = of_actors(&misspelt).unwrap_err().to_string();
    assert!(error.contains("unknown environment `odd-v1` (did you mean odd-v0?): use one of odd-v0"), "{error}");
}

/// Steps five environments with this action of the last one until they fail.
fn stepped(action: u8, launch: &Launch) -> Option<String> {
    let mut environments = WorkerEnvironments::start(launch, &[1, 2, 3, 4, 5]).unwrap();
    let mut buffer = StepBuffer::new(environments.spec(), 5);
    for step in 1..=8 {
        buffer.step(&mut environments, ArrayRef::U8(&[0, 0, 0, 0, action]));
        if let Some(fault) = environments.fault() {
            return Some(fault);
        }
        assert_eq!(buffer.outcomes, [if step % 4 == 0 { Outcome::Truncated } else { Outcome::Continues }; 5]);
        assert!(buffer.rewards == buffer.observations.view().f32() || step % 4 == 0);
    }
    None
}

fn what_an_environment_prints_and_reads_does_not_touch_the_frames() {
    assert_eq!([stepped(0, &launch()), stepped(1, &launch()), stepped(5, &launch())], [const { None }; 3]);
}

fn an_environment_that_panics_exits_or_hangs_is_told_of() {
    let mut launch = launch();
    launch.deadlines.step = Duration::from_millis(300);
    for (action, told) in [
        (2, "worker 1: the environment raised a panic: no way on from 1; the log has the traceback"),
        (3, "worker 1: the worker ended in a step with exit status: 5"),
        (4, "worker 1: the worker was silent for 0.3 s in a step and was ended"),
    ] {
        let fault = stepped(action, &launch).unwrap();
        assert!(fault.contains(told), "{fault}");
    }
}

fn the_same_random_sources_step_the_same_in_any_number_of_workers() {
    let rollouts = [1, 3].map(|workers| {
        let kind = of_actors(&Launch { workers, ..launch() }).unwrap();
        let mut environments = kind.make(rngs(4, 0, 5));
        let mut buffer = StepBuffer::new(kind.spec(), 5);
        let steps = (0..9).map(|_| {
            buffer.step(&mut *environments, ArrayRef::U8(&[0; 5]));
            buffer.clone()
        });
        steps.collect::<Vec<_>>()
    });
    assert_eq!(rollouts[0], rollouts[1]);
}

/// It hangs in a step, and nobody is left to kill it.
fn a_worker_that_hangs_ends_when_whoever_asked_is_gone() {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut worker = command.arg("--worker").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let start = br#"{"environment": "odd-v0", "arguments": {}, "seeds": [1], "render": false}"#;
    let frame = |kind: u8, payload: &[u8]| [&(payload.len() as u32).to_le_bytes(), &[kind, 0, 0, 0], payload].concat();
    let mut stdin = worker.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &[frame(1, start), frame(3, &[4])].concat()).unwrap();
    drop(stdin);
    assert_eq!(worker.wait().unwrap().code(), Some(1));
}

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("--worker") => {
            return match serve(&registry()).unwrap() {
                Ending::Asked => ExitCode::SUCCESS,
                Ending::Failed => ExitCode::FAILURE,
            };
        }
        Some("--describe") => {
            list(&registry(), &mut std::io::stdout()).unwrap();
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let tests: [(&str, fn()); 5] = [
        ("its_environments_are_described", its_environments_are_described_with_all_that_a_learner_wants_to_know),
        ("what_an_environment_prints", what_an_environment_prints_and_reads_does_not_touch_the_frames),
        ("an_environment_that_panics", an_environment_that_panics_exits_or_hangs_is_told_of),
        ("the_same_random_sources", the_same_random_sources_step_the_same_in_any_number_of_workers),
        ("a_worker_that_hangs", a_worker_that_hangs_ends_when_whoever_asked_is_gone),
    ];
    let is_chosen = |name: &str| arguments.iter().all(|word| word.starts_with('-') || name.contains(word.as_str()));
    if arguments.iter().any(|word| word == "--list") {
        tests.iter().for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    for (name, test) in tests.iter().filter(|(name, _)| is_chosen(name)) {
        println!("test {name} ..");
        test();
    }
    ExitCode::SUCCESS
}
