//! Actor and learner in a simulated network: the real link and the real service, time and faults from the test.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use impala_actor::link::SessionEnd;
use impala_common::channel::Timing;
use impala_common::channel::{Dialler, Resolver, client};
use impala_harness::simulation::actor::{Session, SimulatedActor};
use impala_harness::simulation::learner::{IN_FLIGHT_MAX, SimulatedLearners};
use impala_harness::simulation::network;
use impala_harness::simulation::{PORT, dialler};
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

const LEARNER: &str = "learner";
const ACTOR: &str = "actor";

/// Trajectories of the second session.
const SECOND: u64 = 12;
/// Time that the next learner takes to come up.
const ABSENCE: Duration = Duration::from_secs(3);

/// The longest time until a learner that is there again is found: an attempt that began before, the longest wait between
/// two (5 s), and a second for what travels.
fn found_after() -> Duration {
    Timing::default().connect + Duration::from_secs(5) + Duration::from_secs(1)
}

/// What the actor went through: both sessions, and when it was back at work.
struct Story {
    first: Session,
    second: Session,
    produced: u64,
}

/// The actor's program: a session that the learner's death ends, and one that it ends itself.
async fn act(weights_in_receipts: bool, story: Rc<Cell<Option<Story>>>) -> turmoil::Result {
    let mut actor = SimulatedActor::new(LEARNER, 7);
    actor.identity.weights_in_receipts = weights_in_receipts;
    let first = actor.session(u64::MAX).await?;
    let second = actor.session(SECOND).await?;
    story.set(Some(Story { first, second, produced: actor.produced() }));
    Ok(())
}

/// Registers, pushes, loses the learner after a few receipts in the given way, finds the next one.
fn restart(seed: u64, cut: bool) -> (Story, SimulatedLearners, Duration) {
    let mut sim = network(seed);
    let learners = SimulatedLearners::default();
    let program = learners.clone();
    sim.host(LEARNER, move || program.clone().run());
    let story = Rc::new(Cell::new(None));
    // Weights come with receipts, or by a stream of their own.
    sim.client(ACTOR, act(seed % 2 == 1, Rc::clone(&story)));
    while learners.account().trained < 10 {
        sim.step().unwrap();
    }
    let before = learners.account();
    assert_eq!((before.refused(), before.lost), (0, 0), "{before}");
    if cut {
        // The machine goes without a word: nothing of its end reaches the actor.
        sim.partition(ACTOR, LEARNER);
    }
    sim.crash(LEARNER);
    let lost_at = sim.elapsed();
    while sim.elapsed() < lost_at + ABSENCE {
        sim.step().unwrap();
    }
    sim.bounce(LEARNER);
    sim.repair(ACTOR, LEARNER);
    while learners.started() < 2 || learners.account().produced == 0 {
        sim.step().unwrap();
    }
    let back_after = sim.elapsed().saturating_sub(lost_at);
    sim.run().unwrap();
    (story.take().unwrap(), learners, back_after)
}

/// What holds however the learner was lost.
fn check(Story { first, second, produced }: &Story, learners: &SimulatedLearners) {
    assert_eq!(learners.started(), 2);
    assert!(matches!(first.report.end, Ok(SessionEnd::Disconnected(_))), "{:?}", first.report.end);
    let receipts = first.report.receipts;
    assert!(receipts.trained >= 10 - IN_FLIGHT_MAX as u64 && receipts.total() == receipts.trained, "{receipts:?}");
    let lost = first.made - receipts.total();
    assert!(lost <= IN_FLIGHT_MAX as u64, "more is lost than was under way: {lost}");

    assert_eq!(second.report.end.as_ref().unwrap(), &SessionEnd::Stopped);
    assert_eq!((second.made, second.report.receipts.trained), (SECOND, SECOND));
    assert_eq!(first.made + second.made, *produced);
    // The second learner counts from what the actor said at its registration.
    let account = learners.account();
    assert_eq!((account.produced, account.trained, account.in_flight()), (SECOND, SECOND, 0), "{account}");
    // Its versions began anew, and the weights of the first were not used again.
    assert!(second.weights.as_ref().is_some_and(|weights| weights.version.0 <= SECOND), "{:?}", second.weights);
}

#[test]
fn an_actor_registers_pushes_and_goes_on_at_the_learner_that_comes_after_a_crash() {
    for seed in 1..=4 {
        let (story, learners, back_after) = restart(seed, false);
        check(&story, &learners);
        // Broken connections are noticed at once.
        assert!(back_after < ABSENCE + found_after(), "seed {seed}: back after {back_after:?}");
    }
}

#[test]
fn a_learner_that_vanishes_without_a_word_is_noticed_by_its_silence() {
    let Timing { keepalive_interval, keepalive_timeout, .. } = Timing::default();
    for seed in 1..=4 {
        let (story, learners, back_after) = restart(seed, true);
        check(&story, &learners);
        let noticed_after = ABSENCE.max(keepalive_interval + keepalive_timeout);
        assert!(back_after < noticed_after + found_after(), "seed {seed}: back after {back_after:?}");
    }
}

/// A host that takes connections and says nothing.
async fn say_nothing() -> turmoil::Result {
    let listener = turmoil::net::TcpListener::bind(("0.0.0.0", PORT)).await?;
    let mut taken = Vec::new();
    loop {
        taken.push(listener.accept().await?);
    }
}

/// A name with the addresses of these hosts.
fn named(hosts: &'static [&'static str]) -> Dialler {
    let address = |host: &&str| SocketAddr::new(turmoil::lookup(*host), PORT);
    let resolver =
        Resolver::new(move |_| Box::pin(std::future::ready(Ok(hosts.iter().map(address).collect::<Vec<_>>()))));
    Dialler { resolver, ..dialler(LEARNER) }
}

#[test]
fn a_silent_address_takes_only_its_share_of_the_time() {
    let mut sim = network(1);
    sim.host(LEARNER, || SimulatedLearners::default().run());
    sim.host("silent", say_nothing);
    sim.host("dumb", say_nothing);
    sim.client("observer", async {
        let since = tokio::time::Instant::now();
        // Half of the 4 s are left for the one that answers.
        client::status(&named(&["silent", LEARNER])).await?;
        let took = since.elapsed();
        assert!((2.0..2.5).contains(&took.as_secs_f64()), "{took:?}");
        let error = client::status(&named(&["silent", "dumb"])).await.unwrap_err().to_string();
        for host in ["silent", "dumb"] {
            let address = SocketAddr::new(turmoil::lookup(host), PORT);
            assert!(error.contains(&format!("{address}: no answer within its share of 4s")), "{error}");
        }
        let took = since.elapsed().saturating_sub(took);
        assert!((4.0..4.5).contains(&took.as_secs_f64()), "{took:?}");
        Ok(())
    });
    sim.run().unwrap();
}
