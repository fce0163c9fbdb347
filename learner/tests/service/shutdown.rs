//! The end of a run.

use impala_common::wire::pb;
use impala_harness::fake_actor::{receipt, registration};
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_learner::handover::ledger::Account;
use impala_learner::report::summary::RunEnd;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_run_finishes_its_actors_refuses_what_comes_later_and_writes_its_results() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    let mut idle = learner.actor("idle", 2).await;
    actor.train(0).await;
    actor.weights_of(1).await;
    learner.request_stop();
    assert_eq!(actor.finish().await, "interrupted");
    assert_eq!(idle.finish().await, "interrupted");
    let sequence = actor.push(1).await;
    assert_eq!(actor.receipt().await, (sequence, pb::Disposition::Shutdown));
    assert_eq!(learner.register(registration("late", 3)).await.unwrap_err().code(), Code::Unavailable);
    actor.leave().await;
    assert_eq!(idle.farewell(2).await, []);

    let ended = learner.ended().await;
    assert_eq!(ended.outcome.summary.end, RunEnd::Interrupted);
    let account = ended.outcome.summary.account;
    let expected = Account { produced: 4, trained: 1, refused_shutdown: 1, lost: 2, ..Account::default() };
    assert_eq!(account, expected);
    assert_eq!(account.in_flight(), 0);

    let file = |name: &str| std::fs::read_to_string(ended.run_dir.join(name)).unwrap();
    assert!(file("config.toml").contains("hidden = [8]"));
    assert!(file("learning_curve.svg").contains("<svg"));
    let metrics = file("metrics.csv");
    let rows: Vec<Vec<&str>> = metrics.lines().map(|line| line.split(',').collect()).collect();
    let (header, last) = (&rows[0], rows.last().unwrap());
    assert!(rows.len() >= 2 && rows.iter().all(|row| row.len() == header.len()), "{metrics}");
    let cell = |name: &str| last[header.iter().position(|column| *column == name).unwrap()];
    let cells = ["frames", "updates", "produced", "trained", "refused", "lost", "in_flight"].map(cell);
    assert_eq!(cells, ["6", "1", "4", "1", "1", "2", "0"]);
    let model = std::fs::read(ended.run_dir.join("model.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&model).unwrap();
    let blocks = ended.outcome.network.layout();
    assert_eq!(model.len(), blocks.len());
    for block in blocks {
        let saved = model.tensor(&block.name).unwrap().data().to_vec();
        let kept = &ended.outcome.parameters[block.range];
        assert_eq!(saved, kept.iter().flat_map(|p| p.to_le_bytes()).collect::<Vec<_>>(), "{}", block.name);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_without_actors_stops_and_writes_its_initial_model() {
    let learner = TestLearner::start(settings()).await;
    learner.request_stop();
    let ended = learner.ended().await;
    assert_eq!(ended.outcome.summary.account, Account::default());
    assert!(ended.run_dir.join("model.safetensors").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_budget_of_frames_ends_the_run_and_refuses_what_is_still_on_its_way() {
    let given = given("frames_max = 12\nin_flight_max = 8", settings());
    let learner = TestLearner::start(given).await;
    let mut actor = learner.actor("a", 1).await;
    for _ in 0..8 {
        actor.push(0).await;
    }
    let replies = actor.farewell(8).await;
    let decided = |disposition| (0..8).filter(|n| replies.contains(&receipt(*n, disposition))).collect::<Vec<_>>();
    assert_eq!(decided(pb::Disposition::Trained), [0, 1], "{replies:?}");
    assert_eq!(decided(pb::Disposition::Shutdown), [2, 3, 4, 5, 6, 7], "{replies:?}");
    let summary = learner.ended().await.outcome.summary;
    assert_eq!((summary.end, summary.frames), (RunEnd::FramesBudget, 12));
    assert_eq!(summary.account, Account { produced: 8, trained: 2, refused_shutdown: 6, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_told_why_the_run_ends() {
    let learner = TestLearner::start(given("frames_max = 6", settings())).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    let reason = actor.finish().await;
    assert!(reason.contains("--frames-max"), "{reason}");
    actor.leave().await;
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::FramesBudget);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_never_says_farewell_does_not_hold_up_the_end() {
    let learner = TestLearner::start(settings()).await;
    let mut stubborn = learner.actor("stubborn", 1).await;
    stubborn.train(0).await;
    assert_eq!(learner.stop().await, Account { produced: 1, trained: 1, ..Account::default() });
    assert_eq!(stubborn.finish().await, "interrupted");
}
