use super::*;
use crate::{StepBuffer, rngs};
use serde::Deserialize;

/// Episodes that gymnasium recorded.
#[derive(Deserialize)]
struct Trace {
    episodes: Vec<Episode>,
    v0_episodes: Vec<Episode>,
}

#[derive(Deserialize)]
struct Episode {
    policy: String,
    init_state64: [f64; 4],
    actions: Vec<u8>,
    state64: Vec<[f64; 4]>,
    terminated: Vec<bool>,
    truncated: Vec<bool>,
}

fn trace() -> Trace {
    serde_json::from_str(include_str!("../../tests/data/cartpole_v1_trace.json")).unwrap()
}

/// One environment at a state, stepped once: the state that follows before a reset, the reward, the outcome.
fn step_from(steps_max: u32, state: [f64; 4], steps: u32, action: u8) -> ([f64; 4], [f32; 4], f32, Outcome) {
    let mut environment = CartPole::new(steps_max, rngs(1, 0, 1));
    environment.poles.set(0, state, steps);
    let (mut observations, mut outcomes) = ([0.0; 4], [Outcome::Continues]);
    let integration = Integration {
        view: View::All,
        poles: &mut environment.poles,
        steps_max,
        actions: &[action],
        observations: &mut observations,
        outcomes: &mut outcomes,
    };
    environment.arch.dispatch(integration);
    let poles = &environment.poles;
    let after = [poles.position[0], poles.velocity[0], poles.angle[0], poles.angular_velocity[0]];

    environment.poles.set(0, state, steps);
    let spec = crate::builtin().get(&"cartpole-v1".parse().unwrap()).unwrap().spec().clone();
    let mut buffer = StepBuffer::new(&spec, 1);
    buffer.step(&mut environment, ArrayRef::U8(&[action]));
    let reset_observations = buffer.observations.view().f32();
    let final_observations = buffer.final_observations.view().f32();
    assert_eq!(buffer.outcomes, outcomes);
    match outcomes[0] {
        Outcome::Continues => assert_eq!(reset_observations, observations),
        Outcome::Terminated => assert!(final_observations.is_empty()),
        Outcome::Truncated => assert_eq!(final_observations, observations),
    }
    if outcomes[0] != Outcome::Continues {
        assert!(reset_observations.iter().all(|x| x.abs() <= 0.05), "the next episode has begun");
    }
    (after, observations, buffer.rewards[0], outcomes[0])
}

fn check(steps_max: u32, episode: &Episode) {
    let mut state = episode.init_state64;
    for (i, action) in episode.actions.iter().enumerate() {
        let place = format!("step {i} of {}", episode.policy);
        let steps = u32::try_from(i).unwrap();
        let (after, observation, reward, outcome) = step_from(steps_max, state, steps, *action);
        let expected = episode.state64[i];
        for (actual, expected) in after.iter().zip(expected) {
            assert!((actual - expected).abs() <= 1e-12, "{place}: {after:?}, expected {expected:?}");
        }
        assert_eq!(observation, after.map(|x| x as f32), "{place}");
        assert_eq!(reward, 1.0, "{place}");
        let expected_outcome = match (episode.terminated[i], episode.truncated[i]) {
            (true, _) => Outcome::Terminated,
            (false, true) => Outcome::Truncated,
            (false, false) => Outcome::Continues,
        };
        assert_eq!(outcome, expected_outcome, "{place}");
        state = expected;
    }
}

#[test]
fn every_recorded_step_of_gymnasium_is_reproduced() {
    let trace = trace();
    assert_eq!((trace.episodes.len(), trace.v0_episodes.len()), (13, 1));
    trace.episodes.iter().for_each(|episode| check(STEPS_MAX_V1, episode));
    trace.v0_episodes.iter().for_each(|episode| check(STEPS_MAX_V0, episode));
}

#[test]
fn all_recorded_steps_in_one_batch_give_the_same_as_one_by_one() {
    let trace = trace();
    let mut starts = Vec::new();
    for episode in &trace.episodes {
        let before = std::iter::once(&episode.init_state64).chain(&episode.state64);
        starts.extend(before.zip(&episode.actions).zip(0_u32..).map(|((state, action), i)| (*state, *action, i)));
    }
    let n = starts.len();
    let mut environment = CartPole::new(STEPS_MAX_V1, rngs(1, 0, n));
    starts.iter().enumerate().for_each(|(i, (state, _, steps))| environment.poles.set(i, *state, *steps));
    let actions: Vec<u8> = starts.iter().map(|s| s.1).collect();
    let (mut observations, mut outcomes) = (vec![0.0; 4 * n], vec![Outcome::Continues; n]);
    let integration = Integration {
        view: View::All,
        poles: &mut environment.poles,
        steps_max: STEPS_MAX_V1,
        actions: &actions,
        observations: &mut observations,
        outcomes: &mut outcomes,
    };
    assert!(environment.arch.dispatch(integration));
    for (i, (state, action, steps)) in starts.into_iter().enumerate() {
        let (_, observation, _, outcome) = step_from(STEPS_MAX_V1, state, steps, action);
        assert_eq!((&observations[4 * i..][..4], outcomes[i]), (observation.as_slice(), outcome));
    }
}

#[test]
fn termination_wins_over_truncation() {
    let leaning = [0.0, 0.0, ANGLE_MAX, 1.0];
    let (_, _, reward, outcome) = step_from(STEPS_MAX_V1, leaning, STEPS_MAX_V1 - 1, 1);
    assert_eq!((reward, outcome), (1.0, Outcome::Terminated));
}

#[test]
fn angles_beyond_the_polynomial_are_computed_in_full() {
    let state = [0.1, -0.2, 1.3, 0.4];
    let (after, ..) = step_from(STEPS_MAX_V1, state, 0, 1);
    assert_eq!(after, euler(state, state[2].sin_cos(), FORCE));
}

#[test]
fn the_polynomials_match_libm_to_the_last_bits() {
    for i in -2000..=2000 {
        let x = f64::from(i) * (SIN_COS_MAX / 2000.0);
        let ((sin, cos), (libm_sin, libm_cos)) = (sin_cos_small(x), x.sin_cos());
        assert!((sin - libm_sin).abs() <= 6e-17, "sin {x}: {sin:e} against {libm_sin:e}");
        assert!((cos - libm_cos).abs() <= 2.3e-16, "cos {x}: {cos:e} against {libm_cos:e}");
    }
}

#[test]
fn resets_are_uniform_within_five_hundredths() {
    let n = 20_000;
    let environment = CartPole::new(STEPS_MAX_V1, rngs(7, 3, n));
    let poles = &environment.poles;
    for values in [&poles.position, &poles.velocity, &poles.angle, &poles.angular_velocity] {
        assert!(values.iter().all(|x| x.abs() <= RESET_MAX));
        // Five standard errors of the mean and of the mean square.
        let mean = values.iter().sum::<f64>() / n as f64;
        assert!(mean.abs() < 5.0 * RESET_MAX / (3.0 * n as f64).sqrt(), "mean {mean}");
        let square = values.iter().map(|x| x * x).sum::<f64>() / n as f64;
        let expected = RESET_MAX * RESET_MAX / 3.0;
        assert!((square / expected - 1.0).abs() < 5.0 * (0.8 / n as f64).sqrt(), "mean square {square}");
    }
    assert_ne!(poles.position[0], poles.velocity[0]);
    assert_ne!(poles.position[0], poles.position[1]);
}

#[test]
fn the_stateless_one_moves_as_the_other_and_shows_places_alone() {
    let registry = crate::builtin();
    let kind = |name: &str| registry.get(&name.parse().unwrap()).unwrap();
    let (whole, places) = (kind("cartpole-v1"), kind("stateless-cartpole-v1"));
    let mut environments = [&whole, &places].map(|kind| kind.make(rngs(5, 0, 3)));
    let mut buffers = [&whole, &places].map(|kind| StepBuffer::new(kind.spec(), 3));
    let (mut endings, mut truncated) = (0, 0);
    for _ in 0..600 {
        // Balanced by what the first one shows, so that episodes are cut too.
        buffers[0].observe(&*environments[0]);
        let rows = buffers[0].observations.view().f32().as_chunks::<4>().0;
        let actions: Vec<u8> = rows.iter().map(|row| u8::from(row[2] + 0.3 * row[3] + 0.1 * row[1] > 0.0)).collect();
        for (environment, buffer) in environments.iter_mut().zip(&mut buffers) {
            buffer.step(&mut **environment, ArrayRef::U8(&actions));
        }
        let [whole, places] = &buffers;
        assert_eq!(whole.outcomes, places.outcomes);
        let pairs =
            [(&whole.observations, &places.observations), (&whole.final_observations, &places.final_observations)];
        for (whole, places) in pairs {
            let rows = whole.view().f32().as_chunks::<4>().0;
            let expected: Vec<f32> = rows.iter().flat_map(|row| [row[0], row[2]]).collect();
            assert_eq!(places.view().f32(), expected);
        }
        endings += whole.outcomes.iter().filter(|outcome| **outcome != Outcome::Continues).count();
        truncated += whole.final_observations.len() / 4;
    }
    assert!(endings > 0 && truncated > 0, "{endings} episodes ended, {truncated} of them cut");
}
