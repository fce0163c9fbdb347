//! A learner that does not have its environment: the real program, and an actor in the test's process that has it.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_actor::app::{self, ActorConfig};
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{Environment, EnvironmentKind, Outcome, Registry};
use impala_harness::patience::within;
use impala_harness::processes::{Program, Run, address, line_with, start_printing_to, wait_for_end};
use impala_policy::evaluate::{self, EvaluationPlan, Mode, Series};
use impala_policy::model_file;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use std::process::Stdio;
use tokio_util::sync::CancellationToken;

/// The program under test, which knows nothing of the environment.
const IMPALA: Program = Program::at(env!("CARGO_BIN_EXE_impala"));

/// One step an episode: the observation is 1 or -1, and the action that agrees with it pays 1.
#[derive(Serialize, Deserialize)]
struct Guess {
    sign: f32,
}

impl Environment for Guess {
    fn reset(&mut self, rng: &mut Rng) {
        self.sign = if rng.random::<bool>() { 1.0 } else { -1.0 };
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        let is_right = (action.u8()[0] == 1) == (self.sign > 0.0);
        (f32::from(u8::from(is_right)), Outcome::Terminated)
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.f32().fill(self.sign);
    }
}

fn guess() -> EnvironmentKind {
    EnvironmentKind::of_one("guess-v0", 1.into(), 2.into(), 0.95, || Guess { sign: 0.0 }).unwrap()
}

fn refusal(arguments: &[&str]) -> String {
    let output = IMPALA.command(arguments).output().unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_learner_takes_the_shape_from_the_first_actor_and_is_solved_by_what_actors_find() {
    let run = Run::of(IMPALA);
    let flags = ["learner", "--environment", "guess-v0", "--accept-spec", "--solved-return", "0.95"];
    let more = ["--hidden", "64", "--device", "cpu", "--listen", "127.0.0.1:0", "--time-max", "5m", "--runs-dir"];
    let mut command = IMPALA.command(&flags);
    let (mut learner, log) = start_printing_to(Stdio::null(), command.args(more).arg(run.path()));
    let url = format!("http://{}", address(&log, "waiting at ", " for the first actor that has guess-v0"));
    let actor = |name: &str, kind| ActorConfig::new(url.parse().unwrap(), name.into(), Registry::only(kind));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    // No word of an actor ends a learner: a network for this shape has more parameters than any may have.
    let large = EnvironmentKind::of_one("guess-v0", 4_000_000.into(), 2.into(), 0.95, || Guess { sign: 0.0 }).unwrap();
    let leaves = CancellationToken::new();
    let waiting = runtime.spawn(app::run(actor("large", large), leaves.clone()));
    line_with(&log, "with which this learner cannot train: hidden = [64]");
    leaves.cancel();
    let _ = runtime.block_on(within("the end of the large actor", waiting)).unwrap();
    let acting = runtime.spawn(app::run(actor("first", guess()), CancellationToken::new()));
    line_with(&log, "the actor `first` told the shape of the environment: guess-v0 (observations f32[1], 2 actions)");
    let report = runtime.block_on(within("the end of the actor", acting)).unwrap().unwrap();
    assert_eq!(report.finish_reason.as_deref(), Some("solved"));
    assert!(wait_for_end(&mut learner).success());

    // What was verified is what this process finds, which has the environment.
    let directory = run.directory();
    let json = std::fs::read_to_string(directory.join("summary.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let (verified, tries) = (&json["verification"]["verified"], json["verification"]["count"].as_u64().unwrap());
    let model = model_file::load(&directory.join("model.safetensors")).unwrap();
    assert_eq!(verified["updates"], model.description.updates);
    let series = Series::Try(u32::try_from(tries).unwrap());
    let play = |episodes, first| {
        let plan = EvaluationPlan { first, series, mode: Mode::Greedy, ..EvaluationPlan::new(episodes, 1) };
        evaluate::play(&guess(), &model.network, &model.parameters, plan, &|| false).unwrap()
    };
    let mut here = play(100, 0);
    if verified["score"]["episodes"] == 1000 {
        here = here.and(play(900, 100));
    }
    assert_eq!(serde_json::to_value(here.score()).unwrap(), verified["score"]);

    // The run is gone on with by its own word.
    let directory = directory.to_str().unwrap();
    let resumed = IMPALA.command(&["learner", "--print-config", "--resume", directory]).output().unwrap();
    let printed = String::from_utf8(resumed.stdout).unwrap();
    let shape = r#"environment_spec = '{"observations":{"shape":[1],"dtype":"f32"},"actions":{"discrete":2}}'"#;
    assert!(printed.contains(shape), "{printed}{}", String::from_utf8_lossy(&resumed.stderr));
    let other = r#"{"observations":{"shape":[2],"dtype":"f32"},"actions":{"discrete":2}}"#;
    let refused = refusal(&["learner", "--resume", directory, "--environment-spec", other]);
    assert!(
        refused.contains("environment_spec = guess-v0 (observations f32[2], 2 actions): the checkpoint"),
        "{refused}"
    );
    let refused = refusal(&["eval", directory]);
    assert!(refused.contains("unknown environment `guess-v0`"), "{refused}");
}

#[test]
fn an_environment_that_nobody_here_has_is_refused_with_what_would_help() {
    let refused = refusal(&["learner", "--environment", "guess-v0"]);
    for part in ["environment = guess-v0: unknown environment", "--accept-spec", "environment_spec", "--actor-program"]
    {
        assert!(refused.contains(part), "{refused}");
    }
    let refused = refusal(&["train", "--environment", "guess-v0", "--accept-spec"]);
    assert!(refused.contains("use `impala learner --accept-spec`"), "{refused}");
    let shape = r#"{"observations":{"shape":[4],"dtype":"f32"},"actions":{"discrete":2}}"#;
    let refused = refusal(&["train", "--environment", "guess-v0", "--environment-spec", shape]);
    assert!(refused.contains("neither this program nor the actors that `train` starts have it"), "{refused}");
    let other = shape.replace("[4]", "[5]");
    let refused = refusal(&["learner", "--environment-spec", &other]);
    assert!(refused.contains("this program's environment is another: cartpole-v1 (observations f32[4]"), "{refused}");
}
