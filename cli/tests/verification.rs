//! A training mean that reaches the goal solves nothing by itself: in an environment that only a policy which draws its actions does
//! well in, a greedy one does badly. A learner and an actor in the test's own process.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

use impala_actor::app::ActorConfig;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, Outcome as StepOutcome, Registry, StateError, Step, VectorEnvironment};
use impala_harness::patience::within;
use impala_learner::app::{Learner, Outcome};
use impala_learner::config::Config;
use impala_learner::report::summary::RunEnd;
use impala_learner::run::checkpoint::Checkpoint;
use impala_learner::run::resume::default_store;
use impala_learner::run::run_dir::RunDir;
use impala_policy::evaluate::Mode;
use impala_policy::model_file;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Steps of an episode.
const STEPS: u8 = 20;

/// Each step pays 1 if its action is another one than the one before; nothing is to be seen. A coin gets half of the steps, whoever
/// always does the same at most the first.
struct Changes {
    before: Vec<u8>,
    steps: Vec<u8>,
}

impl VectorEnvironment for Changes {
    fn environments(&self) -> usize {
        self.before.len()
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().fill(0.0);
    }

    fn step(&mut self, actions: ArrayRef<'_>, step: Step<'_>) {
        let actions = actions.u8();
        step.observations.f32().fill(0.0);
        for (i, action) in actions.iter().enumerate() {
            step.rewards[i] = f32::from(u8::from(*action != self.before[i]));
            (self.before[i], self.steps[i]) = (*action, self.steps[i] + 1);
            let ends = self.steps[i] == STEPS;
            step.outcomes[i] = if ends { StepOutcome::Terminated } else { StepOutcome::Continues };
            if ends {
                (self.before[i], self.steps[i]) = (0, 0);
            }
        }
    }

    fn state(&self) -> Vec<u8> {
        [&self.before[..], &self.steps[..]].concat()
    }

    fn restore(&mut self, state: &[u8]) -> Result<(), StateError> {
        let n = self.before.len();
        let (before, steps) = state.split_at_checked(n).ok_or(StateError::new("changes", n))?;
        (self.before, self.steps) = (before.to_vec(), steps.to_vec());
        Ok(())
    }
}

fn registry() -> Registry {
    let changes = |rngs: Vec<Rng>| -> Box<dyn VectorEnvironment> {
        Box::new(Changes { before: vec![0; rngs.len()], steps: vec![0; rngs.len()] })
    };
    Registry::only(EnvironmentKind::new("changes-v0", 1, 2, 5.0, changes).unwrap())
}

/// What a run left.
struct Left {
    outcome: Outcome,
    directory: TempDir,
}

impl Left {
    fn checkpoint(&self, name: &str) -> Checkpoint {
        let path = self.directory.path().join("checkpoints").join(name);
        Checkpoint::decode(&std::fs::read(path).unwrap(), &registry()).unwrap()
    }

    fn last(&self) -> Checkpoint {
        self.checkpoint(&format!("update-{:012}.safetensors", self.outcome.summary.updates))
    }
}

/// Trains in lockstep with one actor, 80 frames an update.
async fn train(toml: &str, from: Option<Checkpoint>) -> Left {
    let common = "environment = \"changes-v0\"\nhidden = []\ndevice = \"cpu\"\ndeterministic = true\nactors = 1\n\
                  listen = \"127.0.0.1:0\"\nentropy_cost = 0.1\n";
    let config = Config::complete(format!("{common}{toml}").parse().unwrap(), &registry()).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let learner = Learner::bind(config.clone(), from).await.unwrap();
    let url = format!("http://{}", learner.address()).parse().unwrap();
    let actor = ActorConfig::new(url, "a".into(), registry());
    let actor_stop = CancellationToken::new();
    let actor = tokio::spawn(impala_actor::app::run(actor, actor_stop.clone()));
    let run_dir = RunDir::take(&config, Some(directory.path())).unwrap();
    let store = default_store(run_dir.path());
    let outcome = within("the run", learner.run(run_dir, store, false, CancellationToken::new())).await.unwrap();
    // A run that is over as it begins has told it nothing.
    actor_stop.cancel();
    within("the actor", actor).await.unwrap().unwrap();
    Left { outcome, directory }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_training_mean_at_the_goal_with_a_bad_greedy_policy_is_not_solved() {
    let left = train("frames_max = 12000\nverify_every = 2000", None).await;
    let summary = &left.outcome.summary;
    assert_eq!((&summary.end, summary.solved), (&RunEnd::FramesBudget, None));
    assert!(summary.mean_return.unwrap() >= 5.0, "the training mean: {:?}", summary.mean_return);
    let tries = &summary.verification;
    // A hundred episodes of 20 steps are over after 2,000 frames at the earliest.
    assert!((4..=5).contains(&tries.count) && tries.best_mean.unwrap() <= 1.0, "{tries:?}");
    let told = format!("the training mean reached the goal, but {} greedy evaluations did not: best ", tries.count);
    assert!(summary.to_string().contains(&told), "{summary}");
    let json = std::fs::read_to_string(left.directory.path().join("summary.json")).unwrap();
    assert!(json.contains("\"best_mean\": ") && json.contains("\"end\": \"frames_budget\""), "{json}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_is_solved_where_the_policy_may_draw_its_actions() {
    let left = train("frames_max = 12000\nevaluation = \"sampled\"", None).await;
    let summary = &left.outcome.summary;
    assert_eq!((&summary.end, summary.verification.count), (&RunEnd::Solved, 1));
    let verified = summary.verification.verified.as_ref().unwrap();
    assert_eq!((verified.mode, verified.updates, verified.score.episodes), (Mode::Sampled, summary.updates, 100));
    assert!(summary.to_string().contains("\nsampled       mean "), "{summary}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tries_do_not_change_what_a_deterministic_run_computes_also_where_it_is_resumed_between_them() {
    let settings = |frames| format!("frames_max = {frames}\nverify_every = 2000");
    let whole = train(&settings(12_000), None).await;
    assert_eq!(train(&settings(12_000), None).await.outcome.parameters, whole.outcome.parameters);
    let half = train(&settings(6_000), None).await;
    assert!((1..whole.last().progress.tries.count).contains(&half.last().progress.tries.count));
    let resumed = train(&settings(12_000), Some(half.last())).await;
    assert_eq!(resumed.outcome.parameters, whole.outcome.parameters);
    assert_eq!(resumed.last().progress.tries, whole.last().progress.tries);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_solved_run_that_trains_on_keeps_its_verified_policy_across_processes() {
    let settings = |after| format!("evaluation = \"sampled\"\nframes_after_solved = {after}");
    let whole = train(&settings(4_000), None).await;
    let model = |left: &Left| model_file::load(&left.directory.path().join("model.safetensors")).unwrap();
    let (best, last) = (whole.checkpoint("best.safetensors"), whole.last());
    assert_eq!((&best.parameters, best.is_verified()), (&whole.outcome.parameters, true));
    assert_eq!(model(&whole).description.updates, best.progress.updates);
    assert_eq!(last.progress.updates, best.progress.updates + 50);
    assert_ne!(last.parameters, whole.outcome.parameters);
    // Stopped half-way, and resumed.
    let half = train(&settings(2_000), None).await;
    assert_eq!(half.last().progress.updates, best.progress.updates + 25);
    let resumed = train(&settings(4_000), Some(half.last())).await;
    assert_eq!(model(&resumed), model(&whole));
    assert_eq!(resumed.last().parameters, last.parameters);
    // From the best itself, too; it was over as it was.
    let again = train(&settings(4_000), Some(best.clone())).await;
    assert_eq!((model(&again), again.last().parameters), (model(&whole), last.parameters));
    let over = train(&settings(0), Some(best)).await;
    assert_eq!((model(&over), &over.outcome.summary.end), (model(&whole), &RunEnd::Solved));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_an_earlier_release_called_solved_is_verified_before_it_trains_on() {
    let solved = train("evaluation = \"sampled\"", None).await.checkpoint("best.safetensors");
    let mut old = solved.clone();
    // It had no tries.
    old.progress.tries = Default::default();
    let sampled = train("evaluation = \"sampled\"", Some(old.clone())).await;
    let summary = &sampled.outcome.summary;
    assert_eq!(
        (&summary.end, summary.updates, summary.verification.count),
        (&RunEnd::Solved, solved.progress.updates, 1)
    );
    assert_eq!(sampled.outcome.parameters, solved.parameters);
    // What was solved by another measure is not by this one.
    let greedy = train("frames_max = 1", Some(solved)).await.outcome.summary;
    assert_eq!((greedy.end, greedy.solved, greedy.verification.count), (RunEnd::FramesBudget, None, 2));
}
