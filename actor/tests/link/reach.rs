//! Finding the learner, noticing that it is gone, waiting for the next one.

use impala_actor::app::{ActorConfig, ActorReport};
use impala_actor::standing::Standing;
use impala_common::channel::{Resolver, Timing};
use impala_common::wire::pb::Disposition::Trained;
use impala_common::wire::{RUN_COMPLETED, RUN_STATE_METADATA};
use impala_harness::fake_learner::{Event, FakeLearner};
use impala_harness::patience::within;
use impala_harness::proxy::Proxy;
use impala_harness::replies::{agreement, finish, full, receipt, wait};
use impala_harness::test_actor::TestActor;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tonic::Status;

/// A name service that the test runs.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<Vec<std::io::Result<Vec<SocketAddr>>>>>);

impl Names {
    fn new(addresses: &[SocketAddr]) -> Self {
        let names = Self::default();
        names.change(addresses);
        names
    }

    /// What is answered from now on.
    fn change(&self, addresses: &[SocketAddr]) {
        *self.0.lock().unwrap() = vec![Ok(addresses.to_vec())];
    }

    /// An answer before the others.
    fn once(&self, answer: std::io::Result<Vec<SocketAddr>>) {
        self.0.lock().unwrap().push(answer);
    }

    fn resolver(&self) -> Resolver {
        let names = self.clone();
        Resolver::new(move |_| {
            let mut answers = names.0.lock().unwrap();
            let answer = match answers.len() {
                1 => Ok(answers[0].as_ref().unwrap().clone()),
                _ => answers.pop().unwrap(),
            };
            Box::pin(std::future::ready(answer))
        })
    }
}

/// Quick enough for a test to wait for, slow enough for a machine that is busy with others.
const IMPATIENT: Timing = Timing {
    resolve: Duration::from_secs(5),
    connect: Duration::from_secs(5),
    register: Duration::from_secs(3),
    keepalive_interval: Duration::from_secs(1),
    keepalive_timeout: Duration::from_secs(2),
    idle_wait: Duration::from_millis(20),
};

/// An actor that asks these names.
fn start(learner: &FakeLearner, names: &Names) -> (TestActor, tokio::sync::watch::Receiver<Standing>) {
    let mut standing = None;
    let actor = TestActor::start_with(learner, |config: &mut ActorConfig| {
        config.learner.resolver = names.resolver();
        config.learner.timing = IMPATIENT;
        standing = Some(config.standing.subscribe());
    });
    (actor, standing.unwrap())
}

/// An address where nobody listens.
async fn closed() -> SocketAddr {
    tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

async fn until(standing: &mut tokio::sync::watch::Receiver<Standing>, expected: Standing) {
    within("a change", standing.wait_for(|standing| *standing == expected)).await.unwrap();
}

/// Lets a registered actor say farewell; gives its report.
async fn end(mut learner: FakeLearner, actor: TestActor, session: u64) -> ActorReport {
    let streams = learner.streams(session).await;
    actor.shutdown.cancel();
    learner.last_words().await;
    drop(streams);
    actor.end().await.unwrap()
}

#[tokio::test]
async fn addresses_where_nobody_listens_are_passed_over() {
    let mut learner = FakeLearner::start(None).await;
    let names = Names::new(&[closed().await, learner.address, closed().await]);
    let (actor, _) = start(&learner, &names);
    learner.accept(agreement(1)).await;
    end(learner, actor, 1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_name_may_have_several_hosts_of_which_one_listens() {
    let mut learner = FakeLearner::start(Some(([127, 0, 0, 2], 0).into())).await;
    let here = |host| SocketAddr::from(([127, 0, 0, host], learner.address.port()));
    let names = Names::new(&[here(3), here(1), here(2)]);
    let (actor, _) = start(&learner, &names);
    learner.accept(agreement(1)).await;
    end(learner, actor, 1).await;
}

#[tokio::test]
async fn a_refusal_that_passes_leads_to_the_next_address() {
    let (mut leaving, mut learner) = (FakeLearner::start(None).await, FakeLearner::start(None).await);
    let names = Names::new(&[leaving.address, learner.address]);
    let (actor, _) = start(&learner, &names);
    leaving.answer(Err(Status::unavailable("the run is over"))).await;
    learner.accept(agreement(1)).await;
    end(learner, actor, 1).await;
}

#[tokio::test]
async fn a_learner_that_accepts_but_never_answers_leads_to_the_next_address() {
    let mut learner = FakeLearner::start(None).await;
    let frozen = Proxy::start(learner.address).await;
    frozen.fall_silent();
    let names = Names::new(&[frozen.address, learner.address]);
    let (actor, _) = start(&learner, &names);
    learner.accept(agreement(1)).await;
    end(learner, actor, 1).await;
}

#[tokio::test]
async fn a_learner_that_moved_is_found_at_its_new_address() {
    let mut old = FakeLearner::start(None).await;
    let names = Names::new(&[old.address]);
    let (actor, mut standing) = start(&old, &names);
    let first = old.accept(agreement(1)).await;
    let (_replies, snapshots) = old.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    old.trajectory().await;
    // The name goes first: an actor that looks it up meanwhile finds nothing, or the new learner.
    let mut new = FakeLearner::start(None).await;
    names.change(&[]);
    old.die();
    until(&mut standing, Standing::Waiting).await;
    names.change(&[new.address]);
    let second = new.accept(agreement(1)).await;
    assert_eq!(second.incarnation, first.incarnation);
    until(&mut standing, Standing::Registered).await;
    end(new, actor, 1).await;
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_asked_again() {
    let mut learner = FakeLearner::start(None).await;
    let names = Names::new(&[learner.address]);
    names.once(Ok(Vec::new()));
    names.once(Err(std::io::Error::other("temporary failure in name resolution")));
    let (actor, _) = start(&learner, &names);
    learner.accept(agreement(1)).await;
    end(learner, actor, 1).await;
}

#[tokio::test]
async fn a_learner_that_falls_silent_is_given_up_and_looked_for_anew() {
    let mut learner = FakeLearner::start(None).await;
    let network = Proxy::start(learner.address).await;
    let names = Names::new(&[network.address]);
    let (actor, _) = start(&learner, &names);
    learner.accept(agreement(1)).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    assert_eq!(learner.trajectory().await.sequence, 0);
    replies.send(Ok(receipt(0, Trained))).await.unwrap();
    network.fall_silent();
    names.change(&[learner.address]);
    // What was on its way still arrives; the learner's side of the old connection never ends.
    let answer = loop {
        match learner.event().await {
            Event::Trajectory(_) => {}
            Event::Register(request, answer) => break (request, answer),
            other => panic!("expected another registration, got {other:?}"),
        }
    };
    assert!(answer.0.produced > 0);
    answer.1.send(Ok(agreement(2).into())).unwrap();
    assert_eq!(end(learner, actor, 2).await.reconnects, 1);
}

#[tokio::test]
async fn an_actor_that_is_told_to_wait_idles_while_the_run_is_completed_and_works_for_the_next() {
    let mut learner = FakeLearner::start(None).await;
    let names = Names::new(&[learner.address]);
    let (actor, mut standing) = start(&learner, &names);
    let first = learner.accept(agreement(1)).await;
    let (replies, snapshots) = learner.streams(1).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    learner.trajectory().await;
    replies.send(Ok(receipt(0, Trained))).await.unwrap();
    replies.send(Ok(wait("solved"))).await.unwrap();
    let (_, produced) = learner.last_words().await;
    drop((replies, snapshots));

    // Several polls, as a run may stay completed for long.
    for _ in 0..3 {
        let mut completed = Status::unavailable("the run is completed: solved");
        completed.metadata_mut().insert(RUN_STATE_METADATA, RUN_COMPLETED.parse().unwrap());
        let request = learner.answer(Err(completed)).await;
        assert_eq!((request.incarnation, request.produced), (first.incarnation, produced));
        until(&mut standing, Standing::Idle).await;
    }
    // One that shuts down is no completed run.
    learner.answer(Err(Status::unavailable("the run is over: interrupted"))).await;
    until(&mut standing, Standing::Waiting).await;

    learner.accept(agreement(2)).await;
    until(&mut standing, Standing::Registered).await;
    let (replies, snapshots) = learner.streams(2).await;
    snapshots.send(Ok(full(1))).await.unwrap();
    assert_eq!(learner.trajectory().await.sequence, produced, "it goes on where it was");
    replies.send(Ok(finish("solved again"))).await.unwrap();
    learner.last_words().await;
    drop(replies);
    let report = actor.end().await.unwrap();
    assert_eq!((report.finish_reason.as_deref(), report.reconnects), (Some("solved again"), 0));
}

#[tokio::test]
async fn an_idle_actor_ends_at_once_when_it_is_asked_to() {
    let mut learner = FakeLearner::start(None).await;
    let actor = TestActor::start(&learner);
    let mut completed = Status::unavailable("the run is completed: solved");
    completed.metadata_mut().insert(RUN_STATE_METADATA, RUN_COMPLETED.parse().unwrap());
    learner.answer(Err(completed)).await;
    actor.shutdown.cancel();
    actor.end().await.unwrap();
}

#[test]
fn by_default_a_silent_learner_is_noticed_within_thirty_seconds() {
    let Timing { resolve, connect, register, keepalive_interval, keepalive_timeout, .. } = Timing::default();
    assert!(keepalive_interval + keepalive_timeout <= Duration::from_secs(30));
    assert!(resolve + connect + register <= Duration::from_secs(30));
}
