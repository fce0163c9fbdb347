//! What every environment of the project owes its caller, and what cannot be registered.

use super::*;
use crate::array::{Array, ArrayMut, ArrayRef};
use crate::{Outcome, StepBuffer, rngs};

/// Every action of an environment, or a spread of them, as one component each.
fn some_actions(spec: &EnvironmentSpec, environments: usize) -> Vec<Array> {
    match &spec.actions {
        ActionSpace::Box(bounds) => {
            let ends = [&bounds.low, &bounds.high];
            ends.map(|end| Array::F32(end.repeat(environments))).into()
        }
        actions => {
            let most = *actions.choices().iter().max().unwrap();
            let of = |action: usize| actions.choices().iter().map(move |choices| action.min(choices - 1) as u8);
            let of = |action| of(action).collect::<Vec<_>>().repeat(environments);
            (0..most).map(|action| Array::U8(of(action))).collect()
        }
    }
}

#[test]
fn every_environment_keeps_its_spec() {
    for kind in builtin().kinds() {
        let (spec, environments) = (kind.spec(), 3);
        let name = kind.name();
        let mut environment = kind.make(rngs(1, 0, environments));
        assert_eq!(environment.environments(), environments);
        let mut buffer = StepBuffer::new(spec, environments);
        // What an array held before shows where it was left unwritten.
        let spoil = |buffer: &mut StepBuffer, mark: u8| {
            match buffer.observations.view_mut() {
                ArrayMut::F32(numbers) => numbers.fill(f32::NAN),
                ArrayMut::U8(numbers) => numbers.fill(mark),
            }
            buffer.masks.fill(2);
        };
        let mut observed = [1, 2].map(|mark| {
            spoil(&mut buffer, mark);
            buffer.observe(&*environment);
            buffer.observations.clone()
        });
        let is_written = |buffer: &StepBuffer| match buffer.observations.view() {
            ArrayRef::F32(numbers) => numbers.iter().all(|x| x.is_finite()),
            ArrayRef::U8(_) => true,
        };
        assert!(is_written(&buffer) && observed[0] == observed[1], "{name} leaves observations unwritten");
        for actions in some_actions(spec, environments) {
            spoil(&mut buffer, 7);
            buffer.step(&mut *environment, actions.view());
            observed = [buffer.observations.clone(), {
                buffer.observe(&*environment);
                buffer.observations.clone()
            }];
            assert!(is_written(&buffer), "{name} leaves observations unwritten");
            assert_eq!(observed[0], observed[1], "{name} shows something else after a step than it is asked for");
            assert!(buffer.masks.iter().all(|mask| *mask <= 1), "{name} leaves masks unwritten");
            assert!(buffer.rewards.iter().all(|reward| kind.rewards().contains(reward)), "{name}");
        }
    }
}

#[test]
fn every_environment_of_the_project_draws_itself_and_how_its_episode_ended() {
    for kind in builtin().kinds() {
        let name = kind.name();
        let mut environment = kind.make(rngs(1, 0, 2));
        let first = environment.scene(1).unwrap();
        assert_eq!(environment.final_scene(1), None, "{name}: no episode has ended");
        let mut buffer = StepBuffer::new(kind.spec(), 2);
        let mut before = first.clone();
        let actions = &some_actions(kind.spec(), 2)[0];
        while buffer.outcomes[1] == Outcome::Continues {
            before = environment.scene(1).unwrap();
            assert_eq!(before.size(), first.size());
            buffer.step(&mut *environment, actions.view());
        }
        let (end, next) = (environment.final_scene(1).unwrap(), environment.scene(1).unwrap());
        assert!(end != before && end != next && end.size() == first.size(), "{name}");
        let state = environment.state();
        environment.restore(&state).unwrap();
        assert_eq!((environment.scene(1), environment.final_scene(1)), (Some(next), None), "{name}");
    }
}

#[test]
#[should_panic = "environment few: one for each random source must be made"]
fn a_constructor_that_makes_fewer_is_named() {
    let one = |rngs: Vec<Rng>| -> Box<dyn VectorEnvironment> { Box::new(catch::Catch::new(rngs[..1].to_vec())) };
    EnvironmentKind::new("few", ObservationSpace::vector(50), ActionSpace::Discrete(3), 1.0, one)
        .unwrap()
        .make(rngs(1, 0, 2));
}

#[test]
fn an_environment_of_others_has_a_shape_and_a_goal_and_cannot_be_made() {
    let known = catch::kinds().unwrap().remove(0);
    let of_others = EnvironmentKind::of_others(known.spec(), known.solved_return()).unwrap();
    assert_eq!(of_others, known);
    assert!(known.can_be_made() && !of_others.can_be_made());
    let masked = EnvironmentSpec { masked: true, ..known.spec().clone() };
    assert_eq!(EnvironmentKind::of_others(&masked, 0.0).unwrap().spec(), &masked);
    let absurd = EnvironmentSpec::new("absurd", 0.into(), 2.into());
    assert!(EnvironmentKind::of_others(&absurd, 0.0).unwrap_err().to_string().contains("observation_len = 0"));
}

#[test]
fn a_name_that_nobody_registered_is_told_with_those_that_are() {
    let error = builtin().get(&"pong".parse().unwrap()).unwrap_err().to_string();
    assert_eq!(
        error,
        "unknown environment `pong`: use one of cartpole-v1, cartpole-v0, stateless-cartpole-v1, catch, acrobot-v1, \
         mountain-car-v0, mountain-car-continuous-v0, pendulum-v1, breakout-minatar"
    );
    let error = Registry::new().get(&"catch".parse().unwrap()).unwrap_err().to_string();
    assert!(error.contains("none is registered"), "{error}");
}

#[test]
fn environments_that_live_elsewhere_are_looked_for_once() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (heard, catch) = (asked.clone(), builtin().get(&"catch".parse().unwrap()).unwrap());
    let registry = builtin().with_elsewhere(move |name| {
        heard.lock().unwrap().push(name.to_string());
        match name.as_str() {
            "far" => Some(
                EnvironmentKind::new("far", 50, 3, 1.0, {
                    let catch = catch.clone();
                    move |rngs| catch.make(rngs)
                })
                .map_err(|error| error.to_string()),
            ),
            "lost" => Some(Err("lost is out of reach".into())),
            _ => None,
        }
    });
    let get = |name: &str| registry.clone().get(&name.parse().unwrap()).map(|kind| kind.name().to_string());
    assert_eq!([get("far"), get("far"), get("catch")], [Ok("far".into()), Ok("far".into()), Ok("catch".into())]);
    assert_eq!(get("lost").unwrap_err().to_string(), "lost is out of reach");
    assert!(get("pong").unwrap_err().to_string().starts_with("unknown environment `pong`"));
    assert_eq!(*asked.lock().unwrap(), ["far", "lost", "pong"]);
}

#[test]
fn what_cannot_be_trained_on_is_refused_when_it_is_registered() {
    let kind = |name, observation_len, action_count, solved_return| {
        let (observations, actions) = (ObservationSpace::vector(observation_len), ActionSpace::Discrete(action_count));
        EnvironmentKind::new(name, observations, actions, solved_return, |rngs| Box::new(catch::Catch::new(rngs)))
    };
    let refusal = |result: Result<EnvironmentKind, KindError>| result.unwrap_err().to_string();
    assert!(refusal(kind("my env", 1, 1, 0.0)).contains("`my env` is no name"));
    assert_eq!(refusal(kind("mine", 0, 1, 0.0)), "environment mine: observation_len = 0, it must be 1 to 4194304");
    assert!(refusal(kind("mine", 1, 257, 0.0)).contains("action_count = 257, it must be 1 to 256"));
    assert!(refusal(kind("mine", 1, 1, f64::NAN)).contains("solved_return = NaN"));
    for none in [f32::NAN..=1.0, 0.0..=f32::NAN, 1.0..=-1.0] {
        let refused = refusal(kind("mine", 1, 1, 1.0).unwrap().with_rewards(none));
        assert!(refused.contains("from the least to the most"), "{refused}");
    }
    let refused = refusal(kind("mine", 1, 2, 1.0).unwrap().with_action_names(&["left"]));
    assert_eq!(refused, "environment mine: names of actions = 1, it must be one for each action");
    for none in [0, 51] {
        let refused = refusal(kind("mine", 1, 1, 1.0).unwrap().with_steps_per_second(none));
        assert_eq!(refused, format!("environment mine: steps_per_second = {none}, it must be 1 to 50"));
    }
    let mut registry = builtin();
    registry.register(kind("mine", 50, 3, 1.0).unwrap()).unwrap();
    assert_eq!(
        registry.get(&"mine".parse().unwrap()).unwrap().spec().to_string(),
        "mine (observations f32[50], 3 actions)"
    );
    let error = registry.register(kind("catch", 50, 3, 1.0).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with("environment catch is registered already"), "{error}");
}

/// Actions that change from step to step and differ among environments.
fn mixed_actions(spec: &EnvironmentSpec, environments: std::ops::Range<usize>, t: usize) -> Array {
    let d = spec.actions.components();
    let at = environments.flat_map(|i| (0..d).map(move |k| (i, k)));
    match &spec.actions {
        ActionSpace::Box(bounds) => {
            let part = |i, k| ((7 * i + 3 * k + t / 5) % 9) as f32 / 8.0;
            let of = |(i, k): (usize, usize)| bounds.low[k] + part(i, k) * (bounds.high[k] - bounds.low[k]);
            Array::F32(at.map(of).collect())
        }
        actions => Array::U8(at.map(|(i, k)| ((7 * i + 3 * k + t / 5) % actions.choices()[k]) as u8).collect()),
    }
}

/// What so many steps write.
fn run(environments: &mut dyn VectorEnvironment, spec: &EnvironmentSpec, steps: usize) -> Vec<StepBuffer> {
    let n = environments.environments();
    let step = |t| {
        let mut buffer = StepBuffer::new(spec, n);
        buffer.step(environments, mixed_actions(spec, 0..n, t).view());
        buffer
    };
    (0..steps).map(step).collect()
}

#[test]
fn every_environment_goes_on_from_its_state_to_the_bit_and_refuses_others() {
    for kind in builtin().kinds() {
        let (name, spec) = (kind.name(), kind.spec());
        let mut environments = kind.make(rngs(1, 0, 3));
        run(&mut *environments, spec, 130);
        let state = environments.state();
        assert!(state.len() <= 3 * (8 * spec.observation_len() + 1024) + 1024, "{name}: {} bytes", state.len());
        let expected = run(&mut *environments, spec, 1200);
        let ends =
            expected.iter().flat_map(|buffer| &buffer.outcomes).filter(|outcome| **outcome != Outcome::Continues);
        assert!(ends.count() > 0, "{name}: no episode ended");

        let mut others = kind.make(rngs(2, 1, 3));
        others.restore(&state).unwrap();
        assert!(run(&mut *others, spec, 1200) == expected, "{name} goes on otherwise");

        let before = others.state();
        let of_other_kinds =
            builtin().kinds().iter().map(|other| other.make(rngs(1, 0, 3)).state()).collect::<Vec<_>>();
        let damaged = [&state[..state.len() - 1], &[&state[..], &[0]].concat(), &[], &kind.make(rngs(1, 0, 2)).state()];
        // The three cart-poles have one state, within the lower limit of steps.
        let own = kind.make(rngs(1, 0, 3)).state();
        let others_states = of_other_kinds.iter().filter(|state| **state != own).map(Vec::as_slice);
        for refused in damaged.into_iter().chain(others_states) {
            assert!(others.restore(refused).is_err(), "{name} takes up what is none of its states");
            assert!(others.state() == before, "{name}: a state that was refused changed it");
        }
    }
}

#[test]
fn environments_of_one_batch_know_nothing_of_one_another() {
    for kind in builtin().kinds() {
        let (name, spec, n, steps) = (kind.name(), kind.spec(), 11, 300);
        let mut together = kind.make(rngs(1, 0, n));
        let expected = run(&mut *together, spec, steps);
        let o = spec.observation_len();
        for i in [0, 7, 8, n - 1] {
            let mut alone = kind.make(rngs(1, 0, n)[i..=i].to_vec());
            for (t, expected) in expected.iter().enumerate() {
                let mut buffer = StepBuffer::new(spec, 1);
                buffer.step(&mut *alone, mixed_actions(spec, i..i + 1, t).view());
                let actual = (buffer.observations.view(), buffer.rewards[0], buffer.outcomes[0]);
                let observation = expected.observations.view().range(o * i..o * (i + 1));
                assert!(actual == (observation, expected.rewards[i], expected.outcomes[i]), "{name} {i}, step {t}");
            }
        }
    }
}
