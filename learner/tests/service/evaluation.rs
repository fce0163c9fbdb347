//! A learner that does not have its environment: actors evaluate its policies.

use impala_common::evaluation::{Assignment, Findings};
use impala_common::snapshot::Decoder;
use impala_common::wire::pb;
use impala_env::spec::EnvironmentSpec;
use impala_harness::fake_actor::{FakeActor, registration};
use impala_harness::test_learner::{TestLearner, given, settings};
use impala_learner::config::settings::GivenSettings;
use impala_learner::handover::run_state::RunState;
use impala_learner::report::summary::RunEnd;
use impala_policy::evaluate::{End, Evaluation, EvaluationPlan, Mode, Played, Series};
use pb::push_reply::Message as Reply;
use pb::push_request::Message as Request;

/// Shaped like `CartPole`, which the harness's actors play, and with a goal that their hundred episodes reach: those are fifty updates.
fn foreign() -> GivenSettings {
    let spec = r#"{"observations":{"shape":[4],"dtype":"f32"},"actions":{"discrete":2}}"#;
    let toml =
        format!("environment = \"mine-v0\"\nenvironment_spec = '{spec}'\nsolved_return = 2.5\nframes_max = 1000000");
    given(&toml, settings())
}

fn request(name: &str, incarnation: u64, evaluates: bool) -> pb::RegisterRequest {
    let spec = EnvironmentSpec::new("mine-v0", 4.into(), 2.into());
    pb::RegisterRequest {
        environments: vec![spec.into()],
        evaluates: evaluates.then_some(true),
        ..registration(name, incarnation)
    }
}

/// Makes what the goal needs.
async fn reach_the_goal(actor: &mut FakeActor) {
    for version in 0..50 {
        actor.train(u64::saturating_sub(version, 1)).await;
    }
}

/// The next reply, which must be an evaluation.
async fn assignment(actor: &mut FakeActor) -> Assignment {
    match actor.reply().await.unwrap() {
        Some(Reply::Evaluate(message)) => Assignment::try_from(message).unwrap(),
        other => panic!("expected an evaluation, got {other:?}"),
    }
}

async fn answer(actor: &FakeActor, id: u64, result: Result<Evaluation, &str>) {
    let findings = Findings { id, result: result.map_err(ToOwned::to_owned) };
    actor.send(Request::Evaluated(findings.into())).await;
}

/// A hundred episodes of this return.
fn episodes(episode_return: f32) -> Evaluation {
    Evaluation { episodes: vec![Played { episode_return, length: 3, end: End::Terminated }; 100] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_is_verified_by_an_actor_and_counted_apart_from_training() {
    let learner = TestLearner::start(foreign()).await;
    let mut actor = learner.join(request("a", 1, true)).await;
    reach_the_goal(&mut actor).await;
    let Assignment { id, plan, weights } = assignment(&mut actor).await;
    assert_eq!(plan, EvaluationPlan { series: Series::Try(1), mode: Mode::Greedy, ..EvaluationPlan::new(100, 1) });
    assert_eq!((weights.version.0, weights.base), (50, None));
    let parameters = Decoder::new(weights.parameter_count).decode(&weights).unwrap();
    assert!(learner.status_in(RunState::Training).await.verifying);
    answer(&actor, id, Ok(episodes(3.0))).await;
    assert_eq!(actor.finish().await, "solved");
    actor.leave().await;
    let outcome = learner.ended().await.outcome;
    assert_eq!(outcome.summary.end, RunEnd::Solved);
    assert_eq!(outcome.parameters, parameters, "the policy that was evaluated is the one that is left");
    let verified = outcome.summary.verification.verified.unwrap();
    assert_eq!((verified.score.episodes, verified.score.mean), (100, 3.0));
    let account = outcome.summary.account;
    assert_eq!((account.produced, account.trained, outcome.summary.episodes), (50, 50, 100));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_actor_that_does_not_offer_it_is_never_asked() {
    let learner = TestLearner::start(foreign()).await;
    let mut old = learner.join(request("old", 1, false)).await;
    reach_the_goal(&mut old).await;
    while !learner.status_in(RunState::Training).await.verifying {}
    // It goes on as ever; who comes later is asked.
    old.train(49).await;
    let mut new = learner.join(request("new", 2, true)).await;
    let id = assignment(&mut new).await.id;
    answer(&new, id, Ok(episodes(3.0))).await;
    assert_eq!((old.finish().await, new.finish().await), ("solved".into(), "solved".into()));
    old.leave().await;
    new.leave().await;
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::Solved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_actor_that_is_lost_had_goes_to_another() {
    let learner = TestLearner::start(foreign()).await;
    let mut dies = learner.join(request("dies", 1, true)).await;
    reach_the_goal(&mut dies).await;
    let first = assignment(&mut dies).await;
    let mut other = learner.join(request("other", 2, true)).await;
    dies.close().await;
    let again = assignment(&mut other).await;
    assert_eq!(again, first, "the same episodes of the same policy");
    answer(&other, again.id, Ok(episodes(3.0))).await;
    assert_eq!(other.finish().await, "solved");
    other.leave().await;
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::Solved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_answer_ends_its_stream_and_decides_nothing() {
    let learner = TestLearner::start(foreign()).await;
    let mut liar = learner.join(request("liar", 1, true)).await;
    reach_the_goal(&mut liar).await;
    let id = assignment(&mut liar).await.id;
    let mut false_one = episodes(3.0);
    false_one.episodes[7].episode_return = f32::NAN;
    answer(&liar, id, Ok(false_one)).await;
    let violation = liar.violation().await;
    assert_eq!(violation, "evaluated.returns[7] is NaN, expected a number within 1e9 of 0");
    assert!(!learner.status_in(RunState::Waiting).await.solved);

    // Nor does an answer that nobody asked for, or from who did not offer any.
    let mut early = learner.join(request("early", 2, false)).await;
    answer(&early, id, Ok(episodes(3.0))).await;
    assert!(early.violation().await.contains("expected a trajectory or a farewell"));

    let mut honest = learner.join(request("honest", 3, true)).await;
    let id = assignment(&mut honest).await.id;
    answer(&honest, id, Ok(episodes(2.0))).await;
    while learner.status_in(RunState::Training).await.verifying {}
    learner.request_stop();
    assert_eq!(honest.finish().await, "interrupted");
    honest.leave().await;
    let summary = learner.ended().await.outcome.summary;
    assert_eq!((summary.verification.count, summary.solved), (1, None));
    assert_eq!(summary.verification.last.map(|score| score.mean), Some(2.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_no_actor_can_evaluate_does_not_end_the_run() {
    let learner = TestLearner::start(given("verify_every = 60", foreign())).await;
    let mut last = learner.join(request("first", 1, true)).await;
    reach_the_goal(&mut last).await;
    for (name, incarnation) in [("second", 2), ("third", 3)] {
        let id = assignment(&mut last).await.id;
        answer(&last, id, Err("the environment broke")).await;
        last.close().await;
        last = learner.join(request(name, incarnation, true)).await;
    }
    let id = assignment(&mut last).await.id;
    answer(&last, id, Err("the environment broke")).await;
    while learner.status_in(RunState::Training).await.verifying {}
    // Ten updates later the policy of then is tried.
    for version in 49..59 {
        last.train(version).await;
    }
    let again = assignment(&mut last).await;
    assert_eq!((again.weights.version.0, again.plan.series), (60, Series::Try(1)));
    answer(&last, again.id, Ok(episodes(3.0))).await;
    assert_eq!(last.finish().await, "solved");
    last.leave().await;
    assert_eq!(learner.ended().await.outcome.summary.end, RunEnd::Solved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_later_actor_with_another_shape_is_refused_by_name() {
    let learner = TestLearner::start(foreign()).await;
    let other = EnvironmentSpec::new("mine-v0", 5.into(), 2.into());
    let request = pb::RegisterRequest { environments: vec![other.into()], ..registration("other", 1) };
    let refused = learner.register(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::FailedPrecondition);
    for part in ["trains mine-v0 (observations f32[4]", "offers mine-v0 (observations f32[5]"] {
        assert!(refused.message().contains(part), "{refused}");
    }
    learner.stop().await;
}
