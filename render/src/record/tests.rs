//! Whole episodes of policies that are known.

use super::*;
use crate::samples::{PLAN, balancing, indifferent, play};
use impala_env::array::{ArrayMut, ArrayRef};
use impala_env::scene::{Paint, Shape};
use impala_env::{StateError, builtin};
use impala_env::{Step, VectorEnvironment};
use impala_policy::evaluate::EvaluationPlan;

/// Returns of an evaluation.
fn returns(environment: &str, policy: &(NetworkSpec, Vec<f32>), plan: EvaluationPlan) -> Vec<f32> {
    let registry = builtin();
    let kind = registry.get(&environment.parse().unwrap()).unwrap();
    evaluate::play(&kind, &policy.0, &policy.1, plan, &|| false).unwrap().returns().collect()
}

/// How far the pole leans to the right, rad.
fn lean(moment: &Moment) -> f32 {
    let pole = moment.scene.shapes().iter().find_map(|shape| match shape {
        Shape::Line { from, to, paint: Paint::Limb, .. } => Some((to[0] - from[0]).atan2(from[1] - to[1])),
        _ => None,
    });
    pole.unwrap()
}

#[test]
fn an_episode_is_the_first_of_an_evaluation_with_the_same_seed() {
    for seed in 1..=5 {
        for policy in [indifferent(4, 2), balancing()] {
            let recording = play("cartpole-v1", policy.clone(), RecordPlan { seed, ..PLAN });
            let evaluated = returns("cartpole-v1", &policy, EvaluationPlan::new(4, seed));
            assert_eq!(recording.total_return(), evaluated[0]);
        }
        let plan = RecordPlan { seed, mode: Mode::Sampled, ..PLAN };
        let (recording, policy) = (play("cartpole-v1", indifferent(4, 2), plan), indifferent(4, 2));
        let evaluation = EvaluationPlan { mode: Mode::Sampled, ..EvaluationPlan::new(1, seed) };
        assert_eq!(returns("cartpole-v1", &policy, evaluation), [recording.total_return()]);
    }
}

#[test]
fn moments_count_steps_and_sum_rewards_and_only_the_last_has_no_choice() {
    let recording = play("cartpole-v1", indifferent(4, 2), PLAN);
    assert!((8..=11).contains(&recording.steps()), "always to the left falls soon: {}", recording.steps());
    let mut sum = 0.0;
    for (i, moment) in recording.moments.iter().enumerate() {
        sum += moment.reward;
        assert_eq!((moment.steps as usize, moment.return_so_far), (i, sum));
        assert_eq!(moment.reward, if i == 0 { 0.0 } else { 1.0 });
        assert_eq!(moment.view.is_none(), i + 1 == recording.moments.len());
    }
    assert_eq!((recording.steps() as f32, recording.total_return()), (sum, sum));
}

#[test]
fn the_last_moment_shows_how_the_episode_ended_and_not_the_next_ones_beginning() {
    let recording = play("cartpole-v1", indifferent(4, 2), PLAN);
    assert_eq!(recording.end, End::Terminated);
    let leans: Vec<f32> = recording.moments.iter().map(lean).collect();
    let (last, before) = leans.split_last().unwrap();
    let limit = 12_f32.to_radians();
    assert!(*last > limit && before.iter().all(|lean| lean.abs() <= limit), "{leans:?}");

    let caught = play("catch", indifferent(50, 3), PLAN);
    let Some(Shape::Circle { centre, .. }) = caught.moments[9].scene.shapes().last() else { panic!() };
    assert!(centre[1] > 9.0, "the ball is in the last row: {centre:?}");
}

#[test]
fn an_episode_ends_at_the_limit_of_its_environment_or_is_cut_at_ones_own() {
    let whole = play("cartpole-v0", balancing(), PLAN);
    assert_eq!((whole.steps(), whole.end), (200, End::Truncated));
    let cut = play("cartpole-v1", balancing(), RecordPlan { steps_max: 30, ..PLAN });
    assert_eq!((cut.steps(), cut.moments.len(), cut.end), (30, 31, End::Cut));
    assert_eq!(cut.moments[..30], play("cartpole-v1", balancing(), PLAN).moments[..30]);
}

#[test]
fn a_view_has_the_policys_probabilities_and_its_value_estimate() {
    let recording = play("cartpole-v1", balancing(), RecordPlan { steps_max: 50, ..PLAN });
    for moment in &recording.moments[..50] {
        let view = moment.view.as_ref().unwrap();
        let [left, right] = view.shares[..] else { panic!("{view:?}") };
        assert!((left + right - 1.0).abs() < 1e-6);
        assert_eq!(view.action, Action::Choice(u8::from(right > left)));
        let position = moment.scene.shapes().iter().find_map(|shape| match shape {
            Shape::Rectangle { corner, size, paint: Paint::Body, .. } => Some(corner[0] + size[0] / 2.0 - 2.8),
            _ => None,
        });
        assert!((view.value - 10.0 - position.unwrap()).abs() < 1e-3, "{view:?} at {position:?}");
    }
    assert_eq!(recording.actions, ["left", "right"]);
    assert_eq!(recording.steps_per_second, 50);
}

/// Ends after two steps; it has looks or none, and never tells how it ended.
struct Shy {
    steps: usize,
    has_looks: bool,
}

impl VectorEnvironment for Shy {
    fn environments(&self) -> usize {
        1
    }

    fn observe(&self, observations: ArrayMut<'_>, _: &mut [u8]) {
        observations.f32().fill(self.steps as f32);
    }

    fn step(&mut self, _: ArrayRef<'_>, step: Step<'_>) {
        self.steps = (self.steps + 1) % 2;
        step.observations.f32().fill(self.steps as f32);
        step.rewards.fill(-0.5);
        step.outcomes.fill(if self.steps == 0 { Outcome::Terminated } else { Outcome::Continues });
    }

    fn state(&self) -> Vec<u8> {
        Vec::new()
    }

    fn restore(&mut self, _: &[u8]) -> Result<(), StateError> {
        Ok(())
    }

    fn scene(&mut self, _: usize) -> Option<Scene> {
        self.has_looks.then(|| {
            let mut scene = Scene::new(2.0, 1.0);
            let centre = [self.steps as f32, 0.5];
            scene.add(Shape::Circle { centre, radius: 0.5, paint: Paint::Body });
            scene
        })
    }
}

fn shy(has_looks: bool) -> Result<Recording, RecordError> {
    let kind = EnvironmentKind::new("shy-v0", 1, 2, 0.0, move |_| Box::new(Shy { steps: 0, has_looks })).unwrap();
    let (network, parameters) = indifferent(1, 2);
    record(&kind, &network, &parameters, PLAN, &mut |_| {})
}

#[test]
fn an_environment_that_does_not_draw_itself_is_told_what_to_implement() {
    let error = shy(false).unwrap_err().to_string();
    assert!(error.contains("shy-v0 does not draw itself") && error.contains("`VectorEnvironment::scene`"), "{error}");
}

#[test]
fn of_an_environment_that_does_not_tell_its_end_the_last_thing_seen_stands_still() {
    let recording = shy(true).unwrap();
    assert_eq!((recording.steps(), recording.total_return(), recording.end), (2, -1.0, End::Terminated));
    assert_eq!(recording.moments[2].scene, recording.moments[1].scene);
    assert_ne!(recording.moments[1].scene, recording.moments[0].scene);
    assert_eq!(recording.actions, ["0", "1"], "actions without names are numbers");
}

#[test]
fn a_policy_of_another_environment_is_refused_with_both() {
    let registry = builtin();
    let (network, parameters) = balancing();
    let kind = registry.get(&"catch".parse().unwrap()).unwrap();
    let error = record(&kind, &network, &parameters, PLAN, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("observations of length 4") && error.contains("it is none for catch"), "{error}");
}

#[test]
fn progress_is_told_after_every_step() {
    let (mut told, registry) = (Vec::new(), builtin());
    let (network, parameters) = balancing();
    let kind = registry.get(&"cartpole-v1".parse().unwrap()).unwrap();
    record(&kind, &network, &parameters, RecordPlan { steps_max: 4, ..PLAN }, &mut |steps| told.push(steps)).unwrap();
    assert_eq!(told, [1, 2, 3, 4]);
}
