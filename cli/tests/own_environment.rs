//! How a program trains on an environment of its own: implement it, register it, pass the registry to learner and actor, load
//! the model and evaluate it. All in one process here; in two, each calls its half.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use impala_actor::app::ActorConfig;
use impala_actor::rollout::{RollPlan, Roller};
use impala_common::ids::{ActorIndex, Sequence, WeightsVersion};
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, Outcome, Registry, StateError, Step, VectorEnvironment};
use impala_harness::patience::within;
use impala_learner::app::Learner;
use impala_learner::config::Config;
use impala_learner::report::summary::RunEnd;
use impala_learner::run::resume::default_store;
use impala_learner::run::run_dir::RunDir;
use impala_policy::activation::Activation;
use impala_policy::evaluate::{self, EvaluationPlan};
use impala_policy::model_file;
use impala_policy::network::{NetworkSpec, PolicyHead};
use rand::RngExt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A file of settings names the environment like any other.
const SETTINGS: &str = r#"
    environment = "guess-v0"
    hidden = [8]
    device = "cpu"
    deterministic = true
    actors = 1
    listen = "127.0.0.1:0"
    frames_max = 200000
"#;

/// One step an episode: the observation is 1 or -1, and the action that agrees with it pays 1.
struct Guess {
    signs: Vec<f32>,
    rngs: Vec<Rng>,
}

impl Guess {
    fn new(rngs: Vec<Rng>) -> Self {
        let mut environments = Self { signs: vec![0.0; rngs.len()], rngs };
        (0..environments.signs.len()).for_each(|i| environments.reset(i));
        environments
    }

    fn reset(&mut self, i: usize) {
        self.signs[i] = if self.rngs[i].random::<bool>() { 1.0 } else { -1.0 };
    }
}

impl VectorEnvironment for Guess {
    fn environments(&self) -> usize {
        self.signs.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().copy_from_slice(&self.signs);
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        let actions = actions.u8();
        for (i, action) in actions.iter().enumerate() {
            step.rewards[i] = if (*action == 1) == (self.signs[i] > 0.0) { 1.0 } else { 0.0 };
            step.outcomes[i] = Outcome::Terminated;
            self.reset(i);
        }
        step.observations.f32().copy_from_slice(&self.signs);
    }

    fn state(&self) -> Vec<u8> {
        serde_json::to_vec(&(&self.signs, &self.rngs)).expect("numbers are JSON")
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let environments = self.signs.len();
        let read = serde_json::from_slice::<(Vec<f32>, Vec<Rng>)>(state).ok();
        let read = read.filter(|(signs, rngs)| signs.len() == environments && rngs.len() == environments);
        (self.signs, self.rngs) = read.ok_or(StateError::new("guess", environments))?;
        Ok(())
    }
}

/// What a program of one's own passes to learner and actor.
fn registry() -> Registry {
    let mut registry = impala_env::builtin();
    let guess = EnvironmentKind::new("guess-v0", 1, 2, 0.95, |rngs| Box::new(Guess::new(rngs)));
    registry.register(guess.unwrap()).unwrap();
    registry
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_program_trains_on_an_environment_of_its_own_and_evaluates_what_it_learned() {
    let registry = registry();
    let directory = tempfile::tempdir().unwrap();
    let config = Config::complete(SETTINGS.parse().unwrap(), &registry).unwrap();
    assert_eq!(config.solved_return(), 0.95);
    let learner = Learner::bind(config.clone(), None).await.unwrap();
    let url = format!("http://{}", learner.address()).parse().unwrap();
    let actor =
        impala_actor::app::run(ActorConfig::new(url, "mine".into(), registry.clone()), CancellationToken::new());
    let actor = tokio::spawn(actor);
    let run_dir = RunDir::take(&config, Some(directory.path())).unwrap();
    let store = default_store(run_dir.path());
    let run = learner.run(run_dir.clone(), store.clone(), false, CancellationToken::new());
    let outcome = within("the end of the run", run).await.unwrap();
    assert_eq!(outcome.summary.end, RunEnd::Solved);
    assert_eq!(within("the end of the actor", actor).await.unwrap().unwrap().finish_reason.as_deref(), Some("solved"));

    // The model file, and the weights in the last checkpoint, without the learner.
    let model = model_file::load(&run_dir.file("model.safetensors")).unwrap();
    assert_eq!(model.parameters, outcome.parameters);
    let evaluation = evaluate::model(&model, &registry, EvaluationPlan::new(200, 1)).unwrap();
    assert!(evaluation.mean() > 0.95, "{}", evaluation.mean());
    let found = store.newest(&registry).await.unwrap().unwrap();
    let checkpoint = model_file::load(&run_dir.path().join("checkpoints").join(&found.name)).unwrap();
    assert_eq!(checkpoint, model);
    let error = evaluate::model(&model, &impala_env::builtin(), EvaluationPlan::new(1, 1)).unwrap_err().to_string();
    assert!(error.starts_with("unknown environment `guess-v0`: use one of cartpole-v1"), "{error}");

    // The state of its own went through the wire and the checkpoint, and is taken up.
    let plan = RollPlan::of(&config.agreement(), config.environment().clone());
    Roller::take_up(plan, &found.checkpoint.actor_states[&0]).unwrap();
}

#[test]
fn a_roller_steps_saves_and_takes_up_an_environment_of_its_own() {
    let environment = registry().get(&"guess-v0".parse().unwrap()).unwrap().clone();
    let network = NetworkSpec {
        observation_len: 1,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(2),
        normalises: false,
    };
    // The second logit is ten times the observation: always the right action, or nearly so.
    let parameters = vec![0.0, 10.0, 0.0, 0.0, 0.0, 0.0];
    let plan = RollPlan {
        environment: environment.clone(),
        network: network.clone(),
        unroll_length: 5,
        environments: 3,
        seed: 1,
        actor_index: ActorIndex(0),
    };
    let weights =
        Arc::new(impala_actor::weights::Weights { version: WeightsVersion(0), parameters: parameters.clone() });
    let mut roller = Roller::new(plan.clone());
    roller.unroll(Sequence(0), &weights).unwrap();
    assert_eq!(roller.ended_episodes().len(), 15, "every step ends an episode");
    let mut again = Roller::take_up(plan, &roller.save()).unwrap();
    let [a, b] = [&mut roller, &mut again].map(|roller| roller.unroll(Sequence(1), &weights).unwrap());
    assert_eq!(a, b);
    let evaluation =
        evaluate::play(&environment, &network, &parameters, EvaluationPlan::new(50, 1), &|| false).unwrap();
    assert_eq!(evaluation.mean(), 1.0);
}
