//! Who is let in, and what the others are told.

use bytes::Bytes;
use impala_common::wire::pb;
use impala_harness::fake_actor::{push_stream, registration};
use impala_harness::patience::within;
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_policy::network::PolicyHead;
use pb::push_request::Message as Request;
use tonic::Code;

/// What is changed in a sound registration, the status that answers it, and what its message names.
type Misfit = (fn(&mut pb::RegisterRequest), Code, &'static [&'static str]);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_is_told_everything_it_needs() {
    let given = given("seed = 77\nin_flight_max = 5", settings());
    let learner = TestLearner::start(given).await;
    let reply = learner.register(registration("a", 1)).await.unwrap();
    let environment = impala_env::builtin().kinds()[0].spec().clone();
    assert_eq!(reply.environment, Some(environment.into()));
    let head = Some(PolicyHead::single(2).into());
    let network =
        pb::NetworkSpec { observation_len: 4, hidden: vec![8], activation: "tanh".into(), head, normalises: false };
    assert_eq!(reply.network, Some(network));
    assert_eq!((reply.unroll_length, reply.environments_per_actor, reply.in_flight_max), (3, 2, 5));
    assert_eq!((reply.actor_index, reply.seed, reply.lockstep), (0, 77, None));
    assert_eq!(reply.encoding(), pb::Encoding::F16Delta);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_does_not_fit_is_told_both_sides_values() {
    let learner = TestLearner::start(settings()).await;
    let cases: [Misfit; 7] = [
        (|r| r.protocol_version = 7, Code::FailedPrecondition, &["protocol version 7", "the learner 3"]),
        (
            |r| r.environments.retain(|e| e.name == "catch"),
            Code::FailedPrecondition,
            &["trains cartpole-v1", "offers catch"],
        ),
        (
            |r| r.environments.iter_mut().for_each(|e| e.observations.as_mut().unwrap().shape = vec![9]),
            Code::FailedPrecondition,
            &["observations f32[4]", "cartpole-v1 (observations f32[9]"],
        ),
        (|r| r.environments.clear(), Code::FailedPrecondition, &["trains cartpole-v1"]),
        (
            |r| r.encodings = vec![pb::Encoding::Bf16.into(), 99],
            Code::FailedPrecondition,
            &["f16-delta or f32", "decodes [bf16]"],
        ),
        (|r| r.actor_name.clear(), Code::InvalidArgument, &["name of 0 bytes", "1 to 256 bytes"]),
        (|r| r.actor_index = Some(u32::MAX), Code::InvalidArgument, &["index 4294967295", "below 1048576"]),
    ];
    for (change, code, parts) in cases {
        let mut request = registration("a", 1);
        change(&mut request);
        let status = learner.register(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        for part in parts {
            assert!(status.message().contains(part), "`{part}` is not in: {}", status.message());
        }
    }
    let reply = learner.register(registration("a", 1)).await.unwrap();
    assert_eq!(reply.actor_index, 0, "the attempts took no index");
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_a_live_actor_holds_is_not_given_away() {
    let learner = TestLearner::start(settings()).await;
    let wanted = |name, incarnation| pb::RegisterRequest { actor_index: Some(3), ..registration(name, incarnation) };
    let mut holder = learner.join(wanted("holder", 1)).await;
    assert_eq!(holder.agreement.actor_index, 3);
    holder.train(0).await;
    let status = learner.register(wanted("late", 2)).await.unwrap_err();
    assert_eq!(status.code(), Code::AlreadyExists, "{status}");
    assert!(status.message().contains("index 3") && status.message().contains("`holder`"), "{status}");
    holder.leave().await;
    assert_eq!(learner.register(wanted("late", 2)).await.unwrap().actor_index, 3);
    learner.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_is_unknown_or_in_use_opens_nothing() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    let used = actor.agreement.session.clone();
    let mut client = learner.client().await;
    let unknown = Bytes::from_static(&[7; 16]);
    for session in [unknown.clone(), used] {
        let (requests, mut replies) = push_stream(&mut client).await;
        let open = pb::PushRequest { message: Some(Request::Open(pb::Open { session })) };
        within("opening", requests.send(open)).await.unwrap();
        let status = within("the refusal", replies.message()).await.unwrap_err();
        assert_eq!(status.code(), Code::NotFound, "{status}");
        assert!(status.message().contains("register again"), "{status}");
    }
    let watching = client.watch_weights(pb::WatchRequest { session: unknown });
    let status = within("the refusal", watching).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound, "{status}");
    // As actors of protocol version 1 would name it.
    let watching = client.watch_weights(pb::WatchRequest { session: Bytes::from_static(&[1]) });
    let status = within("the refusal", watching).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    assert!(status.message().contains("`session` is 1, agreed was 16"), "{status}");
    actor.train(0).await;
    actor.leave().await;
    learner.stop().await;
}
