//! Whether what an actor says of an evaluation can be so. That it is so, nobody here can tell: it is believed as its trajectories are.

use impala_common::trajectory::MAGNITUDE_MAX;
use impala_policy::evaluate::{End, Evaluation, EvaluationPlan, Played};
use std::ops::RangeInclusive;

/// Share of a sum by which single precision may miss it over the longest episodes.
const ROUNDING: f64 = 0.01;

/// Holds an evaluation to what was asked for and to what the environment pays.
///
/// # Errors
/// Names the first number that cannot be, and what could.
pub(super) fn check(
    evaluation: &Evaluation,
    plan: &EvaluationPlan,
    rewards: &RangeInclusive<f32>,
) -> Result<(), String> {
    let (episodes, wanted) = (evaluation.episodes.len(), plan.episodes);
    if episodes != wanted {
        return Err(format!("an evaluation of {episodes} episodes, {wanted} were asked for"));
    }
    for (i, Played { episode_return, length, end }) in evaluation.episodes.iter().enumerate() {
        let steps_max = plan.steps_max;
        if !(1..=steps_max).contains(length) {
            return Err(format!("evaluated.lengths[{i}] is {length}, it must be 1 to {steps_max}"));
        }
        if *end == End::Cut && *length != steps_max {
            return Err(format!(
                "evaluated.ends[{i}] is 2 (cut) after {length} steps, episodes are cut after {steps_max}"
            ));
        }
        if !(-MAGNITUDE_MAX..=MAGNITUDE_MAX).contains(episode_return) {
            return Err(format!("evaluated.returns[{i}] is {episode_return}, expected a number within 1e9 of 0"));
        }
        let (least, most) = possible(*length, rewards);
        if !(least..=most).contains(&f64::from(*episode_return)) {
            let (low, high) = (rewards.start(), rewards.end());
            return Err(format!(
                "evaluated.returns[{i}] is {episode_return} after {length} steps, each of which gives {low} to {high}"
            ));
        }
    }
    Ok(())
}

/// The least and the most that so many steps pay.
fn possible(length: u64, rewards: &RangeInclusive<f32>) -> (f64, f64) {
    let [low, high] = [rewards.start(), rewards.end()].map(|reward| f64::from(*reward) * length as f64);
    let slack = ROUNDING * low.abs().max(high.abs());
    (low - slack, high + slack)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan() -> EvaluationPlan {
        EvaluationPlan { steps_max: 500, ..EvaluationPlan::new(2, 1) }
    }

    fn checked(second: Played) -> Result<(), String> {
        let first = Played { episode_return: 9.0, length: 9, end: End::Terminated };
        check(&Evaluation { episodes: vec![first, second] }, &plan(), &(1.0..=1.0))
    }

    #[test]
    fn what_the_environment_can_give_is_believed() {
        for (episode_return, length, end) in
            [(1.0, 1, End::Terminated), (500.0, 500, End::Truncated), (500.0, 500, End::Cut)]
        {
            assert_eq!(checked(Played { episode_return, length, end }), Ok(()));
        }
        // A sum of tenths in single precision, as `play` makes it.
        let sum = (0..108_000).fold(0.0_f32, |sum, _| sum + 0.1);
        assert!((f64::from(sum) - 10_800.0).abs() > 1.0, "{sum} has no error to allow for");
        let long = EvaluationPlan { episodes: 1, ..EvaluationPlan::new(1, 1) };
        let played = Played { episode_return: sum, length: 108_000, end: End::Cut };
        assert_eq!(check(&Evaluation { episodes: vec![played] }, &long, &(0.1..=0.1)), Ok(()));
    }

    #[test]
    fn what_cannot_be_is_refused_with_its_place() {
        let refused = |episode_return, length, end| checked(Played { episode_return, length, end }).unwrap_err();
        let none = check(&Evaluation::default(), &plan(), &(1.0..=1.0)).unwrap_err();
        assert_eq!(none, "an evaluation of 0 episodes, 2 were asked for");
        assert_eq!(refused(0.0, 0, End::Terminated), "evaluated.lengths[1] is 0, it must be 1 to 500");
        assert_eq!(refused(501.0, 501, End::Terminated), "evaluated.lengths[1] is 501, it must be 1 to 500");
        let cut = refused(20.0, 20, End::Cut);
        assert_eq!(cut, "evaluated.ends[1] is 2 (cut) after 20 steps, episodes are cut after 500");
        for episode_return in [f32::NAN, f32::INFINITY, 2e9] {
            assert!(refused(episode_return, 10, End::Terminated).contains("expected a number within 1e9 of 0"));
        }
        for episode_return in [475.0, 9.0, -10.0] {
            let error = refused(episode_return, 10, End::Terminated);
            assert!(error.ends_with("after 10 steps, each of which gives 1 to 1"), "{error}");
        }
    }

    #[test]
    fn rewards_without_bounds_bound_nothing() {
        let played = Played { episode_return: -1e9, length: 1, end: End::Terminated };
        let one = EvaluationPlan::new(1, 1);
        assert_eq!(check(&Evaluation { episodes: vec![played] }, &one, &(f32::MIN..=f32::MAX)), Ok(()));
    }
}
