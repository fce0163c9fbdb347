//! What may be asked of a learner without a registration, by the client that everybody shares.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_common::channel::{Dialler, Resolver, client};
use impala_common::status::RunState;
use impala_harness::fake_learner::FakeLearner;
use impala_harness::test_learner::{TestLearner, given, settings};
use std::net::SocketAddr;

/// A name with these addresses.
fn named(addresses: &[SocketAddr]) -> Dialler {
    let addresses = addresses.to_vec();
    let resolver = Resolver::new(move |_| Box::pin(std::future::ready(Ok(addresses.clone()))));
    Dialler { resolver, ..Dialler::new("learner:50051".parse().unwrap()) }
}

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_address_that_answers_is_asked() {
    let learner = TestLearner::start(given("weights_encoding = \"f32\"", settings())).await;
    let name = named(&[closed().await, learner.address]);
    assert_eq!(client::status(&name).await.unwrap().state, RunState::Waiting);
    client::health(&name).await.unwrap();
    let mut actor = learner.actor("a", 1).await;
    let parameters = actor.weights_of(0).await;
    let model = client::model(&name).await.unwrap();
    assert_eq!((model.environment.name.as_str(), model.network.hidden.as_slice()), ("cartpole-v1", &[8][..]));
    assert_eq!((model.version.0, model.parameters), (0, parameters), "the weights that an actor was sent");
    actor.leave().await;
    learner.stop().await;
}

#[tokio::test]
async fn who_does_not_answer_is_named_with_the_reason() {
    let gone = closed().await;
    let alone = client::status(&named(&[gone])).await.unwrap_err().to_string();
    assert!(alone.starts_with("cannot connect: ") && alone.contains("Connection refused"), "{alone}");
    let none = client::health(&named(&[])).await.unwrap_err().to_string();
    assert_eq!(none, "`learner` has no address");
    let stranger = FakeLearner::start(None).await;
    let both = client::status(&named(&[gone, stranger.address])).await.unwrap_err().to_string();
    assert!(both.starts_with(&format!("{gone}: cannot connect: ")), "{both}");
    assert!(both.contains(&format!("; {}: it is no IMPALA learner of this version: ", stranger.address)), "{both}");
    let unhealthy = client::health(&named(&[stranger.address])).await.unwrap_err().to_string();
    assert_eq!(unhealthy, "it is no IMPALA learner");
}
