//! The actor on the wire, against a learner that the test plays by hand.
#![allow(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

#[path = "link/evaluation.rs"]
mod evaluation;
#[path = "link/reach.rs"]
mod reach;

use impala_actor::app::ActorReport;
use impala_actor::link::Receipts;
use impala_common::agreement::{Agreement, Lockstep, PROTOCOL_VERSION};
use impala_common::ids::{Sequence, WeightsVersion};
use impala_common::snapshot::{self, Encoding, NumberFormat, Words};
use impala_common::wire::pb::Disposition::{Shutdown, Stale, Trained};
use impala_common::wire::{pb, trajectory_from_pb};
use impala_env::Registry;
use impala_harness::fake_learner::{Event, FakeLearner};
use impala_harness::replies::{agreement, delta, finish, full, receipt, receipt_with, stored, weights};
use impala_harness::test_actor::TestActor;
use tonic::{Code, Status};

#[tokio::test]
async fn an_actor_registers_streams_and_ends_with_the_run() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let agreement = agreement(7);
    let request = learner.accept(agreement.clone()).await;
    assert_eq!((request.protocol_version, request.actor_name.as_str()), (PROTOCOL_VERSION, "tester"));
    assert_eq!((request.actor_index, request.produced), (None, 0));
    assert_eq!(request.environments.len(), impala_env::builtin().kinds().len());
    assert_eq!(request.encodings.len(), Encoding::ALL.len());

    let (replies, snapshots) = learner.streams(7).await;
    snapshots.send(Ok(full(4))).await.unwrap();
    for (sequence, disposition) in (0..).zip([Trained, Trained, Trained, Stale]) {
        let trajectory = trajectory_from_pb(&learner.trajectory().await, &agreement.trajectory_shape()).unwrap();
        assert_eq!((trajectory.sequence, trajectory.weights_version.0), (Sequence(sequence), 4));
        replies.send(Ok(receipt(sequence, disposition))).await.unwrap();
    }
    replies.send(Ok(finish("solved"))).await.unwrap();
    let (more, produced) = learner.last_words().await;
    assert_eq!(produced, 4 + more, "the farewell counts every trajectory");
    for sequence in 4..produced {
        replies.send(Ok(receipt(sequence, Shutdown))).await.unwrap();
    }
    drop(replies);
    let report = actor.end().await.unwrap();
    assert_eq!(report.receipts, Receipts { trained: 3, stale: 1, shutdown: more });
    assert_eq!((report.trajectories, report.lost, report.reconnects), (produced, 0, 0));
    assert_eq!(report.frames, produced * 15);
    assert_eq!(report.finish_reason.as_deref(), Some("solved"));
}

#[tokio::test]
async fn newer_weights_are_used_from_the_next_unroll_on() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    // One trajectory at a time, so that the test knows what the rollout waits for.
    learner.accept(Agreement { in_flight_max: 1, ..agreement(1) }).await;
    let (replies, snapshots) = learner.streams(1).await;
    let versions = [full(3), delta(4, 3), delta(6, 4), full(9)];
    for (sequence, snapshot) in (0..).zip(versions) {
        let version = snapshot.version;
        snapshots.send(Ok(snapshot)).await.unwrap();
        // The rollout may have begun with the version before: receipts go out until the new one shows.
        let mut sequence_seen = sequence;
        loop {
            let trajectory = learner.trajectory().await;
            sequence_seen = trajectory.sequence.max(sequence_seen);
            replies.send(Ok(receipt(trajectory.sequence, Trained))).await.unwrap();
            if trajectory.weights_version == version {
                break;
            }
            assert!(trajectory.weights_version < version);
        }
    }
    actor.shutdown.cancel();
    drop(replies);
    let report = actor.end().await.unwrap();
    assert_eq!(report.finish_reason, None);
}

#[tokio::test]
async fn never_more_trajectories_than_the_window_are_without_a_receipt() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let window = 3;
    learner.accept(Agreement { in_flight_max: 3, ..agreement(1) }).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(0))).await.unwrap();
    let mut arrived = 0;
    for _ in 0..window {
        assert_eq!(learner.trajectory().await.sequence, arrived);
        arrived += 1;
    }
    // From here on each receipt lets exactly one more through, in whatever order receipts come.
    for answered in [1, 0, 2, 3, 5, 4, 6, 7] {
        replies.send(Ok(receipt(answered, Trained))).await.unwrap();
        assert_eq!(learner.trajectory().await.sequence, arrived);
        arrived += 1;
    }
    replies.send(Ok(finish("enough"))).await.unwrap();
    let (more, produced) = learner.last_words().await;
    assert_eq!((more, produced), (0, arrived), "nothing was made beyond the window");
    drop(replies);
    assert_eq!(actor.end().await.unwrap().lost, window);
}

#[tokio::test]
async fn after_the_learner_died_the_actor_registers_anew_as_the_same_incarnation() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start_with(&learner, |config| config.index = Some(0));
    let first = learner.accept(agreement(1)).await;
    assert_eq!(first.actor_index, Some(0));
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(5))).await.unwrap();
    assert_eq!(learner.trajectory().await.sequence, 0);
    replies.send(Ok(receipt(0, Trained))).await.unwrap();
    // The window holds two: one receipt was sent, so these are all that there can be.
    assert_eq!(learner.trajectory().await.sequence, 1);
    assert_eq!(learner.trajectory().await.sequence, 2);
    let address = learner.die();

    let mut learner = FakeLearner::start(Some(address)).await;
    let second = learner.accept(agreement(2)).await;
    assert_eq!((second.incarnation, second.actor_name), (first.incarnation, first.actor_name));
    assert_eq!(second.produced, 3);
    let (replies, snapshots) = learner.streams(2).await;
    // Version numbers start over with another learner; weights of the old one are not used again.
    snapshots.send(Ok(full(1))).await.unwrap();
    let trajectory = learner.trajectory().await;
    assert_eq!((trajectory.sequence, trajectory.weights_version), (3, 1), "nothing is sent twice");
    replies.send(Ok(receipt(3, Trained))).await.unwrap();
    replies.send(Ok(finish("solved"))).await.unwrap();
    let (more, produced) = learner.last_words().await;
    assert_eq!(produced, 4 + more);
    drop(replies);
    let report = actor.end().await.unwrap();
    assert_eq!((report.trajectories, report.reconnects), (produced, 1));
    assert_eq!(report.receipts.total() + report.lost, produced);
    assert_eq!(report.lost, 2 + more);
}

#[tokio::test]
async fn a_taken_index_or_a_busy_learner_is_asked_again() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    for code in [Code::AlreadyExists, Code::Unavailable, Code::ResourceExhausted, Code::Internal] {
        learner.answer(Err(Status::new(code, "not now"))).await;
    }
    learner.accept(agreement(1)).await;
    learner.streams(1).await;
    actor.shutdown.cancel();
    actor.end().await.unwrap();
}

#[tokio::test]
async fn a_learner_that_does_not_fit_ends_the_actor_with_its_message() {
    for code in [Code::FailedPrecondition, Code::InvalidArgument] {
        let mut learner = FakeLearner::start(None).await;
        let actor = TestActor::start(&learner);
        learner.answer(Err(Status::new(code, "protocol version 1, this learner speaks 2"))).await;
        let expected = format!(
            "the learner at http://{} refused this actor: protocol version 1, this learner speaks 2",
            learner.address
        );
        assert_eq!(actor.error().await, expected);
    }
}

#[tokio::test]
async fn an_actor_that_waits_outlasts_a_learner_of_another_release_and_works_for_the_next() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start_with(&learner, |config| config.waits = true);
    for refusal in [
        Status::failed_precondition("the actor speaks protocol version 2, the learner 1"),
        Status::unimplemented("unknown service"),
        Status::failed_precondition("the learner trains another environment"),
    ] {
        learner.answer(Err(refusal)).await;
    }
    learner.accept(agreement(1)).await;
    learner.streams(1).await;
    actor.shutdown.cancel();
    actor.end().await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_no_learner_ends_the_actor() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.answer(Err(Status::unimplemented("unknown service"))).await;
    let error = actor.error().await;
    assert!(error.contains("no IMPALA learner of this version") && error.contains("unknown service"), "{error}");
}

#[tokio::test]
async fn another_environment_or_index_than_offered_is_refused_with_both() {
    let mut learner = FakeLearner::start(None).await;
    let only_catch = Registry::only(impala_env::builtin().get(&"catch".parse().unwrap()).unwrap().clone());
    let actor = TestActor::start_with(&learner, |config| config.environments = only_catch);
    let request = learner.accept(agreement(1)).await;
    assert_eq!(request.environments.len(), 1);
    let error = actor.error().await;
    assert!(error.contains("wants environment cartpole-v1") && error.contains("offers catch"), "{error}");

    let actor = TestActor::start_with(&learner, |config| config.index = Some(3));
    learner.accept(agreement(1)).await;
    let error = actor.error().await;
    assert!(error.contains("wants actor_index 0, this actor offers 3"), "{error}");

    let actor = TestActor::start(&learner);
    learner.accept(Agreement { unroll_length: 0, ..agreement(1) }).await;
    let error = actor.error().await;
    assert!(error.contains("unroll_length 0 is not between"), "{error}");
}

#[tokio::test]
async fn large_networks_and_large_trajectories_go_the_same_way() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    // More than 64 ki parameters, and more than 128 ki numbers in the observations.
    let mut agreement = Agreement { environments_per_actor: 9000, unroll_length: 4, ..agreement(1) };
    agreement.network.hidden = vec![10_000];
    let parameters = vec![0.001; agreement.network.parameter_count()];
    learner.accept(Agreement { environments_per_actor: 1, unroll_length: 1, ..agreement.clone() }).await;
    let (replies, snapshots) = learner.streams(1).await;
    let words = Words::round(NumberFormat::F16, &parameters, 0);
    let snapshot = snapshot::encode(WeightsVersion(1), &words, None);
    snapshots.send(Ok(pb::Snapshot::from(&snapshot))).await.unwrap();
    learner.trajectory().await;
    replies.send(Ok(finish("next"))).await.unwrap();
    learner.last_words().await;
    drop(replies);
    actor.end().await.unwrap();

    let actor = TestActor::start(&learner);
    agreement.network.hidden = vec![8];
    learner.accept(agreement.clone()).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    let trajectory = trajectory_from_pb(&learner.trajectory().await, &agreement.trajectory_shape()).unwrap();
    assert_eq!(trajectory.observations.len(), 5 * 9000 * 4);
    replies.send(Ok(finish("done"))).await.unwrap();
    learner.last_words().await;
    drop(replies);
    actor.end().await.unwrap();
}

#[tokio::test]
async fn a_damaged_snapshot_is_healed_by_a_full_one() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(Agreement { in_flight_max: 1, ..agreement(1) }).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    assert_eq!(learner.trajectory().await.weights_version, 1);
    let mut damaged = delta(2, 1);
    damaged.checksum ^= 1;
    snapshots.send(Ok(damaged)).await.unwrap();
    // The actor opens the stream anew, holding nothing.
    let snapshots = match learner.event().await {
        Event::Watch(1, snapshots) => snapshots,
        other => panic!("expected the stream of weights to be opened anew, got {other:?}"),
    };
    snapshots.send(Ok(full(2))).await.unwrap();
    let mut sequence = 0;
    let mut version = 1;
    while version == 1 {
        replies.send(Ok(receipt(sequence, Trained))).await.unwrap();
        let trajectory = learner.trajectory().await;
        (sequence, version) = (trajectory.sequence, trajectory.weights_version);
    }
    assert_eq!(version, 2);
    actor.shutdown.cancel();
    drop(replies);
    actor.end().await.unwrap();
}

#[tokio::test]
async fn weights_come_with_receipts_and_make_the_next_trajectory() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let replies = learner.accept_with_receipts(Agreement { in_flight_max: 1, ..agreement(1) }).await;
    replies.send(Ok(weights(full(3)))).await.unwrap();
    let mut version = 3;
    for (sequence, next) in (0..).zip([delta(4, 3), stored(6), delta(7, 6), full(9)]) {
        let trajectory = learner.trajectory().await;
        assert_eq!((trajectory.sequence, trajectory.weights_version), (sequence, version));
        version = next.version;
        replies.send(Ok(receipt_with(sequence, next))).await.unwrap();
    }
    actor.shutdown.cancel();
    drop(replies);
    actor.end().await.unwrap();
}

#[tokio::test]
async fn damaged_weights_of_a_receipt_are_told_and_healed_by_full_ones() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let replies = learner.accept_with_receipts(Agreement { in_flight_max: 1, ..agreement(1) }).await;
    replies.send(Ok(weights(full(1)))).await.unwrap();
    assert_eq!(learner.trajectory().await.weights_version, 1);
    let mut damaged = delta(2, 1);
    damaged.checksum ^= 1;
    replies.send(Ok(receipt_with(0, damaged))).await.unwrap();
    assert!(matches!(learner.event().await, Event::WeightsDamaged));
    // The receipt has asked for version 2: nothing is made with the old weights.
    replies.send(Ok(weights(full(3)))).await.unwrap();
    let trajectory = learner.trajectory().await;
    assert_eq!((trajectory.sequence, trajectory.weights_version), (1, 3));
    // A base that was held before the damage is not trusted any more; what is damaged for good ends the actor.
    for _ in 0..5 {
        replies.send(Ok(weights(delta(4, 1)))).await.unwrap();
    }
    let error = actor.error().await;
    assert!(
        error.contains("could not be decoded 5 times in a row") && error.contains("delta against version 1"),
        "{error}"
    );
}

#[tokio::test]
async fn weights_that_were_not_agreed_on_end_the_actor() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (replies, _snapshots) = learner.streams(1).await;
    replies.send(Ok(weights(full(1)))).await.unwrap();
    let error = actor.error().await;
    assert!(error.contains("a snapshot that was not agreed on"), "{error}");
}

#[tokio::test]
async fn weights_that_stay_damaged_end_the_actor() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (_replies, mut snapshots) = learner.streams(1).await;
    for attempt in 1..=5 {
        let damaged = pb::Snapshot { parameter_count: 3, ..full(1) };
        snapshots.send(Ok(damaged)).await.unwrap();
        if attempt < 5 {
            snapshots = match learner.event().await {
                Event::Watch(1, snapshots) => snapshots,
                other => panic!("expected the stream of weights to be opened anew, got {other:?}"),
            };
        }
    }
    let error = actor.error().await;
    assert!(error.contains("5 times in a row") && error.contains("snapshot has 3 parameters"), "{error}");
}

#[tokio::test]
async fn a_rejected_trajectory_ends_the_actor_with_the_learners_message() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    learner.trajectory().await;
    replies.send(Err(Status::invalid_argument("rewards[0] is NaN"))).await.unwrap();
    assert_eq!(actor.error().await, "the learner rejected a trajectory: rewards[0] is NaN");
}

#[tokio::test]
async fn a_receipt_for_nothing_that_was_sent_is_an_error() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.accept(agreement(1)).await;
    let (replies, _snapshots) = learner.streams(1).await;
    replies.send(Ok(receipt(12, Trained))).await.unwrap();
    let error = actor.error().await;
    assert!(error.contains("`receipt.sequence` has the unknown value 12"), "{error}");
}

#[tokio::test]
async fn a_stop_says_farewell_whether_weights_have_come_or_not() {
    for send_weights in [false, true] {
        let mut learner = FakeLearner::start(None).await;
        let actor = TestActor::start(&learner);
        learner.accept(agreement(1)).await;
        let (replies, snapshots) = learner.streams(1).await;
        if send_weights {
            snapshots.send(Ok(full(1))).await.unwrap();
            learner.trajectory().await;
        }
        actor.shutdown.cancel();
        let (more, produced) = learner.last_words().await;
        assert_eq!(produced, more + u64::from(send_weights));
        drop(replies);
        let report = actor.end().await.unwrap();
        assert_eq!((report.trajectories, report.lost, report.finish_reason), (produced, produced, None));
    }
}

#[tokio::test]
async fn a_stop_while_no_learner_is_there_ends_at_once() {
    let learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    learner.die();
    actor.shutdown.cancel();
    assert_eq!(actor.end().await.unwrap(), ActorReport::default());
}

#[tokio::test]
async fn a_lockstep_run_beyond_the_wanted_version_ends_the_actor() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let lockstep = Some(Lockstep { actors: 1, trajectories_per_batch: 1 });
    learner.accept(Agreement { lockstep, ..agreement(1) }).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(0))).await.unwrap();
    assert_eq!(learner.trajectory().await.weights_version, 0);
    replies.send(Ok(receipt(0, Trained))).await.unwrap();
    snapshots.send(Ok(delta(1, 0))).await.unwrap();
    assert_eq!(learner.trajectory().await.weights_version, 1);
    snapshots.send(Ok(full(3))).await.unwrap();
    replies.send(Ok(receipt(1, Trained))).await.unwrap();
    let (more, produced) = learner.last_words().await;
    assert_eq!((more, produced), (0, 2));
    drop(replies);
    let error = actor.error().await;
    assert!(error.contains("needs weights version 2, the learner is at 3 already"), "{error}");
}

#[tokio::test]
async fn several_actors_run_in_one_process() {
    let mut learners = [FakeLearner::start(None).await, FakeLearner::start(None).await];
    let actors = learners.each_ref().map(TestActor::start);
    let mut incarnations = Vec::new();
    for learner in &mut learners {
        incarnations.push(learner.accept(agreement(1)).await.incarnation);
        let (replies, snapshots) = learner.streams(1).await;
        snapshots.send(Ok(full(1))).await.unwrap();
        learner.trajectory().await;
        replies.send(Ok(finish("done"))).await.unwrap();
        learner.last_words().await;
    }
    assert_ne!(incarnations[0], incarnations[1]);
    for actor in actors {
        assert_eq!(actor.end().await.unwrap().finish_reason.as_deref(), Some("done"));
    }
}
