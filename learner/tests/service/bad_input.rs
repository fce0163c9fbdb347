//! Messages that break the contract: their stream ends with a reason, and nobody else notices.

use bytes::{BufMut, Bytes};
use http_body_util::{BodyExt, Full};
use impala_common::trajectory::TrajectoryShape;
use impala_common::wire::pb;
use impala_harness::fake_actor::{packed, push_stream, registration, trajectory};
use impala_harness::patience::within;
use impala_harness::test_learner::{TestLearner, settings};
use impala_learner::handover::ledger::Account;
use pb::push_request::Message as Request;
use prost::Message;
use tonic::codegen::{Service, http};
use tonic::{Code, Status};

/// How a sound trajectory is spoilt, and what the answer says.
type Spoilt = (fn(&mut pb::Trajectory), &'static str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_malformed_trajectory_ends_its_stream_naming_field_and_values_and_the_learner_goes_on() {
    let spoilt: [Spoilt; 19] = [
        // Two such messages would solve the task.
        (|t| t.rewards = packed([500.0; 6]), "rewards[0] is 500, a step of cartpole-v1 gives 1 to 1"),
        (
            |t| t.rewards = packed([1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0]),
            "rewards[4] is NaN, expected a number within 1e9 of 0",
        ),
        (|t| t.observations = packed([f32::INFINITY; 32]), "observations[0] is inf, expected a number within 1e9 of 0"),
        (|t| t.behaviour_log_probs = packed([0.5; 6]), "behaviour_log_probs[0] is 0.5, expected at most 0"),
        (|t| t.unroll_length = 4, "field `unroll_length` is 4, agreed was 3"),
        (|t| t.unroll_length = u32::MAX, "field `unroll_length` is 4294967295, agreed was 3"),
        (|t| t.environments = 0, "field `environments` is 0, agreed was 2"),
        (|t| t.observations = packed([0.0; 31]), "observations has 31 elements, expected 32"),
        (|t| t.observations = t.observations.slice(..127), "field `observations` has 127 bytes, not a multiple of 4"),
        (|t| t.rewards = Bytes::new(), "rewards has 0 elements, expected 6"),
        (|t| t.behaviour_log_probs = packed([-0.5; 7]), "behaviour_log_probs has 7 elements, expected 6"),
        (|t| t.actions = vec![0; 5].into(), "actions has 5 elements, expected 6"),
        (|t| t.actions = vec![0, 0, 0, 2, 0, 0].into(), "actions[3] is 2, expected less than 2"),
        (|t| t.outcomes = vec![0, 0, 3, 0, 0, 0].into(), "field `outcomes` has the unknown value 3"),
        (|t| t.outcomes = vec![0, 0, 2, 0, 0, 0].into(), "final_observations has 0 elements, expected 4"),
        (|t| t.final_observations = packed([0.0; 4]), "final_observations has 4 elements, expected 0"),
        (|t| t.weights_version = 1000, "made with weights version 1000, the newest is "),
        (|t| t.actor_state = Some(vec![7; 9].into()), "field `actor_state` is for deterministic runs"),
        (
            |t| t.actor_state = Some(vec![7; 4000].into()),
            "field `actor_state` has 4000 bytes, at most 3136 are allowed",
        ),
    ];
    let learner = TestLearner::start(settings()).await;
    let mut honest = learner.actor("honest", 0).await;
    for (incarnation, (spoil, reason)) in (1..).zip(spoilt) {
        let mut actor = learner.actor("spoilt", incarnation).await;
        actor.train(0).await;
        let mut message = trajectory(1, 0);
        spoil(&mut message);
        actor.push_this(message).await;
        let answer = actor.violation().await;
        assert!(answer.starts_with("trajectory 1: ") && answer.contains(reason), "`{reason}` is not in: {answer}");
        honest.train(0).await;
    }
    honest.leave().await;
    let account = learner.stop().await;
    let expected = Account { produced: 57, trained: 38, refused_invalid: 19, ..Account::default() };
    assert_eq!(account, expected);
    assert_eq!(account.in_flight(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_repeated_trajectory_ends_its_stream_and_is_not_counted_twice() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.train(0).await;
    actor.train(0).await;
    actor.push_this(trajectory(1, 0)).await;
    let answer = actor.violation().await;
    assert_eq!(answer, "trajectory 1, expected 2 to 1048578");
    assert_eq!(learner.stop().await, Account { produced: 2, trained: 2, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_begins_with_open_and_says_it_once() {
    let learner = TestLearner::start(settings()).await;
    let farewell = Request::Farewell(pb::Farewell { produced: 0 });
    for first in [Some(Request::Trajectory(trajectory(0, 0))), Some(farewell), None] {
        let (requests, mut replies) = push_stream(&mut learner.client().await).await;
        within("sending", requests.send(pb::PushRequest { message: first })).await.unwrap();
        let status = within("the refusal", replies.message()).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!(status.message(), "the first message of a stream must be `open`");
    }
    let mut actor = learner.actor("a", 1).await;
    let session = actor.agreement.session.clone();
    actor.send(Request::Open(pb::Open { session })).await;
    assert_eq!(actor.violation().await, "expected a trajectory or a farewell");
    assert_eq!(learner.stop().await, Account::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counts_that_nobody_can_have_produced_are_refused_and_leave_the_account_sound() {
    let learner = TestLearner::start(settings()).await;
    let mut honest = learner.actor("honest", 1).await;
    honest.train(0).await;
    for (incarnation, sequence) in [(2, u64::MAX), (3, u64::MAX - 1)] {
        let mut liar = learner.actor("liar", incarnation).await;
        liar.push_this(trajectory(sequence, 0)).await;
        let answer = liar.violation().await;
        assert!(answer.contains(&sequence.to_string()), "{answer}");
    }
    let mut liar = learner.actor("liar", 4).await;
    liar.send(Request::Farewell(pb::Farewell { produced: u64::MAX })).await;
    assert!(liar.violation().await.contains(&u64::MAX.to_string()));
    let request = pb::RegisterRequest { produced: u64::MAX, ..registration("liar", 5) };
    let status = learner.register(request).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    honest.train(0).await;
    honest.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 2, trained: 2, ..Account::default() });
}

/// One message of a gRPC stream that claims to have `len` bytes.
fn frame(len: usize, content: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.put_u32(u32::try_from(len).unwrap());
    frame.extend_from_slice(content);
    frame
}

/// Sends bytes as the body of a call and gives the status that answers it.
async fn call_raw(learner: &TestLearner, method: &str, body: Vec<u8>) -> Status {
    let mut channel = learner.channel().await;
    let request = http::Request::post(format!("/impala.v1.Learner/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(tonic::body::Body::new(Full::new(Bytes::from(body))))
        .unwrap();
    within("room", std::future::poll_fn(|context| channel.poll_ready(context))).await.unwrap();
    let response = within("a response", channel.call(request)).await.unwrap();
    let (head, body) = response.into_parts();
    let body = within("the end of the response", body.collect()).await.unwrap();
    let status = body.trailers().and_then(Status::from_header_map).or_else(|| Status::from_header_map(&head.headers));
    status.expect("every gRPC response has a status")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_oversized_or_undecodable_message_ends_its_stream_with_the_reason_and_the_learner_goes_on() {
    let learner = TestLearner::start(settings()).await;
    let mut honest = learner.actor("honest", 0).await;
    let shape = TrajectoryShape::plain(3, 2, 4, 2);
    let too_large = shape.wire_bytes_max() + 1;
    let (limit, size) = (shape.wire_bytes_max().to_string(), too_large.to_string());
    let bodies: [(Vec<u8>, &[&str]); 4] = [
        (frame(too_large, &[]), &[&limit, &size]),
        (frame(4, &[0xff; 4]), &["decode"]),
        // Ends in the middle of a message.
        (frame(1000, &[0; 10]), &["EOF"]),
        (vec![9; 64], &["compression flag"]),
    ];
    for (incarnation, (bad, reasons)) in (1..).zip(bodies) {
        let session = learner.register(registration("bad", incarnation)).await.unwrap().session;
        let open = pb::PushRequest { message: Some(Request::Open(pb::Open { session })) }.encode_to_vec();
        let opened = [frame(open.len(), &open), bad.clone()].concat();
        for body in [opened, bad] {
            let status = call_raw(&learner, "PushTrajectories", body).await;
            assert_eq!(status.code(), Code::InvalidArgument, "{status}");
            for reason in reasons {
                assert!(status.message().contains(reason), "`{reason}` is not in: {}", status.message());
            }
        }
        honest.train(0).await;
    }
    let status = call_raw(&learner, "Register", frame(too_large, &[])).await;
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    honest.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 4, trained: 4, ..Account::default() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_may_register_again_after_it_broke_the_contract() {
    let learner = TestLearner::start(settings()).await;
    let mut actor = learner.actor("a", 1).await;
    actor.push_this(pb::Trajectory { environments: 9, ..trajectory(0, 0) }).await;
    actor.violation().await;
    let again = pb::RegisterRequest { produced: 1, ..registration("a", 1) };
    let mut actor = learner.join(again).await;
    assert_eq!(actor.agreement.actor_index, 0);
    actor.train(0).await;
    actor.leave().await;
    let expected = Account { produced: 2, trained: 1, refused_invalid: 1, ..Account::default() };
    assert_eq!(learner.stop().await, expected);
}
