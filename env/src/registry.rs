//! Which environments there are: a table from names to specs, goals and constructors, which a program makes at its start and
//! passes to whatever needs one. There is no global table: two runs in one process may know different environments.

use crate::environment::VectorEnvironment;
use crate::seed::Rng;
use crate::spec::{EnvironmentName, EnvironmentSpec};
use crate::{cartpole, catch};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

/// Episodes in the mean return that decides whether an environment is solved.
pub const GOAL_EPISODES: usize = 100;
/// Steps in a second of what a person watches, at most and where an environment does not say: no browser shows a GIF faster.
pub const STEPS_PER_SECOND_MAX: u32 = 50;

/// Makes one environment for each random source, all at the start of an episode.
type Make = dyn Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync;

/// An environment that can be made: its name and shape, what counts as solved, and how it is made. A cheap handle; equal ones
/// have the same name, shape and goal.
#[derive(Clone)]
pub struct EnvironmentKind {
    name: EnvironmentName,
    spec: EnvironmentSpec,
    solved_return: f64,
    rewards: RangeInclusive<f32>,
    actions: Arc<[String]>,
    steps_per_second: u32,
    make: Arc<Make>,
}

impl EnvironmentKind {
    /// An environment with flat observations of `observation_len` numbers and `action_count` discrete actions, which counts as
    /// solved from a mean of `solved_return` over [`GOAL_EPISODES`] episodes. `make` gets a random source for each environment
    /// wanted and makes exactly so many, each of which draws from its own source only. A learner calls it too, to verify policies: for 100
    /// environments, and for 900 more where the goal is close.
    ///
    /// # Errors
    /// The name or one of the numbers is out of bounds.
    pub fn new(
        name: &str,
        observation_len: usize,
        action_count: usize,
        solved_return: f64,
        make: impl Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync + 'static,
    ) -> Result<Self, KindError> {
        let name: EnvironmentName = name.parse()?;
        let out_of_bounds =
            |field, value: String, bounds| Err(KindError::Bounds { name: name.clone(), field, value, bounds });
        if observation_len == 0 {
            return out_of_bounds("observation_len", observation_len.to_string(), "1 or more");
        }
        if !(1..=256).contains(&action_count) {
            return out_of_bounds("action_count", action_count.to_string(), "1 to 256");
        }
        if !solved_return.is_finite() {
            return out_of_bounds("solved_return", solved_return.to_string(), "a finite number");
        }
        let spec = EnvironmentSpec { name: name.to_string(), observation_len, action_count };
        let (rewards, actions) = (f32::MIN..=f32::MAX, (0..action_count).map(|action| action.to_string()).collect());
        let (steps_per_second, make) = (STEPS_PER_SECOND_MAX, Arc::new(make));
        Ok(Self { name, spec, solved_return, rewards, actions, steps_per_second, make })
    }

    /// The same, whose steps give rewards in this range and no others: a learner refuses what claims to come from it and is
    /// outside. By default any number is one.
    ///
    /// # Errors
    /// There is no number in it.
    pub fn with_rewards(self, rewards: RangeInclusive<f32>) -> Result<Self, KindError> {
        match rewards.start() <= rewards.end() {
            true => Ok(Self { rewards, ..self }),
            false => {
                let (name, value) = (self.name, format!("{} to {}", rewards.start(), rewards.end()));
                Err(KindError::Bounds { name, field: "rewards", value, bounds: "from the least to the most" })
            }
        }
    }

    /// The same, whose actions have these names for people, in their order; by default they are numbers.
    ///
    /// # Errors
    /// There are more or fewer than actions.
    pub fn with_actions(self, names: &[&str]) -> Result<Self, KindError> {
        match names.len() == self.spec.action_count {
            true => Ok(Self { actions: names.iter().map(ToString::to_string).collect(), ..self }),
            false => {
                let (name, value) = (self.name, names.len().to_string());
                Err(KindError::Bounds { name, field: "names of actions", value, bounds: "one for each action" })
            }
        }
    }

    /// The same, of which people are shown so many steps a second: the pace of its own time, or what the eye can follow.
    ///
    /// # Errors
    /// There are none, or more than [`STEPS_PER_SECOND_MAX`].
    pub fn with_steps_per_second(self, steps_per_second: u32) -> Result<Self, KindError> {
        match (1..=STEPS_PER_SECOND_MAX).contains(&steps_per_second) {
            true => Ok(Self { steps_per_second, ..self }),
            false => {
                let (name, value) = (self.name, steps_per_second.to_string());
                Err(KindError::Bounds { name, field: "steps_per_second", value, bounds: "1 to 50" })
            }
        }
    }

    /// What it is looked up by.
    pub fn name(&self) -> &EnvironmentName {
        &self.name
    }

    /// What learner and actor must agree on.
    pub fn spec(&self) -> &EnvironmentSpec {
        &self.spec
    }

    /// Mean return over [`GOAL_EPISODES`] episodes from which it counts as solved.
    pub fn solved_return(&self) -> f64 {
        self.solved_return
    }

    /// The rewards that a step can give.
    pub fn rewards(&self) -> &RangeInclusive<f32> {
        &self.rewards
    }

    /// The names of its actions for people.
    pub fn actions(&self) -> &[String] {
        &self.actions
    }

    /// The pace at which people watch it.
    pub fn steps_per_second(&self) -> u32 {
        self.steps_per_second
    }

    /// One environment for each random source, all at the start of an episode.
    ///
    /// # Panics
    /// The constructor that was registered makes another number of them.
    pub fn make(&self, rngs: Vec<Rng>) -> Box<dyn VectorEnvironment> {
        let wanted = rngs.len();
        let environments = (self.make)(rngs);
        let made = environments.environments();
        assert_eq!(made, wanted, "environment {}: one for each random source must be made", self.name);
        environments
    }
}

impl PartialEq for EnvironmentKind {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec && self.solved_return == other.solved_return
    }
}

impl Eq for EnvironmentKind {}

impl fmt::Debug for EnvironmentKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("EnvironmentKind");
        text.field("spec", &self.spec).field("solved_return", &self.solved_return).finish_non_exhaustive()
    }
}

/// An environment that cannot be registered.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum KindError {
    /// Its name is none.
    #[error(transparent)]
    Name(#[from] crate::spec::NameError),
    /// A number is none that training works with.
    #[error("environment {name}: {field} = {value}, it must be {bounds}")]
    Bounds {
        /// The environment.
        name: EnvironmentName,
        /// The number.
        field: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        bounds: &'static str,
    },
    /// Another one has the name.
    #[error("environment {0} is registered already: choose another name, e.g. with a version")]
    Taken(EnvironmentName),
}

/// No environment has the name.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown environment `{name}`: use one of {registered}")]
pub struct UnknownEnvironment {
    name: EnvironmentName,
    registered: String,
}

/// The environments that a program knows.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    kinds: Vec<EnvironmentKind>,
}

impl Registry {
    /// One that knows none.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that knows this environment alone.
    pub fn only(kind: EnvironmentKind) -> Self {
        Self { kinds: vec![kind] }
    }

    /// Adds an environment.
    ///
    /// # Errors
    /// Its name is taken.
    pub fn register(&mut self, kind: EnvironmentKind) -> Result<(), KindError> {
        if self.get(kind.name()).is_ok() {
            return Err(KindError::Taken(kind.name));
        }
        self.kinds.push(kind);
        Ok(())
    }

    /// The environment of a name.
    ///
    /// # Errors
    /// There is none; the message lists those that there are.
    pub fn get(&self, name: &EnvironmentName) -> Result<&EnvironmentKind, UnknownEnvironment> {
        let unknown = || {
            let names: Vec<_> = self.kinds.iter().map(|kind| kind.name.as_str()).collect();
            let registered = if names.is_empty() { "none: none is registered".into() } else { names.join(", ") };
            UnknownEnvironment { name: name.clone(), registered }
        };
        self.kinds.iter().find(|kind| kind.name == *name).ok_or_else(unknown)
    }

    /// Every environment, in the order of registration.
    pub fn kinds(&self) -> &[EnvironmentKind] {
        &self.kinds
    }
}

/// The environments of this project: `cartpole-v1`, `cartpole-v0`, `catch`. Register your own beside them.
pub fn builtin() -> Registry {
    // Solved: gymnasium's reward thresholds; for Catch, whose returns are -1 and 1, 39 of 40 balls caught.
    let cartpole_v1 = EnvironmentKind::new("cartpole-v1", 4, 2, 475.0, |rngs| {
        Box::new(cartpole::CartPole::new(cartpole::STEPS_MAX_V1, rngs))
    });
    let cartpole_v0 = EnvironmentKind::new("cartpole-v0", 4, 2, 195.0, |rngs| {
        Box::new(cartpole::CartPole::new(cartpole::STEPS_MAX_V0, rngs))
    });
    let catch = EnvironmentKind::new("catch", 50, 3, 0.95, |rngs| Box::new(catch::Catch::new(rngs)));
    let as_cartpole = |kind: EnvironmentKind| {
        kind.with_rewards(1.0..=1.0)?
            .with_actions(&["left", "right"])?
            .with_steps_per_second(cartpole::STEPS_PER_SECOND)
    };
    // Catch gives nothing before the last step of an episode, which gives -1 or 1.
    let as_catch = |kind: EnvironmentKind| {
        let kind = kind.with_rewards(-1.0..=1.0)?.with_actions(&["left", "stay", "right"])?;
        kind.with_steps_per_second(catch::STEPS_PER_SECOND)
    };
    let kinds = [cartpole_v1.and_then(as_cartpole), cartpole_v0.and_then(as_cartpole), catch.and_then(as_catch)];
    Registry { kinds: kinds.map(|kind| kind.expect("the project's own names and numbers are in bounds")).into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Outcome, Step, rngs};

    #[test]
    fn every_environment_keeps_its_spec() {
        for kind in builtin().kinds() {
            let (spec, environments) = (kind.spec(), 3);
            let name = kind.name();
            let mut environment = kind.make(rngs(1, 0, environments));
            assert_eq!(environment.environments(), environments);
            let mut observations = vec![f32::NAN; environments * spec.observation_len];
            environment.observe(&mut observations);
            assert!(observations.iter().all(|x| x.is_finite()), "{name} leaves observations unwritten");
            for action in 0..spec.action_count {
                observations.fill(f32::NAN);
                let step = Step {
                    observations: &mut observations,
                    rewards: &mut [0.0; 3],
                    outcomes: &mut [Outcome::Continues; 3],
                    final_observations: &mut Vec::new(),
                };
                environment.step(&[u8::try_from(action).unwrap(); 3], step);
                assert!(observations.iter().all(|x| x.is_finite()), "{name} leaves observations unwritten");
            }
        }
    }

    #[test]
    fn every_environment_of_the_project_draws_itself_and_how_its_episode_ended() {
        for kind in builtin().kinds() {
            let (name, len) = (kind.name(), kind.spec().observation_len);
            let mut environment = kind.make(rngs(1, 0, 2));
            let first = environment.scene(1).unwrap();
            assert_eq!(environment.final_scene(1), None, "{name}: no episode has ended");
            let mut outcomes = [Outcome::Continues; 2];
            let mut before = first.clone();
            while outcomes[1] == Outcome::Continues {
                before = environment.scene(1).unwrap();
                assert_eq!(before.size(), first.size());
                let (observations, rewards) = (&mut vec![0.0; 2 * len], &mut [0.0; 2]);
                let final_observations = &mut Vec::new();
                environment.step(&[0; 2], Step { observations, rewards, outcomes: &mut outcomes, final_observations });
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
        EnvironmentKind::new("few", 50, 3, 1.0, one).unwrap().make(rngs(1, 0, 2));
    }

    #[test]
    fn a_name_that_nobody_registered_is_told_with_those_that_are() {
        let error = builtin().get(&"pong".parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error, "unknown environment `pong`: use one of cartpole-v1, cartpole-v0, catch");
        let error = Registry::new().get(&"catch".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("none is registered"), "{error}");
    }

    #[test]
    fn what_cannot_be_trained_on_is_refused_when_it_is_registered() {
        let kind = |name, observation_len, action_count, solved_return| {
            EnvironmentKind::new(name, observation_len, action_count, solved_return, |rngs| {
                Box::new(catch::Catch::new(rngs))
            })
        };
        let refusal = |result: Result<EnvironmentKind, KindError>| result.unwrap_err().to_string();
        assert!(refusal(kind("my env", 1, 1, 0.0)).contains("`my env` is no name"));
        assert_eq!(refusal(kind("mine", 0, 1, 0.0)), "environment mine: observation_len = 0, it must be 1 or more");
        assert!(refusal(kind("mine", 1, 257, 0.0)).contains("action_count = 257, it must be 1 to 256"));
        assert!(refusal(kind("mine", 1, 1, f64::NAN)).contains("solved_return = NaN"));
        for none in [f32::NAN..=1.0, 0.0..=f32::NAN, 1.0..=-1.0] {
            let refused = refusal(kind("mine", 1, 1, 1.0).unwrap().with_rewards(none));
            assert!(refused.contains("from the least to the most"), "{refused}");
        }
        let refused = refusal(kind("mine", 1, 2, 1.0).unwrap().with_actions(&["left"]));
        assert_eq!(refused, "environment mine: names of actions = 1, it must be one for each action");
        for none in [0, 51] {
            let refused = refusal(kind("mine", 1, 1, 1.0).unwrap().with_steps_per_second(none));
            assert_eq!(refused, format!("environment mine: steps_per_second = {none}, it must be 1 to 50"));
        }
        let mut registry = builtin();
        registry.register(kind("mine", 50, 3, 1.0).unwrap()).unwrap();
        assert_eq!(
            registry.get(&"mine".parse().unwrap()).unwrap().spec().to_string(),
            "mine (observation length 50, 3 actions)"
        );
        let error = registry.register(kind("catch", 50, 3, 1.0).unwrap()).unwrap_err().to_string();
        assert!(error.starts_with("environment catch is registered already"), "{error}");
    }
}
