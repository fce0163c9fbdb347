//! From trajectories to weights, and the account of it.

use impala_common::wire::pb;
use impala_harness::fake_actor::{receipt, registration, trajectory};
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_learner::handover::ledger::Account;
use impala_learner::handover::run_state::RunState;
use impala_learner::report::summary::RunEnd;
use pb::push_request::Message as Request;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trajectories_are_trained_and_weights_come_in_full_first_and_then_as_deltas() {
    let given = given("weights_encoding = \"f32-delta\"", settings());
    let learner = TestLearner::start(given).await;
    let mut actor = learner.actor("a", 1).await;
    let (first, initial) = actor.weights().await;
    assert_eq!((first.version, first.base_version), (0, None));

    let mut held = 0;
    let mut deltas = 0;
    let mut parameters = initial.clone();
    for version in 1..=4 {
        actor.train(version - 1).await;
        let (snapshot, next) = actor.weights().await;
        assert_eq!(snapshot.version, version);
        if let Some(base) = snapshot.base_version {
            assert_eq!((base, snapshot.encoding()), (held, pb::Encoding::F32Delta));
            deltas += 1;
        }
        assert_ne!(next, parameters, "every update changes the weights");
        (held, parameters) = (version, next);
    }
    // Version 0 is older than the first registration and may not have been kept as a base.
    assert!(deltas >= 3, "{deltas} of 4 snapshots were deltas");

    actor.leave().await;
    learner.request_stop();
    let outcome = learner.ended().await.outcome;
    assert_eq!(outcome.summary.end, RunEnd::Interrupted);
    assert_eq!(outcome.summary.account, Account { produced: 4, trained: 4, ..Account::default() });
    assert_eq!(outcome.summary.account.in_flight(), 0);
    assert_eq!((outcome.summary.updates, outcome.summary.frames, outcome.summary.episodes), (4, 24, 8));
    // Of two steps first and of three later, each of which pays 1.
    assert_eq!(outcome.summary.mean_return, Some((2.0 + 3.0 * 3.0) / 4.0));
    // What the actor tells of its time arrives whole.
    let blocked = outcome.summary.shares.actors_blocked().unwrap();
    assert!((blocked - 0.4).abs() < 1e-9, "{blocked}");
    assert_eq!(outcome.parameters, parameters, "the last snapshot is the model that was saved");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_leaves_holds_up_no_episodes_of_others() {
    let learner = TestLearner::start(settings()).await;
    let mut leaving = learner.actor("leaving", 1).await;
    let mut staying = learner.actor("staying", 2).await;
    let endless = pb::Trajectory { outcomes: vec![0; 6].into(), ..trajectory(0, 0) };
    leaving.push_this(endless).await;
    assert_eq!(leaving.receipt().await, (0, pb::Disposition::Trained));
    staying.train(0).await;
    staying.weights_of(2).await;
    let status = learner.status_in(RunState::Training).await;
    assert_eq!((status.updates, status.episodes, status.mean_return), (2, 0, None));
    leaving.leave().await;
    staying.train(0).await;
    staying.weights_of(3).await;
    let status = learner.status_in(RunState::Training).await;
    assert_eq!((status.updates, status.episodes, status.mean_return), (3, 4, Some(2.5)));
    staying.leave().await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_encoding_brings_the_same_weights_up_to_its_rounding() {
    let learner = TestLearner::start(given("weights_encoding = \"bf16\"", settings())).await;
    let mut rounded = learner.actor("bf16", 1).await;
    // It knows f32 only, so it is sent that.
    let request = pb::RegisterRequest { encodings: vec![pb::Encoding::F32.into()], ..registration("f32", 2) };
    let mut exact = learner.join(request).await;
    assert_eq!(exact.agreement.encoding(), pb::Encoding::F32);
    rounded.train(0).await;
    let (sent, received) = (exact.weights_of(1).await, rounded.weights_of(1).await);
    for (exact, rounded) in sent.iter().zip(&received) {
        assert!((exact - rounded).abs() <= exact.abs() / 256.0, "{exact} came as {rounded}");
    }
    drop((exact, rounded));
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_joins_late_gets_the_newest_weights_in_full() {
    let learner = TestLearner::start(settings()).await;
    let mut early = learner.actor("early", 1).await;
    for version in 0..3 {
        early.train(version).await;
        early.weights_of(version + 1).await;
    }
    let mut late = learner.actor("late", 2).await;
    let (snapshot, _) = late.weights().await;
    assert_eq!((snapshot.version, snapshot.base_version), (3, None));
    drop((early, late));
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_waits_for_all_its_trajectories() {
    let learner = TestLearner::start(given("batch_size = 4", settings())).await;
    let mut first = learner.actor("first", 1).await;
    let mut second = learner.actor("second", 2).await;
    first.push(0).await;
    second.push(0).await;
    assert_eq!(first.receipt().await, (0, pb::Disposition::Trained));
    assert_eq!(second.receipt().await, (0, pb::Disposition::Trained));
    first.weights_of(1).await;
    first.push(1).await;
    learner.request_stop();
    // The finish and the receipt of what waited come in either order.
    let replies = first.farewell(2).await;
    assert!(replies.contains(&receipt(1, pb::Disposition::Shutdown)), "{replies:?}");
    second.finish().await;
    second.leave().await;
    let account = learner.ended().await.outcome.summary.account;
    let expected = Account { produced: 3, trained: 2, refused_shutdown: 1, ..Account::default() };
    assert_eq!(account, expected, "the trajectory of the unfinished batch is refused at the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_and_a_higher_count_in_the_farewell_are_counted_as_lost() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    actor.push_this(trajectory(3, 0)).await;
    assert_eq!(actor.receipt().await, (3, pb::Disposition::Trained));
    assert_eq!(actor.farewell(6).await, []);
    assert_eq!(learner.stop().await, Account { produced: 6, trained: 2, lost: 4, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_registers_again_shows_what_was_lost_on_its_way() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    actor.close().await;
    let again = pb::RegisterRequest { produced: 4, ..registration("a", 1) };
    let mut actor = learner.join(again).await;
    actor.train(0).await;
    actor.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 5, trained: 2, lost: 3, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_process_did_for_an_earlier_learner_is_not_in_the_account() {
    let learner = TestLearner::start(settings()).await;
    let veteran = pb::RegisterRequest { produced: 500, ..registration("a", 1) };
    let mut actor = learner.join(veteran).await;
    actor.train(0).await;
    actor.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 1, trained: 1, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_trajectory_is_refused_and_counted() {
    let learner = TestLearner::start(given("policy_lag_max = 0", settings())).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    // Receipts come before the update; the version on the weights stream comes after it.
    actor.weights_of(1).await;
    let sequence = actor.push(0).await;
    assert_eq!(actor.receipt().await, (sequence, pb::Disposition::Stale));
    actor.train(1).await;
    actor.leave().await;
    let expected = Account { produced: 3, trained: 2, refused_stale: 1, ..Account::default() };
    assert_eq!(learner.stop().await, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_does_not_read_its_weights_skips_versions_and_holds_nobody_up() {
    // Each version a megabyte in full: an unread stream soon has no room for another one.
    let given = given("hidden = [512, 512]\nweights_encoding = \"f32\"", settings());
    let learner = TestLearner::start(given).await;
    let mut slow = learner.actor("slow", 1).await;
    let updates = 12;
    for _ in 0..updates {
        slow.train(0).await;
    }
    // What the last receipt promises comes.
    let promised = slow.next_weights;
    let mut versions = vec![slow.weights().await.0.version];
    while *versions.last().unwrap() < promised {
        versions.push(slow.weights().await.0.version);
    }
    assert!(versions.is_sorted_by(|a, b| a < b) && versions.len() < updates as usize, "{versions:?}");
    slow.leave().await;
    assert_eq!(learner.stop().await.trained, updates);
}

/// One that takes weights with its receipts.
fn with_receipts(name: &str, incarnation: u64) -> pb::RegisterRequest {
    pb::RegisterRequest { weights_in_receipts: Some(true), ..registration(name, incarnation) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_come_after_open_and_then_with_receipts_each_version_once() {
    let given = given("weights_encoding = \"f32-delta\"", settings());
    let learner = TestLearner::start(given).await;
    let mut actor = learner.join(with_receipts("a", 1)).await;
    assert_eq!(actor.agreement.weights_in_receipts, Some(true));
    let first = actor.pushed_weights().await;
    assert_eq!((first.version, first.base_version, first.stored), (0, None, false));
    let mut held = 0;
    for _ in 0..6 {
        let sequence = actor.push(held).await;
        assert_eq!(actor.receipt().await, (sequence, pb::Disposition::Trained));
        // The receipt goes out before the update that the trajectory is part of: the first has nothing new to bring.
        match actor.receipt_weights.take() {
            Some(weights) => {
                assert!(weights.version > held);
                assert_eq!((weights.version, weights.base_version), (actor.next_weights, Some(held)));
                actor.decode(&weights);
                held = weights.version;
            }
            None => assert_eq!(actor.next_weights, held),
        }
    }
    assert!(held >= 3, "{held}");

    actor.send(Request::WeightsDamaged(pb::WeightsDamaged {})).await;
    let full = actor.pushed_weights().await;
    assert_eq!(full.base_version, None);
    actor.leave().await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_of_this_machine_that_reads_stored_weights_gets_them_so() {
    let learner = TestLearner::start(settings()).await;
    let request = pb::RegisterRequest { stored_payloads: Some(true), ..with_receipts("near", 1) };
    let mut actor = learner.join(request).await;
    let weights = actor.pushed_weights().await;
    assert!(weights.stored);
    assert_eq!(weights.payload.len() as u64, 2 * weights.parameter_count);
    actor.leave().await;
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_without_weights_in_its_receipts_has_none_to_complain_of() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("old", 1).await;
    actor.send(Request::WeightsDamaged(pb::WeightsDamaged {})).await;
    assert!(actor.violation().await.contains("expected a trajectory or a farewell"));
    learner.stop().await;
}
