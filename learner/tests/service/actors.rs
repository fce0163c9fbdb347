//! Actors that come and go.

use impala_common::status::RunState;
use impala_common::wire::pb;
use impala_harness::fake_actor::{receipt, registration, trajectory};
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_learner::handover::ledger::Account;
use tonic::Code;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_vanishes_disturbs_nobody_and_its_index_becomes_free() {
    let learner = TestLearner::start(settings()).await;
    let mut stays = learner.actor("stays", 1).await;
    let mut vanishes = learner.actor("vanishes", 2).await;
    stays.train(0).await;
    vanishes.train(0).await;
    let index = vanishes.agreement.actor_index;
    drop(vanishes);

    // Nobody tells when the learner has noticed; each attempt waits for its answer, and `stays` goes on meanwhile.
    let successor = pb::RegisterRequest { actor_index: Some(index), ..registration("vanishes", 3) };
    let mut trained = 2;
    loop {
        stays.train(0).await;
        trained += 1;
        match learner.register(successor.clone()).await {
            Ok(reply) => break assert_eq!(reply.actor_index, index),
            Err(status) => assert_eq!(status.code(), Code::AlreadyExists, "{status}"),
        }
    }
    stays.leave().await;
    assert_eq!(learner.stop().await, Account { produced: trained, trained, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_of_the_same_name_gets_the_index_of_the_old_one() {
    let learner = TestLearner::start(settings()).await;
    let mut first = learner.actor("first", 1).await;
    let mut second = learner.actor("second", 2).await;
    assert_eq!((first.agreement.actor_index, second.agreement.actor_index), (0, 1));
    first.train(0).await;
    second.train(0).await;
    first.close().await;
    second.close().await;
    // Index 0 is free too and would be the next for a stranger.
    let mut second = learner.actor("second", 3).await;
    assert_eq!(second.agreement.actor_index, 1);
    second.train(0).await;
    second.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 3, trained: 3, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_registers_again_keeps_its_index_although_its_old_stream_is_still_open() {
    let learner = TestLearner::start(settings()).await;
    let wanted = pb::RegisterRequest { actor_index: Some(5), ..registration("a", 1) };
    let mut old = learner.join(wanted.clone()).await;
    old.train(0).await;
    let mut new = learner.join(pb::RegisterRequest { produced: 1, ..wanted }).await;
    assert_eq!(new.agreement.actor_index, 5);
    assert_ne!(new.agreement.session, old.agreement.session);
    new.train(0).await;
    old.close().await;
    // The end of the old stream does not take the new one's index away.
    let thief = pb::RegisterRequest { actor_index: Some(5), ..registration("b", 2) };
    assert_eq!(learner.register(thief).await.unwrap_err().code(), Code::AlreadyExists);
    new.train(0).await;
    new.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 3, trained: 3, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_of_trajectories_before_the_farewell_still_arrive() {
    let learner = TestLearner::start(given("in_flight_max = 4", settings())).await;
    let mut actor = learner.actor("a", 1).await;
    for _ in 0..4 {
        actor.push(0).await;
    }
    let expected: Vec<_> = (0..4).map(|sequence| receipt(sequence, pb::Disposition::Trained)).collect();
    assert_eq!(actor.farewell(4).await, expected);
    assert_eq!(learner.stop().await, Account { produced: 4, trained: 4, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_does_not_wait_for_receipts_is_turned_out() {
    // A batch of two trajectories stays unfinished, so the first one has no receipt yet.
    let learner = TestLearner::start(given("batch_size = 4\nin_flight_max = 1", settings())).await;
    let mut actor = learner.actor("hasty", 1).await;
    actor.push_this(trajectory(0, 0)).await;
    actor.push_this(trajectory(1, 0)).await;
    let answer = actor.violation().await;
    assert!(answer.contains("came before a receipt for one of the 1 before it"), "{answer}");
    let account = learner.stop().await;
    assert_eq!((account.produced, account.refused_invalid, account.refused_shutdown), (2, 1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_actors_with_the_oldest_policies_are_told_and_forgotten_when_they_leave() {
    let learner = TestLearner::start(given("policy_lag_max = 0", settings())).await;
    let mut quick = learner.actor("quick", 1).await;
    let mut late = learner.actor("late", 2).await;
    quick.train(0).await;
    quick.weights_of(1).await;
    for _ in 0..20 {
        let sequence = late.push(0).await;
        assert_eq!(late.receipt().await, (sequence, pb::Disposition::Stale));
    }
    let oldest = learner.status_in(RunState::Training).await.oldest_actors;
    let told: Vec<_> = oldest.iter().map(|actor| (actor.name.as_str(), actor.policy_lag_mean, actor.refused)).collect();
    assert_eq!(told, [("late", 1.0, 1.0), ("quick", 0.0, 0.0)]);
    late.leave().await;
    let left = learner.status_in(RunState::Training).await.oldest_actors;
    assert_eq!(left.iter().map(|actor| actor.name.as_str()).collect::<Vec<_>>(), ["quick"]);
    quick.leave().await;
    learner.stop().await;
}
