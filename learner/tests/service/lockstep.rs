//! Deterministic runs.

use impala_common::status::RunState;
use impala_common::wire::pb;
use impala_harness::fake_actor::{FakeActor, receipt, registration};
use impala_harness::test_learner::{Ended, TestLearner, given, settings};
use impala_learner::config::settings::GivenSettings;
use impala_learner::handover::ledger::Account;
use impala_learner::report::summary::RunEnd;
use impala_learner::run::resume::default_store;
use pb::push_reply::Message as Reply;

/// Two actors; a batch is one trajectory of each.
fn deterministic() -> GivenSettings {
    given("deterministic = true\nactors = 2\nbatch_size = 4\nweights_encoding = \"f32\"", settings())
}

async fn join(learner: &TestLearner, index: u32) -> FakeActor {
    let request = pb::RegisterRequest { actor_index: Some(index), ..registration("a", 10 + u64::from(index)) };
    learner.join(request).await
}

/// The trajectory of actor `index`; differs from the other's.
fn trajectory(index: u32, sequence: u64) -> pb::Trajectory {
    let unlike = impala_harness::fake_actor::trajectory(sequence + 100 * u64::from(index), 0);
    let actor_state = Some(format!("actor {index} after {sequence}").into_bytes().into());
    pb::Trajectory { sequence, weights_version: sequence, actor_state, ..unlike }
}

/// Trains three updates; in each the actor `first_to_push` is the first. Gives what the run left.
async fn run(first_to_push: u32) -> Ended {
    let learner = TestLearner::start(deterministic()).await;
    let mut actors = [join(&learner, 0).await, join(&learner, 1).await];
    let lockstep = pb::Lockstep { actors: 2, trajectories_per_batch: 2 };
    assert!(actors.iter().all(|actor| actor.agreement.lockstep == Some(lockstep)));
    for update in 0..3 {
        for index in [first_to_push, 1 - first_to_push] {
            let actor = &mut actors[index as usize];
            assert_eq!(actor.weights().await.0.version, update, "a version needs both actors' trajectories");
            actor.push_this(trajectory(index, update)).await;
            // A round trip: the trajectory has a head start over the other actor's.
            learner.register(registration("nobody", 99)).await.unwrap_err();
        }
        for actor in &mut actors {
            assert_eq!(actor.receipt().await, (update, pb::Disposition::Trained));
        }
    }
    let last = [actors[0].weights_of(3).await, actors[1].weights_of(3).await];
    learner.request_stop();
    for mut actor in actors {
        assert_eq!(actor.finish().await, "interrupted");
        actor.leave().await;
    }
    let ended = learner.ended().await;
    assert_eq!(ended.outcome.summary.end, RunEnd::Interrupted);
    assert_eq!(ended.outcome.summary.account, Account { produced: 6, trained: 6, ..Account::default() });
    assert!(last.iter().all(|parameters| *parameters == ended.outcome.parameters));
    ended
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_order_of_arrival_does_not_change_a_bit_of_the_result() {
    let (forwards, backwards) = (run(0).await, run(1).await);
    assert_eq!(forwards.outcome.parameters, backwards.outcome.parameters);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_ahead_of_the_other_waits_for_it() {
    let learner = TestLearner::start(deterministic()).await;
    let (mut first, mut second) = (join(&learner, 0).await, join(&learner, 1).await);
    second.push_this(trajectory(1, 0)).await;
    assert_eq!(second.weights().await.0.version, 0);
    first.push_this(trajectory(0, 0)).await;
    assert_eq!(first.receipt().await, (0, pb::Disposition::Trained));
    assert_eq!(second.receipt().await, (0, pb::Disposition::Trained));
    second.weights_of(1).await;
    learner.request_stop();
    for mut actor in [first, second] {
        actor.finish().await;
        actor.leave().await;
    }
    assert_eq!(learner.ended().await.outcome.summary.updates, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn losing_an_actor_ends_the_run_and_names_it() {
    let learner = TestLearner::start(deterministic()).await;
    let (mut first, mut second) = (join(&learner, 0).await, join(&learner, 1).await);
    for (index, actor) in [&mut first, &mut second].into_iter().enumerate() {
        actor.push_this(trajectory(index as u32, 0)).await;
    }
    assert_eq!(first.receipt().await, (0, pb::Disposition::Trained));
    first.push_this(trajectory(0, 1)).await;
    drop(second);

    // What waits for the lost actor is refused, and the reason is told; which comes first is open.
    let mut replies = Vec::new();
    for _ in 0..2 {
        replies.push(first.reply().await.unwrap().unwrap());
    }
    assert!(replies.contains(&receipt(1, pb::Disposition::Shutdown)), "{replies:?}");
    let names_the_actor = |reply: &Reply| matches!(reply, Reply::Finish(finish) if finish.reason.contains("actor 1"));
    assert!(replies.iter().any(names_the_actor), "{replies:?}");
    first.leave().await;
    let summary = learner.ended().await.outcome.summary;
    let RunEnd::Failed(reason) = summary.end else { panic!("the run ended as {:?}", summary.end) };
    assert!(reason.contains("actor 1 left a deterministic run"), "{reason}");
    let expected = Account { produced: 3, trained: 2, refused_shutdown: 1, ..Account::default() };
    assert_eq!(summary.account, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_room_for_exactly_the_agreed_actors() {
    let learner = TestLearner::start(deterministic()).await;
    let mut actors = [join(&learner, 0).await, join(&learner, 1).await];
    // Who has a place and sends nothing may never do so.
    let status = learner.register(registration("third", 3)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    let reason = learner.status_in(RunState::Training).await.reason;
    assert_eq!(reason, "waiting for the first trajectory of actor 0, `a`");
    for index in [0, 1] {
        actors[index as usize].push_this(trajectory(index, 0)).await;
    }
    for actor in &mut actors {
        assert_eq!(actor.receipt().await, (0, pb::Disposition::Trained));
    }
    assert_eq!(learner.status_in(RunState::Training).await.reason, "");
    let status = learner.register(registration("third", 3)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::FailedPrecondition, "{status}");
    assert!(status.message().contains("all of its 2 actors"), "{status}");
    learner.request_stop();
    drop(actors);
    learner.ended().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trajectory_made_with_another_version_than_its_place_needs_is_a_violation() {
    let learner = TestLearner::start(deterministic()).await;
    let mut actor = join(&learner, 0).await;
    actor.push_this(pb::Trajectory { weights_version: 1, ..trajectory(0, 0) }).await;
    let answer = actor.violation().await;
    assert!(answer.contains("weights version 1, its place in this run needs 0"), "{answer}");
    assert!(matches!(learner.ended().await.outcome.summary.end, RunEnd::Failed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trajectory_without_its_actors_state_is_a_violation() {
    let learner = TestLearner::start(deterministic()).await;
    let mut actor = join(&learner, 0).await;
    actor.push_this(pb::Trajectory { actor_state: None, ..trajectory(0, 0) }).await;
    let answer = actor.violation().await;
    assert!(answer.contains("field `actor_state` is missing"), "{answer}");
    assert!(matches!(learner.ended().await.outcome.summary.end, RunEnd::Failed(_)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_resumed_run_hands_each_actor_the_state_after_its_last_trained_trajectory() {
    let ended = run(0).await;
    let found = default_store(&ended.run_dir).newest(&impala_env::builtin()).await.unwrap().unwrap();
    let learner = TestLearner::resume(deterministic(), found.checkpoint).await;
    // A process that has a past elsewhere is as good as a new one. Both stay: one that left would end the run.
    let veteran = |index: u32| {
        let incarnation = 20 + u64::from(index);
        pb::RegisterRequest { actor_index: Some(index), produced: 70, ..registration("a", incarnation) }
    };
    let mut actors = [learner.join(veteran(0)).await, learner.join(veteran(1)).await];
    for (index, actor) in actors.iter_mut().enumerate() {
        let take_up = actor.agreement.take_up.clone().unwrap();
        let state = format!("actor {index} after 2");
        assert_eq!((take_up.next_sequence, &take_up.actor_state[..]), (3, state.as_bytes()));
        assert_eq!(actor.weights().await.0.version, 3);
    }
    learner.request_stop();
    for mut actor in actors {
        assert_eq!(actor.finish().await, "interrupted");
        drop(actor);
    }
    let account = learner.ended().await.outcome.summary.account;
    assert_eq!(account, Account { produced: 6, trained: 6, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_refused_at_once_and_an_actor_that_has_sent_nothing_frees_its_place() {
    let learner = TestLearner::start(deterministic()).await;
    let mut hasty = join(&learner, 0).await;
    hasty.push_this(trajectory(0, 1)).await;
    assert_eq!(hasty.violation().await, "trajectory 1: expected 0, a deterministic run misses none");
    join(&learner, 0).await.leave().await;
    // The run goes on with whoever comes.
    let mut actors = [join(&learner, 0).await, join(&learner, 1).await];
    for (index, actor) in (0..).zip(&mut actors) {
        actor.push_this(trajectory(index, 0)).await;
    }
    for actor in &mut actors {
        assert_eq!(actor.receipt().await, (0, pb::Disposition::Trained));
    }
    learner.request_stop();
    for mut actor in actors {
        actor.finish().await;
        actor.leave().await;
    }
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::Interrupted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_whose_actor_died_before_it_came_is_asked_for_again() {
    let learner = TestLearner::start(deterministic()).await;
    let wanted = |incarnation| pb::RegisterRequest { actor_index: Some(0), ..registration("a", incarnation) };
    learner.register(wanted(1)).await.unwrap();
    let status = learner.register(wanted(2)).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::Unavailable, "{status}");
    assert!(status.message().contains("ask again"), "{status}");
    learner.stop().await;
}
