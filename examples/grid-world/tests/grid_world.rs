//! The example as a person uses it: the real `impala train` starts the real program. `impala` must have been built beside it, as
//! `cargo test --workspace` does.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_env::array::ArrayRef;
use impala_env::seed::Rng;
use impala_env::{StepBuffer, VectorEnvironment, rngs};
use impala_harness::processes::{Program, Run};
use impala_worker::{Launch, WorkerEnvironments, of_actors};
use rand::SeedableRng;
use std::fs;
use std::path::Path;
use std::process::Output;

/// The program of the example.
const OWN: &str = env!("CARGO_BIN_EXE_grid-world");

/// The person's tool, which cargo puts beside it.
fn impala() -> Program {
    let path = Path::new(OWN).with_file_name("impala");
    assert!(path.exists(), "{} is missing: build it, `cargo build --release -p impala`", path.display());
    Program::at(String::leak(path.to_str().unwrap().to_owned()))
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn it_is_learned_and_what_was_learned_is_evaluated_in_the_program() {
    let run = Run::of(impala());
    let output = run.train(&["--actor-program", OWN, "--seed", "1", "--frames-max", "10000000"]).output().unwrap();
    let told = text(&output);
    assert!(output.status.success() && told.contains("result        solved"), "{told}");
    let directory = run.directory();
    let eval = |arguments: &[&str]| {
        let mut command = impala().command(&["eval", directory.to_str().unwrap()]);
        command.args(arguments).output().unwrap()
    };
    // Other episodes than those that it was verified in: their mean of 100 lies within a fraction of 1 around the goal of 4.25.
    let output = eval(&["--actor-program", OWN, "--require-return", "3"]);
    assert!(output.status.success(), "{}", text(&output));
    // Nothing that the run leaves names the program, so whoever evaluates does.
    let config = fs::read_to_string(directory.join("config.toml")).unwrap();
    assert!(config.contains("environment = \"grid-world-v0\"") && !config.contains(OWN), "{config}");
    let picture = directory.join("episode.gif");
    let mut render = impala().command(&["render", directory.to_str().unwrap(), "--actor-program", OWN, "--out"]);
    let output = render.arg(&picture).output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    assert!(fs::read(&picture).unwrap().starts_with(b"GIF89a"));
    let output = eval(&[]);
    let told = text(&output);
    assert!(!output.status.success() && told.contains("name that too, by --actor-program"), "{told}");
}

#[test]
fn deterministic_runs_end_with_the_same_bits_also_in_two_halves() {
    let settings = ["--deterministic", "--actors", "2", "--solved-return", "6", "--actor-program", OWN];
    let model = |directory: &Path| fs::read(directory.join("model.safetensors")).unwrap();
    let whole = Run::of(impala());
    whole.train(&[&settings[..], &["--frames-max", "48000"]].concat()).output().unwrap();
    let expected = model(&whole.directory());

    let halves = Run::of(impala());
    halves.train(&[&settings[..], &["--frames-max", "24000"]].concat()).output().unwrap();
    let directory = halves.directory();
    assert!(model(&directory) != expected, "the first half is the whole");
    let mut resume =
        impala().command(&["train", "--quiet", "--frames-max", "48000", "--actor-program", OWN, "--resume"]);
    let output = resume.arg(&directory).output().unwrap();
    assert!(text(&output).contains("resumed       after update "), "{}", text(&output));
    assert!(model(&directory) == expected, "another model");
}

#[test]
fn what_the_learner_sees_in_a_worker_is_to_the_bit_what_an_actor_steps() {
    let here = grid_world::registry().unwrap().kinds()[0].clone();
    let program = impala_worker::Program::new(Path::new(OWN), ["--worker"]);
    let launch = Launch { workers: 2, ..Launch::new(program, here.name()) };
    let kind = of_actors(&launch).unwrap();
    assert_eq!((kind.spec(), kind.action_names()), (here.spec(), here.action_names()));
    assert!(kind.is_resumable());
    let seeds: Vec<u64> = (0..7).collect();
    let mut there = WorkerEnvironments::start(&launch, &seeds).unwrap();
    let mut own = here.make(seeds.iter().copied().map(Rng::seed_from_u64).collect());
    let mut buffers = [StepBuffer::new(here.spec(), 7), StepBuffer::new(here.spec(), 7)];
    buffers[0].observe(&there);
    buffers[1].observe(&*own);
    let mut ends = 0;
    for step in 0..1000 {
        assert!(buffers[0] == buffers[1], "before step {step}");
        assert_eq!([there.scene(5), there.final_scene(5)], [own.scene(5), own.final_scene(5)]);
        let of = |(environment, mask): (usize, &[u8])| {
            let allowed: Vec<u8> = (0..4).filter(|action| mask[usize::from(*action)] == 1).collect();
            allowed[(step * 31 + environment * 17 + step / 5) % allowed.len()]
        };
        let actions: Vec<u8> = buffers[0].masks.chunks(4).enumerate().map(of).collect();
        buffers[0].step(&mut there, ArrayRef::U8(&actions));
        buffers[1].step(&mut *own, ArrayRef::U8(&actions));
        ends += buffers[1].outcomes.iter().filter(|outcome| **outcome != impala_env::Outcome::Continues).count();
    }
    assert!(ends > 20, "{ends} episodes");
}

#[test]
fn its_state_is_taken_up_to_the_bit() {
    let kind = grid_world::registry().unwrap().kinds()[0].clone();
    let mut environments = [kind.make(rngs(1, 0, 5)), kind.make(rngs(2, 1, 5))];
    let mut buffers = [StepBuffer::new(kind.spec(), 5), StepBuffer::new(kind.spec(), 5)];
    let step = |environment: &mut Box<dyn VectorEnvironment>, buffer: &mut StepBuffer, step: usize| {
        let actions: Vec<u8> = (0..5).map(|i| ((step / 3 + i) % 4) as u8).collect();
        buffer.step(&mut **environment, ArrayRef::U8(&actions));
    };
    (0..130).for_each(|t| step(&mut environments[0], &mut buffers[0], t));
    let state = environments[0].state();
    environments[1].restore(&state).unwrap();
    for t in 0..300 {
        environments.iter_mut().zip(&mut buffers).for_each(|(environment, buffer)| step(environment, buffer, t));
        assert_eq!(buffers[0], buffers[1]);
    }
}

#[test]
fn what_the_program_lacks_and_what_is_no_such_program_is_told_before_anything_is_left() {
    let run = Run::of(impala());
    for (arguments, told) in [
        (
            ["--actor-program", OWN, "--environment", "grid-world-v1"],
            "unknown environment `grid-world-v1` (did you mean grid-world-v0?): use one of grid-world-v0",
        ),
        (
            ["--actor-program", OWN, "--environment", "cartpole-v1"],
            "unknown environment `cartpole-v1`: use one of grid-world-v0",
        ),
        (
            ["--actor-program", "/nowhere/mine", "--environment", "mine"],
            "--actor-program /nowhere/mine: it cannot be started",
        ),
        (["--actor-program", "true", "--environment", "mine"], "--actor-program true: it ended with exit status: 0"),
        (["--actor-program", "echo", "--environment", "mine"], "its standard output began with \"--worker\\n\""),
    ] {
        let output = run.train(&arguments).output().unwrap();
        let complaint = text(&output);
        assert!(!output.status.success() && complaint.contains(told), "{complaint}");
        assert!(!run.path().exists(), "a directory was left: {complaint}");
    }
    let without = run.train(&["--actor-program", "echo"]).output().unwrap();
    assert!(text(&without).contains("its standard output began with \"--describe\\n\""), "{}", text(&without));
}

#[test]
fn its_command_line_is_that_of_an_actor_and_lists_its_environments() {
    let own = |arguments: &[&str]| Program::at(OWN).command(arguments).output().unwrap();
    let described = own(&["--describe"]);
    let line: serde_json::Value = serde_json::from_slice(&described.stdout).unwrap();
    assert_eq!((line["name"].as_str(), line["masked"].as_bool()), (Some("grid-world-v0"), Some(true)));
    assert_eq!(line["action_names"], serde_json::json!(["up", "down", "left", "right"]));
    let help = text(&own(&["--help"]));
    for flag in
        ["--learner", "--name", "--index", "--environment", "--metrics-listen", "--wait", "--describe", "--worker"]
    {
        assert!(help.contains(flag), "{flag} is missing in:\n{help}");
    }
    let unknown = own(&["--environment", "catch"]);
    assert!(text(&unknown).contains("unknown environment `catch`: use one of grid-world-v0"), "{}", text(&unknown));
}
