use super::*;

fn shape() -> TrajectoryShape {
    TrajectoryShape::plain(3, 2, 4, 2)
}

fn parts() -> TrajectoryParts {
    let mut outcomes = vec![Outcome::Continues; 6];
    outcomes[2] = Outcome::Terminated;
    outcomes[5] = Outcome::Truncated;
    TrajectoryParts {
        observations: vec![0.5; 32].into(),
        actions: vec![1_u8; 6].into(),
        behaviour_log_probs: vec![-0.7; 6],
        rewards: vec![1.0; 6],
        outcomes,
        final_observations: vec![0.25; 4].into(),
        ..TrajectoryParts::default()
    }
}

#[test]
fn sound_parts_make_a_trajectory() {
    let trajectory = Trajectory::try_new(shape(), parts()).unwrap();
    assert_eq!(trajectory.shape().frames(), 6);
    assert_eq!(trajectory.into_parts(), parts());
}

#[test]
fn each_broken_array_is_named() {
    let error = |change: fn(&mut TrajectoryParts)| {
        let mut parts = parts();
        change(&mut parts);
        Trajectory::try_new(shape(), parts).unwrap_err().to_string()
    };
    assert!(error(|p| p.observations = vec![0.5; 31].into()).starts_with("observations has 31 elements, expected 32"));
    assert!(error(|p| p.actions.extend(ArrayRef::U8(&[0]))).starts_with("actions has 7"));
    assert!(error(|p| p.masks.push(1)).starts_with("masks has 1"));
    assert_eq!(error(|p| p.actions = vec![1.0; 6].into()), "actions holds numbers of f32, expected u8");
    assert!(error(|p| p.final_observations.clear()).starts_with("final_observations has 0"));
    assert_eq!(error(|p| p.rewards[4] = f32::NAN), "rewards[4] is NaN, expected a number within 1e9 of 0");
    assert_eq!(
        error(|p| p.observations.view_mut().f32()[7] = f32::INFINITY),
        "observations[7] is inf, expected a number within 1e9 of 0"
    );
    assert!(error(|p| p.rewards[0] = -f32::MAX).starts_with("rewards[0] is -340282350000000"));
    assert!(error(|p| p.behaviour_log_probs[1] = 0.5).starts_with("behaviour_log_probs[1] is 0.5"));
    assert_eq!(error(|p| p.actions.view_mut().u8()[3] = 2), "actions[3] is 2, expected less than 2");
}

fn spec(actions: ActionSpace, masked: bool) -> EnvironmentSpec {
    EnvironmentSpec { masked, ..EnvironmentSpec::new("mine", ObservationSpace::bytes(&[2]), actions) }
}

/// One step of one environment that is observed in bytes.
fn one(spec: &EnvironmentSpec, actions: Array, masks: &[u8], log_prob: f32) -> Result<Trajectory, TrajectoryError> {
    one_by(&PolicyHead::of(spec, false), spec, actions, masks, log_prob)
}

/// The same by a policy with this head.
fn one_by(
    head: &PolicyHead,
    spec: &EnvironmentSpec,
    actions: Array,
    masks: &[u8],
    log_prob: f32,
) -> Result<Trajectory, TrajectoryError> {
    let shape = TrajectoryShape::new(1, 1, spec, head);
    let parts = TrajectoryParts {
        observations: vec![7_u8; 4].into(),
        actions,
        masks: masks.to_vec(),
        behaviour_log_probs: vec![log_prob],
        rewards: vec![1.0],
        outcomes: vec![Outcome::Continues],
        final_observations: Array::zeros(Dtype::U8, 0),
        ..TrajectoryParts::default()
    };
    Trajectory::try_new(shape, parts)
}

#[test]
fn a_choice_is_one_of_its_component_and_allowed() {
    let masked = spec(ActionSpace::MultiDiscrete(vec![2, 3]), true);
    let refusal = |actions: [u8; 2], masks| one(&masked, actions.to_vec().into(), masks, -1.0).unwrap_err().to_string();
    one(&masked, vec![1_u8, 2].into(), &[0, 1, 1, 0, 1], -1.0).unwrap();
    assert_eq!(refusal([2, 0], &[1; 5]), "actions[0] is 2, expected less than 2");
    assert_eq!(refusal([1, 3], &[1; 5]), "actions[1] is 3, expected less than 3");
    assert_eq!(refusal([1, 1], &[1, 1, 1, 0, 1]), "actions[1] is 1, which its mask forbids");
    assert!(refusal([1, 1], &[1, 2, 1, 1, 1]).starts_with("masks[1] is 2"));
    assert!(refusal([1, 1], &[1, 1, 0, 0, 0]).starts_with("masks[2] is 0"));
    assert!(refusal([1, 1], &[1; 4]).starts_with("masks has 4 elements, expected 5"));
}

#[test]
fn a_density_may_exceed_1_and_numbers_are_bounded() {
    let numbers = spec(ActionSpace::bounded(&[-1.0; 2], &[1.0; 2]), false);
    one(&numbers, vec![3.0, -0.5].into(), &[], 2.5).unwrap();
    let refusal =
        |actions: [f32; 2], log_prob| one(&numbers, actions.to_vec().into(), &[], log_prob).unwrap_err().to_string();
    assert!(refusal([0.0, f32::NAN], 0.0).starts_with("actions[1] is NaN"));
    assert!(refusal([0.0, 0.0], 100.0).starts_with("behaviour_log_probs[0] is 100, expected at most"));
}

#[test]
fn a_number_is_no_larger_than_its_policy_draws() {
    let numbers = spec(ActionSpace::bounded(&[-1.0; 2], &[1.0; 2]), false);
    let by = |squashed, number: f32| {
        one_by(&PolicyHead::of(&numbers, squashed), &numbers, vec![0.5, number].into(), &[], -3.0)
    };
    for (squashed, max, refused) in [(false, 1e9, "within 1e9 of 0"), (true, 100.0, "within 1e2 of 0")] {
        let larger = max * 1.001;
        for sign in [-1.0, 1.0] {
            by(squashed, sign * max).unwrap();
            let error = by(squashed, sign * larger).unwrap_err().to_string();
            assert_eq!(error, format!("actions[1] is {}, expected a number {refused}", sign * larger));
        }
        assert!(by(squashed, f32::NAN).is_err() && by(squashed, f32::INFINITY).is_err());
    }
}
