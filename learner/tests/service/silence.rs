//! A peer that falls silent without closing its connection.

use impala_common::wire::pb;
use impala_harness::fake_actor::{FakeActor, registration};
use impala_harness::patience::within;
use impala_harness::proxy::Proxy;
use impala_harness::test_learner::{TestLearner, settings};
use impala_learner::app::Keepalive;
use impala_learner::handover::ledger::Account;
use impala_learner::handover::run_state::RunState;
use std::time::Duration;
use tonic::transport::Endpoint;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_falls_silent_is_given_up_and_its_index_becomes_free() {
    let keepalive = Keepalive { interval: Duration::from_secs(1), timeout: Duration::from_secs(2) };
    let learner = TestLearner::start_with(settings(), keepalive).await;
    let network = Proxy::start(learner.address).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", network.address)).unwrap();
    let channel = within("connecting", endpoint.connect()).await.unwrap();
    let request = pb::RegisterRequest { actor_index: Some(4), ..registration("silent", 1) };
    let mut silent = FakeActor::join_by(pb::learner_client::LearnerClient::new(channel), request).await;
    silent.train(0).await;
    assert_eq!(learner.status_in(RunState::Training).await.actors_connected, 1);

    network.fall_silent();
    assert_eq!(learner.status_in(RunState::Waiting).await.actors_connected, 0);
    let successor = pb::RegisterRequest { actor_index: Some(4), ..registration("successor", 2) };
    let mut successor = learner.join(successor).await;
    successor.train(0).await;
    successor.leave().await;
    assert_eq!(learner.stop().await, Account { produced: 2, trained: 2, ..Account::default() });
}

#[test]
fn by_default_a_silent_actor_is_noticed_within_thirty_seconds() {
    let Keepalive { interval, timeout } = Keepalive::default();
    assert!(interval + timeout <= Duration::from_secs(30));
}
