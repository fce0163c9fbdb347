//! The desk between a thread that waits and actors that a test plays by hand.

use super::*;
use impala_env::builtin;
use impala_policy::activation::Activation;
use impala_policy::evaluate::{End, Played, Series};
use impala_policy::network::PolicyHead;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use tokio_util::sync::CancellationToken;

fn network() -> NetworkSpec {
    NetworkSpec {
        observation_len: 4,
        hidden: vec![],
        activation: Activation::Tanh,
        head: PolicyHead::single(2),
        normalises: false,
    }
}

fn plan() -> EvaluationPlan {
    EvaluationPlan { series: Series::Try(2), ..EvaluationPlan::new(5, 1) }
}

fn parameters() -> Vec<f32> {
    (0..network().parameter_count()).map(|i| (i as f32 * 0.3).sin()).collect()
}

/// A thread that wants the policy evaluated, and what tells it to stop.
fn wanting(desk: &EvaluationDesk) -> (JoinHandle<Result<Evaluation, EvaluateError>>, Arc<AtomicBool>) {
    let (desk, is_stopped) = (desk.clone(), Arc::new(AtomicBool::new(false)));
    let stop = Arc::clone(&is_stopped);
    let play = move || desk.play((WeightsVersion(3), &parameters()), plan(), &|| stop.load(Ordering::Relaxed));
    (std::thread::Builder::new().name("wanting".into()).spawn(play).unwrap(), is_stopped)
}

fn desk() -> EvaluationDesk {
    EvaluationDesk::new(1.0..=1.0)
}

fn falls() -> Evaluation {
    Evaluation { episodes: vec![Played { episode_return: 9.0, length: 9, end: End::Terminated }; 5] }
}

fn found(id: u64, result: Result<Evaluation, &str>) -> Findings {
    Findings { id, result: result.map_err(ToOwned::to_owned) }
}

#[tokio::test]
async fn what_an_actor_finds_is_what_the_learner_would_find_to_the_bit() {
    let desk = desk();
    let environment = builtin().kinds()[0].clone();
    let (waiting, _) = wanting(&desk);
    let mut seat = desk.seat("a");
    let assignment = seat.next().await;
    // As the actor does it.
    let decoded = snapshot::Decoder::new(network().parameter_count()).decode(&assignment.weights).unwrap();
    assert_eq!((decoded.as_slice(), assignment.weights.version.0), (parameters().as_slice(), 3));
    let there = evaluate::play(&environment, &network(), &decoded, assignment.plan, &|| false).unwrap();
    seat.report(found(assignment.id, Ok(there))).unwrap();
    let here = Arena { environment, network: network(), desk };
    let here = here.play((WeightsVersion(3), &parameters()), plan(), &|| false);
    assert_eq!(waiting.join().unwrap(), here);
}

#[tokio::test]
async fn a_false_answer_is_refused_and_another_actor_is_asked() {
    let desk = desk();
    let (waiting, _) = wanting(&desk);
    let [mut liar, mut honest] = ["liar", "honest"].map(|name| desk.seat(name));
    let assignment = liar.next().await;
    let other = assignment.id + 1;
    let error = liar.report(found(other, Ok(falls()))).unwrap_err();
    assert_eq!(error, format!("evaluated.id is {other}, which this actor was not asked for"));
    let mut false_one = falls();
    false_one.episodes[4].episode_return = 500.0;
    let error = liar.report(found(assignment.id, Ok(false_one))).unwrap_err();
    assert!(error.starts_with("evaluated.returns[4] is 500 after 9 steps"), "{error}");
    let again = liar.report(found(assignment.id, Ok(falls()))).unwrap_err();
    assert!(again.contains("was not asked for"), "{again}");
    assert_eq!(honest.next().await.id, assignment.id);
    honest.report(found(assignment.id, Ok(falls()))).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(falls()));
}

#[tokio::test]
async fn a_lost_actor_leaves_its_evaluation_to_another() {
    let desk = desk();
    let (waiting, _) = wanting(&desk);
    let mut lost = desk.seat("lost");
    let id = lost.next().await.id;
    let mut other = desk.seat("other");
    // It has nothing to do as long as the first one is there.
    let mut next = Box::pin(other.next());
    tokio::select! {
        biased;
        _ = &mut next => panic!("it is somebody else's"),
        () = std::future::ready(()) => {}
    }
    drop(lost);
    assert_eq!(next.await.id, id);
    other.report(found(id, Ok(falls()))).unwrap();
    assert_eq!(waiting.join().unwrap(), Ok(falls()));
}

#[tokio::test]
async fn a_policy_that_no_actor_can_evaluate_is_a_fault_in_words() {
    let desk = desk();
    let (waiting, _) = wanting(&desk);
    for name in ["a", "b", "c"] {
        let mut seat = desk.seat(name);
        let id = seat.next().await.id;
        seat.report(found(id, Err("the environment broke"))).unwrap();
    }
    let fault = waiting.join().unwrap().unwrap_err();
    assert_eq!(fault.to_string(), "it failed 3 times, by 3 actors, at last `c`: the environment broke");
}

#[tokio::test]
async fn a_stop_ends_the_waiting_and_takes_the_evaluation_back() {
    let desk = desk();
    let (waiting, is_stopped) = wanting(&desk);
    let mut late = desk.seat("late");
    let id = late.next().await.id;
    is_stopped.store(true, Ordering::Relaxed);
    assert_eq!(waiting.join().unwrap(), Err(EvaluateError::Stopped));
    // What comes too late is no fault of the actor's.
    assert_eq!(late.report(found(id, Ok(falls()))), Ok(()));
    let over = CancellationToken::new();
    over.cancel();
    let mut other = desk.seat("other");
    assert!(over.run_until_cancelled(other.next()).await.is_none());
}
