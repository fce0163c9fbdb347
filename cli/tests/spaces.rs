//! Environments of every kind of space are learned, over the wire and back: bytes in, several masked choices or numbers out.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use impala_actor::app::ActorConfig;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::space::{ActionSpace, ObservationSpace};
use impala_env::{Environment, EnvironmentKind, Outcome, Registry};
use impala_harness::patience::within;
use impala_learner::app::Learner;
use impala_learner::config::Config;
use impala_learner::report::summary::RunEnd;
use impala_learner::run::resume::default_store;
use impala_learner::run::run_dir::RunDir;
use impala_policy::evaluate::{self, EvaluationPlan};
use impala_policy::model_file;
use impala_policy::network::PolicyHead;
use rand::RngExt;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

/// Two numbers are shown, as bytes; each of two components is to choose its own. The one choice that never pays is forbidden half of
/// the time, and then nobody may make it.
#[derive(Serialize, Deserialize)]
struct Match {
    shown: [u8; 2],
    forbids: bool,
}

impl Environment for Match {
    fn reset(&mut self, rng: &mut Rng) {
        self.shown = [rng.random_range(0..2), rng.random_range(0..2)];
        self.forbids = rng.random();
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        let action = action.u8();
        assert!(!self.forbids || action[1] != 2, "a forbidden choice was made");
        let right = action.iter().zip(self.shown).filter(|(action, shown)| **action == *shown).count();
        (0.5 * right as f32, Outcome::Terminated)
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.u8().copy_from_slice(&self.shown.map(|shown| 255 * shown));
    }

    fn mask(&self, choices: &mut [u8]) {
        choices.copy_from_slice(&[1, 1, 1, 1, u8::from(!self.forbids)]);
    }
}

/// A point between -1 and 1 is shown; the action, between 0 and 10, is to be at five times its distance from -1. What is missed is
/// paid for.
#[derive(Serialize, Deserialize)]
struct Aim {
    point: f32,
}

impl Environment for Aim {
    fn reset(&mut self, rng: &mut Rng) {
        self.point = rng.random_range(-1.0..1.0);
    }

    fn step(&mut self, action: ArrayRef<'_>, _: &mut Rng) -> (f32, Outcome) {
        let action = action.f32()[0];
        assert!((0.0..=10.0).contains(&action), "{action} is out of bounds");
        let missed = action / 5.0 - 1.0 - self.point;
        (-missed * missed, Outcome::Terminated)
    }

    fn observe(&self, observation: ArrayMut<'_>) {
        observation.f32().copy_from_slice(&[self.point]);
    }
}

fn registry() -> Registry {
    let (choices, numbers) = (ActionSpace::MultiDiscrete(vec![2, 3]), ActionSpace::bounded(&[0.0], &[10.0]));
    let matching = EnvironmentKind::of_one("match-v0", ObservationSpace::bytes(&[2]), choices, 0.97, || Match {
        shown: [0; 2],
        forbids: false,
    });
    let aim = EnvironmentKind::of_one("aim-v0", ObservationSpace::vector(1), numbers, -0.01, || Aim { point: 0.0 });
    let mut registry = Registry::new();
    registry.register(matching.unwrap().with_masks().unwrap()).unwrap();
    registry.register(aim.unwrap()).unwrap();
    registry
}

/// Trains in lockstep until the goal is reached; the head that was trained.
async fn learned(settings: &str) -> PolicyHead {
    let (registry, directory) = (registry(), tempfile::tempdir().unwrap());
    let common = "hidden = [16]\ndevice = \"cpu\"\ndeterministic = true\nactors = 1\nlisten = \"127.0.0.1:0\"\n\
                  frames_max = 2000000\nreward_scale = 1.0\nlearning_rate = 0.003\n";
    let config = Config::complete(format!("{common}{settings}").parse().unwrap(), &registry).unwrap();
    let learner = Learner::bind(config.clone(), None).await.unwrap();
    let url = format!("http://{}", learner.address()).parse().unwrap();
    let actor = ActorConfig::new(url, "a".into(), registry.clone());
    let actor = tokio::spawn(impala_actor::app::run(actor, CancellationToken::new()));
    let run_dir = RunDir::take(&config, Some(directory.path())).unwrap();
    let store = default_store(run_dir.path());
    let run = learner.run(run_dir.clone(), store.clone(), false, CancellationToken::new());
    let outcome = within("the end of the run", run).await.unwrap();
    assert_eq!(outcome.summary.end, RunEnd::Solved, "{settings}");
    within("the end of the actor", actor).await.unwrap().unwrap();

    // The model file and the checkpoint tell their heads, and play as they were verified.
    let model = model_file::load(&run_dir.file("model.safetensors")).unwrap();
    let evaluation = evaluate::model(&model, &registry, EvaluationPlan::new(500, 1)).unwrap();
    assert!(evaluation.mean() >= config.solved_return() - 0.05, "{settings}: {}", evaluation.mean());
    let found = store.newest(&registry).await.unwrap().unwrap();
    let checkpoint = model_file::load(&run_dir.path().join("checkpoints").join(&found.name)).unwrap();
    assert_eq!((checkpoint.network, config.network()), (model.network.clone(), model.network.clone()));
    model.network.head
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_masked_choices_are_learned_from_bytes() {
    assert_eq!(learned("environment = \"match-v0\"").await, PolicyHead::MaskedChoices(vec![2, 3]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_within_bounds_are_learned_clipped_and_squashed() {
    assert_eq!(learned("environment = \"aim-v0\"").await, PolicyHead::Gaussian(1));
    let squashed = learned("environment = \"aim-v0\"\nsquash_actions = true").await;
    assert_eq!(squashed, PolicyHead::SquashedGaussian(1));
}
