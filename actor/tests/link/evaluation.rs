//! Evaluations that a learner hands out.

use impala_common::evaluation::{Assignment, Findings};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{NumberFormat, Words, encode};
use impala_common::wire::pb;
use impala_common::wire::pb::Disposition::Trained;
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::seed::Rng;
use impala_env::{EnvironmentKind, Outcome, Registry, StateError, Step, VectorEnvironment, builtin};
use impala_harness::fake_learner::{Event, FakeLearner, Replies};
use impala_harness::replies::{agreement, finish, full, receipt};
use impala_harness::test_actor::TestActor;
use impala_policy::evaluate::{self, EvaluationPlan, Mode, Series};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

fn parameters() -> Vec<f32> {
    (0..agreement(0).network.parameter_count()).map(|i| (i as f32 * 0.7).sin()).collect()
}

fn assignment(id: u64, plan: EvaluationPlan) -> Assignment {
    let words = Words::round(NumberFormat::F32, &parameters(), 0);
    Assignment { id, plan, weights: encode(WeightsVersion(9), &words, None) }
}

async fn evaluate_at(replies: &Replies, message: pb::Evaluate) {
    let message = Some(pb::push_reply::Message::Evaluate(message));
    replies.send(Ok(pb::PushReply { message })).await.unwrap();
}

async fn findings(learner: &mut FakeLearner) -> Findings {
    match learner.event().await {
        Event::Evaluated(evaluated) => Findings::try_from(evaluated).unwrap(),
        other => panic!("expected findings, got {other:?}"),
    }
}

/// The third trajectory of an actor that is handed some evaluations before it, or none.
async fn third_trajectory(plans: &[EvaluationPlan]) -> pb::Trajectory {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let request = learner.accept(agreement(1)).await;
    assert_eq!(request.evaluates, Some(true));
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(4))).await.unwrap();
    // The window is full: what comes next is the answer.
    for sequence in 0..2 {
        assert_eq!(learner.trajectory().await.sequence, sequence);
    }
    let (environment, network) = (builtin().kinds()[0].clone(), agreement(1).network);
    for (id, plan) in (0..).zip(plans) {
        evaluate_at(&replies, (&assignment(id, *plan)).into()).await;
        let here = evaluate::play(&environment, &network, &parameters(), *plan, &|| false).unwrap();
        assert_eq!(findings(&mut learner).await, Findings { id, result: Ok(here) });
    }
    replies.send(Ok(receipt(0, Trained))).await.unwrap();
    let third = learner.trajectory().await;
    actor.shutdown.cancel();
    drop(replies);
    let report = actor.end().await.unwrap();
    assert_eq!((report.receipts.trained, report.trajectories), (1, 3), "an evaluation is no trajectory");
    third
}

#[tokio::test]
async fn an_actor_plays_what_the_learner_would_and_its_trajectories_are_the_same_as_without() {
    let series = [Series::Single, Series::Try(3), Series::Beside(2)];
    let plans = series.map(|series| EvaluationPlan { first: 100, series, steps_max: 40, ..EvaluationPlan::new(50, 7) });
    let sampled = EvaluationPlan { mode: Mode::Sampled, ..plans[1] };
    let mut with = third_trajectory(&[plans[0], plans[1], plans[2], sampled]).await;
    let mut without = third_trajectory(&[]).await;
    for trajectory in [&mut with, &mut without] {
        (trajectory.room_wait_micros, trajectory.weights_wait_micros, trajectory.unroll_micros) = (None, None, None);
    }
    assert_eq!(with, without);
}

#[tokio::test]
async fn weights_that_cannot_be_read_are_an_answer_and_no_end() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (replies, _snapshots) = learner.streams(1).await;
    let sound = pb::Evaluate::from(&assignment(5, EvaluationPlan::new(1, 1)));
    let mut damaged = sound.clone();
    damaged.weights.as_mut().unwrap().checksum ^= 1;
    evaluate_at(&replies, damaged).await;
    let Findings { id, result } = findings(&mut learner).await;
    assert!(id == 5 && result.as_ref().is_err_and(|reason| reason.contains("checksum")), "{result:?}");
    evaluate_at(&replies, pb::Evaluate { id: 6, ..sound }).await;
    assert!(findings(&mut learner).await.result.is_ok());
    actor.shutdown.cancel();
    drop(replies);
    actor.end().await.unwrap();
}

#[tokio::test]
async fn an_evaluation_that_is_none_ends_the_actor_with_its_field() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (replies, _snapshots) = learner.streams(1).await;
    let sound = pb::Evaluate::from(&assignment(5, EvaluationPlan::new(1, 1)));
    evaluate_at(&replies, pb::Evaluate { episodes: 1 << 30, ..sound }).await;
    let error = actor.error().await;
    assert!(error.contains("`evaluate.episodes` has the unknown value 1073741824 from 0"), "{error}");
}

/// `CartPole` in which nothing ever happens; tells when so many are stepped as an evaluation has.
struct Endless {
    environments: usize,
    is_evaluated: Arc<AtomicBool>,
}

/// Episodes of the evaluation that has no end.
const EPISODES: usize = 17;

impl VectorEnvironment for Endless {
    fn environments(&self) -> usize {
        self.environments
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().fill(0.0);
    }

    fn step(&mut self, _: ArrayRef<'_>, step: Step<'_>) {
        step.observations.f32().fill(0.0);
        step.rewards.fill(1.0);
        step.outcomes.fill(Outcome::Continues);
        self.is_evaluated.fetch_or(self.environments == EPISODES, Ordering::Relaxed);
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_run_ends_an_evaluation_that_would_go_on_for_ever() {
    let is_evaluated = Arc::new(AtomicBool::new(false));
    let shared = is_evaluated.clone();
    let make = move |rngs: Vec<Rng>| -> Box<dyn VectorEnvironment> {
        Box::new(Endless { environments: rngs.len(), is_evaluated: shared.clone() })
    };
    let endless = EnvironmentKind::new("cartpole-v1", 4, 2, 475.0, make).unwrap();
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start_with(&learner, |config| config.environments = Registry::only(endless));
    learner.accept(agreement(1)).await;
    let (replies, _snapshots) = learner.streams(1).await;
    let plan = EvaluationPlan { steps_max: u64::MAX, ..EvaluationPlan::new(EPISODES, 1) };
    evaluate_at(&replies, (&assignment(1, plan)).into()).await;
    while !is_evaluated.load(Ordering::Relaxed) {
        tokio::task::yield_now().await;
    }
    replies.send(Ok(finish("solved"))).await.unwrap();
    assert_eq!(learner.last_words().await, (0, 0));
    drop(replies);
    assert_eq!(actor.end().await.unwrap().finish_reason.as_deref(), Some("solved"));
}
