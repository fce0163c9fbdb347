//! A trainer whose batches and verdicts come by hand, between two updates.

use super::*;
use crate::config::Config;
use crate::handover::batch_size::BatchSize;
use crate::handover::batcher::Batcher;
use crate::handover::inspection::Inspection;
use crate::handover::ledger::Account;
use crate::handover::verification::{Candidate, Verdict};
use crate::handover::weights::WeightsSlot;
use crate::learn::batch::Batch;
use crate::learn::compute::ComputeDevice;
use crate::learn::initialise::initial_parameters;
use crate::run::checkpoint_slot::{self, CheckpointJobs};
use impala_common::trajectory::{Episode, RolloutTime, Trajectory, TrajectoryParts, TrajectoryShape};
use impala_env::{Outcome, builtin};
use impala_policy::evaluate::{Mode, Score};

/// Frames of an update; each is an episode.
const FRAMES: u64 = 100;

struct Bench {
    trainer: Trainer,
    jobs: CheckpointJobs,
    metrics: TrainerMetrics,
}

/// Settings beside a goal of 1 for every frame.
fn bench(toml: &str) -> Bench {
    let toml = format!("solved_return = 1.0\nverify_every = 250\nhidden = []\ncheckpoint_every = 0\n{toml}");
    let config = Config::complete(toml.parse().unwrap(), &builtin()).unwrap();
    let (network, device) = (config.network(), ComputeDevice::cpu());
    let gate = PolicyLagGate::new(100);
    let progress = Arc::new(Mutex::new(Progress::new(config.solved_return())));
    let (checkpoints, jobs) = checkpoint_slot::channel();
    let trainer = Trainer {
        goal: config.goal.clone(),
        learning_rate: config.learning_rate(),
        publishing: config.publishing(),
        cadence: Cadence::new(&config.checkpoints),
        settings: RecordedSettings::of(&config),
        step: LearnerStep::new(&network, initial_parameters(&network, 1), config.step(), &device),
        queue: Arc::new(BatchQueue::new(Batcher::new(BatchSize::Fixed(1), gate.clone(), None, 0), 1)),
        outlet: WeightsOutlet::Slot(WeightsSlot::default()),
        gate,
        verification: Verification::new(progress.clone(), config.goal.verify_every),
        requests: Vec::new(),
        progress,
        ledger: Arc::new(Ledger::resumed(Account::default())),
        actor_states: BTreeMap::new(),
        checkpoints,
        waits_for_verdicts: config.task.deterministic,
        candidate: None,
        inspector: None,
    };
    Bench { trainer, jobs, metrics: TrainerMetrics::new() }
}

impl Bench {
    /// An update on a hundred episodes of this return, and what the trainer does after it.
    fn update(&mut self, reward: f32) -> Option<TrainingEnd> {
        let frames = FRAMES as usize;
        let shape = TrajectoryShape::plain(frames, 1, 4, 2);
        let parts = TrajectoryParts {
            observations: (0..4 * (frames + 1)).map(|i| (i as f32 * 0.1).sin()).collect(),
            actions: (0..frames).map(|i| u8::from(i % 3 == 0)).collect(),
            behaviour_log_probs: vec![-0.7; frames],
            rewards: vec![reward; frames],
            outcomes: vec![Outcome::Terminated; frames],
            ..TrajectoryParts::default()
        };
        let batch = Batch::new(vec![Trajectory::try_new(shape, parts).unwrap()]);
        let episodes = vec![Episode { episode_return: reward, length: 1 }; frames];
        let staged = StagedBatch { batch, actors: RolloutTime::default(), actor_states: Vec::new(), episodes };
        self.trainer.train(staged, &self.metrics).unwrap();
        self.trainer.end()
    }

    /// Decides what the trainer has proposed; gives its try and frames.
    fn verdict(&self, mean: f64, is_reached: bool) -> (u32, u64) {
        let Candidate { attempt, version, frames, .. } = *self.trainer.verification.next().unwrap();
        let score = Score { episodes: 100, mean, min: mean, max: mean, cut: 0 };
        self.trainer.verification.decide(Verdict { version, mode: Mode::Greedy, score, is_reached });
        (attempt, frames)
    }

    fn parameters(&mut self) -> Vec<f32> {
        self.trainer.step.parameters().to_vec()
    }
}

#[test]
fn the_run_ends_at_the_verdict_and_the_best_checkpoint_is_the_run_at_the_candidate() {
    let mut bench = bench("");
    assert_eq!((bench.update(0.5), bench.update(1.0)), (None, None));
    let at_the_candidate = bench.parameters();
    assert_eq!(bench.update(1.0), None, "it goes on while it is verified");
    assert_ne!(bench.parameters(), at_the_candidate);
    bench.verdict(1.0, true);
    assert_eq!(bench.trainer.end(), Some(TrainingEnd::Solved));
    let best = *bench.jobs.take_verified().unwrap();
    assert_eq!((best.progress.updates, best.progress.frames, &best.parameters), (2, 200, &at_the_candidate));
    assert!(best.is_verified());
    assert_eq!(best.progress.solved.map(|solved| solved.frames), Some(200));
    // The last checkpoint is another policy, and has this one beside it.
    let Trainer { settings, step, progress, .. } = &mut bench.trainer;
    let progress = progress.lock().unwrap().save_with_policy();
    let last = Checkpoint::new(settings.clone(), step, progress, Account::default(), BTreeMap::new());
    assert!(!last.is_verified());
    let verified = last.verified_policy().unwrap();
    assert_eq!((verified.version.0, verified.frames, &verified.parameters[..]), (2, 200, &at_the_candidate[..]));
    assert_eq!(Some(verified), best.verified_policy());
    let read = Checkpoint::decode(&last.encode().unwrap(), &builtin()).unwrap();
    assert_eq!(read, last);
}

#[test]
fn a_candidate_that_fails_is_followed_by_one_at_the_interval_and_training_goes_on() {
    let mut bench = bench("");
    for (attempt, frames) in [(1, 100), (2, 400), (3, 700)] {
        while bench.trainer.candidate.is_none() {
            assert_eq!(bench.update(1.0), None);
        }
        assert_eq!(bench.verdict(0.25, false), (attempt, frames));
        assert_eq!(bench.trainer.end(), None);
    }
    assert!(bench.jobs.take_verified().is_none());
    assert_eq!(bench.trainer.lock_progress().tries.best_mean, Some(0.25));
}

#[test]
fn training_goes_on_after_a_verdict_for_the_frames_that_were_asked_for() {
    let mut bench = bench("frames_after_solved = 250");
    bench.update(1.0);
    assert_eq!(bench.update(1.0), None);
    bench.verdict(1.0, true);
    assert_eq!(bench.update(1.0), None);
    assert_eq!(bench.update(1.0), Some(TrainingEnd::Solved), "250 frames after the candidate's 100");
}

#[test]
fn a_budget_of_frames_that_ends_while_a_policy_is_verified_waits_for_the_verdict() {
    for (is_reached, end) in [(true, TrainingEnd::Solved), (false, TrainingEnd::FramesBudget)] {
        let mut bench = bench("frames_max = 200");
        assert_eq!(bench.update(1.0), None);
        let verification = bench.trainer.verification.clone();
        let evaluator = std::thread::Builder::new().name("evaluator".into()).spawn(move || {
            let version = verification.next().unwrap().version;
            let score = Score { episodes: 100, mean: 1.0, min: 1.0, max: 1.0, cut: 0 };
            verification.decide(Verdict { version, mode: Mode::Greedy, score, is_reached });
        });
        assert_eq!(bench.update(1.0), Some(end));
        evaluator.unwrap().join().unwrap();
    }
}

#[test]
fn a_stop_ends_the_wait_for_a_verdict() {
    // In lockstep it would wait for it after the first update.
    let mut bench = bench("deterministic = true\nactors = 1");
    bench.trainer.verification.stop();
    assert_eq!(bench.update(1.0), Some(TrainingEnd::Stopped));
    assert_eq!(bench.trainer.lock_progress().tries.count, 0, "a process that goes on makes the try");
}

#[test]
fn a_look_at_the_network_is_left_after_the_update_that_follows_the_question() {
    let mut bench = bench("");
    let layout = bench.trainer.settings.network().layout();
    let inspection = Inspection::default();
    bench.trainer.inspector = Some(Inspector::new(inspection.clone(), layout.clone()));
    bench.update(0.25);
    assert_eq!(inspection.take(), []);
    inspection.ask();
    bench.update(0.75);
    let look = inspection.take().pop().unwrap();
    assert_eq!(look.frames, 200);
    // The episodes of both updates.
    let returns = look.returns.unwrap();
    assert_eq!(returns.buckets.iter().map(|bucket| bucket.count).collect::<Vec<_>>(), [FRAMES, FRAMES]);
    let step = &mut bench.trainer.step;
    for (blocks, numbers) in [(look.parameters, step.parameters().to_vec()), (look.gradient, step.gradient().to_vec())]
    {
        assert_eq!(blocks.len(), layout.len());
        for ((name, histogram), block) in blocks.iter().zip(&layout) {
            let numbers = &numbers[block.range.clone()];
            assert_eq!(*name, block.name);
            assert_eq!(histogram.buckets.iter().map(|bucket| bucket.count).sum::<u64>(), numbers.len() as u64);
            assert_eq!(histogram.sum, numbers.iter().map(|number| f64::from(*number)).sum::<f64>());
        }
    }
    bench.update(0.5);
    assert_eq!(inspection.take(), [], "one look for a question");
}
