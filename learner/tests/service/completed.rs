//! A learner that keeps serving: what it does when training is over, and when it is asked to stop before.

use impala_common::channel::client;
use impala_common::wire::{RUN_COMPLETED, RUN_STATE_METADATA, pb};
use impala_harness::fake_actor::{registration, trajectory};
use impala_harness::patience::within;
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_learner::app::Outcome;
use impala_learner::config::settings::GivenSettings;
use impala_learner::handover::ledger::Account;
use impala_learner::handover::run_state::RunState;
use impala_learner::report::summary::RunEnd;
use impala_policy::model_file;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A learner that keeps serving and whose training is over after two updates.
fn serving() -> GivenSettings {
    given("keep_serving = true\nframes_max = 12", settings())
}

/// The model that the learner gives to whoever asks: version and parameters.
async fn model(learner: &TestLearner) -> (u64, Vec<f32>) {
    let model = client::model(&learner.dialler()).await.unwrap();
    assert_eq!(model.environment.name, "cartpole-v1");
    (model.version.0, model.parameters)
}

async fn train_to_the_end(learner: &TestLearner) {
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    actor.train(0).await;
    assert!(actor.told_to_wait().await.contains("--frames-max"));
    actor.leave().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_run_has_its_results_written_and_serves_its_final_model() {
    // Only version 0 would be published, were it not the end.
    let learner = TestLearner::start(given("publish_every = 50", serving())).await;
    // Registered, but with no trajectories: it only watches.
    let session = learner.register(registration("watcher", 9)).await.unwrap().session;
    let mut client = learner.client().await;
    let watching = client.watch_weights(pb::WatchRequest { session });
    let mut weights = within("watching", watching).await.unwrap().into_inner();
    let mut next = async || within("weights", weights.message()).await.unwrap().expect("the stream goes on").version;
    assert_eq!(next().await, 0);
    let (version, initial) = model(&learner).await;
    assert_eq!(version, 0);
    train_to_the_end(&learner).await;

    let status = learner.status_in(RunState::Completed).await;
    assert!(status.reason.contains("--frames-max"), "{status}");
    assert_eq!((status.frames, status.updates, status.actors_connected, status.solved), (12, 2, 0, false));
    assert_eq!(status.account, Account { produced: 2, trained: 2, ..Account::default() });
    for name in ["model.safetensors", "summary.txt", "summary.json", "learning_curve.svg"] {
        assert!(learner.file(name).exists(), "{name}");
    }
    let (version, parameters) = model(&learner).await;
    assert_eq!(version, 2);
    assert_ne!(parameters, initial);
    assert_eq!(next().await, 2);

    learner.request_stop();
    let ended = learner.ended().await;
    assert_eq!(ended.outcome.summary.end, RunEnd::FramesBudget, "the result is the training's");
    assert_eq!(ended.outcome.parameters, parameters);
}

/// A learner whose goal any policy reaches that plays CartPole, after a hundred episodes, which are fifty updates of 6 frames.
fn easy(toml: &str) -> GivenSettings {
    given(toml, given("frames_max = 1000000\nsolved_return = 2.5", serving()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_model_that_is_left_is_the_verified_one_however_far_training_went() {
    let learner = TestLearner::start(easy("frames_after_solved = 60")).await;
    let mut actor = learner.actor("a", 1).await;
    for version in 0..50 {
        actor.train(u64::saturating_sub(version, 1)).await;
    }
    // The verdict takes its time; nobody trains meanwhile.
    while !learner.status_in(RunState::Training).await.solved {}
    for version in 50..60 {
        actor.train(u64::saturating_sub(version, 1)).await;
    }
    assert_eq!(actor.told_to_wait().await, "solved");
    actor.leave().await;
    let status = learner.status_in(RunState::Completed).await;
    assert_eq!((status.frames, status.updates, status.solved), (360, 60, true));
    let (version, parameters) = model(&learner).await;
    assert_eq!(version, 50);
    let file = model_file::load(&learner.file("model.safetensors")).unwrap();
    assert_eq!((file.description.updates, file.description.frames, &file.parameters), (50, 300, &parameters));
    let checkpoint = |name| model_file::load(&learner.file("checkpoints").join(name)).unwrap();
    assert_eq!(checkpoint("best.safetensors"), file);
    let last = checkpoint("update-000000000060.safetensors");
    assert!(last.description.updates == 60 && last.parameters != parameters);

    learner.request_stop();
    let Outcome { summary, parameters: left, .. } = learner.ended().await.outcome;
    assert_eq!((summary.end, left), (RunEnd::Solved, parameters));
    assert_eq!((summary.solved.map(|solved| solved.frames), summary.verification.count), (Some(300), 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_whose_actors_have_fallen_silent_ends_at_the_verdict() {
    let learner = TestLearner::start(easy("")).await;
    let mut actor = learner.actor("a", 1).await;
    for version in 0..50 {
        actor.train(u64::saturating_sub(version, 1)).await;
    }
    assert_eq!(actor.told_to_wait().await, "solved");
    actor.leave().await;
    learner.status_in(RunState::Completed).await;
    learner.request_stop();
    let summary = learner.ended().await.outcome.summary;
    assert_eq!((summary.frames, summary.solved.map(|solved| solved.frames)), (300, Some(300)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_completed_run_turns_actors_away_so_that_they_idle_but_stays_healthy() {
    let learner = TestLearner::start(serving()).await;
    train_to_the_end(&learner).await;
    learner.status_in(RunState::Completed).await;
    let refused = learner.register(registration("late", 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains("completed") && refused.message().contains("--frames-max"), "{refused}");
    assert_eq!(refused.metadata().get(RUN_STATE_METADATA).unwrap(), RUN_COMPLETED);

    let mut health = HealthClient::new(learner.channel().await);
    let expected = [
        ("", ServingStatus::Serving),
        ("impala.v1.Learner", ServingStatus::Serving),
        ("impala.v1.Training", ServingStatus::NotServing),
    ];
    for (service, status) in expected {
        let check = health.check(HealthCheckRequest { service: service.into() });
        assert_eq!(within("health", check).await.unwrap().into_inner().status(), status, "`{service}`");
    }
    learner.request_stop();
    learner.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_before_the_end_asks_actors_to_wait_for_the_next_learner() {
    let learner = TestLearner::start(serving()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    learner.request_stop();
    assert_eq!(actor.told_to_wait().await, "interrupted");
    assert_eq!(learner.status_in(RunState::Stopping).await.reason, "interrupted");
    let refused = learner.register(registration("late", 2)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.metadata().get(RUN_STATE_METADATA).is_none(), "a learner that goes away is soon replaced");
    actor.leave().await;
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::Interrupted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_failed_is_not_served_on() {
    let lockstep = given("deterministic = true\nactors = 1", serving());
    let learner = TestLearner::start(lockstep).await;
    let mut actor = learner.join(registration("a", 1)).await;
    actor.push_this(pb::Trajectory { actor_state: Some(vec![1].into()), ..trajectory(0, 0) }).await;
    assert_eq!(actor.receipt().await, (0, pb::Disposition::Trained));
    actor.leave().await;
    let end = learner.ended().await.outcome.summary.end;
    assert!(matches!(&end, RunEnd::Failed(reason) if reason.contains("left a deterministic run")), "{end}");

    let learner = TestLearner::start(given("time_max = 0.01", serving())).await;
    let end = learner.ended().await.outcome.summary.end;
    assert!(matches!(&end, RunEnd::Failed(reason) if reason.contains("no batch came")), "{end}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_tells_waiting_training_and_stopping() {
    let learner = TestLearner::start(given("batch_size = 4", settings())).await;
    let status = learner.status_in(RunState::Waiting).await;
    assert_eq!(status.reason, "0 of the 2 actors that a batch needs are connected");
    assert_eq!((status.environment.as_str(), status.mean_return), ("cartpole-v1", None));
    let mut first = learner.actor("first", 1).await;
    let mut second = learner.actor("second", 2).await;
    learner.status_in(RunState::Training).await;
    first.push(0).await;
    second.push(0).await;
    first.receipt().await;
    second.receipt().await;
    first.weights_of(1).await;
    let status = learner.status_in(RunState::Training).await;
    assert_eq!((status.frames, status.updates, status.episodes, status.mean_return), (12, 1, 2, Some(2.0)));
    assert_eq!((status.actors_connected, status.reason.as_str()), (2, ""));
    learner.request_stop();
    first.finish().await;
    assert_eq!(learner.status_in(RunState::Stopping).await.reason, "interrupted");
    first.leave().await;
    second.finish().await;
    second.leave().await;
    learner.ended().await;
}
