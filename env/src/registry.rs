//! Which environments there are: a table from names to specs, goals and constructors, which a program makes at its start and
//! passes to whatever needs one. There is no global table: two runs in one process may know different environments.

use crate::environment::VectorEnvironment;
use crate::seed::Rng;
use crate::space::{ActionSpace, ObservationSpace, SpaceError};
use crate::spec::{EnvironmentName, EnvironmentSpec};
use crate::{acrobot, breakout, cartpole, catch, mountain_car, pendulum};
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};

/// From how alike two names are, of 1, one may be meant by the other.
const LIKENESS_MIN: f64 = 0.8;
/// Episodes in the mean return that decides whether an environment is solved.
pub const GOAL_EPISODES: usize = 100;
/// Steps in a second of what a person watches, at most and where an environment does not say: no browser shows a GIF faster.
pub const STEPS_PER_SECOND_MAX: u32 = 50;

/// Makes one environment for each random source, all at the start of an episode.
type Make = dyn Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync;

/// An environment: its name and shape, what counts as solved, and how it is made, unless only other processes can. A cheap handle;
/// equal ones have the same name, shape and goal.
#[derive(Clone)]
pub struct EnvironmentKind {
    name: EnvironmentName,
    spec: EnvironmentSpec,
    solved_return: f64,
    rewards: RangeInclusive<f32>,
    action_names: Arc<[String]>,
    steps_per_second: u32,
    is_resumable: bool,
    /// Nothing for one that lives in other processes alone.
    make: Option<Arc<Make>>,
    make_to_watch: Option<Arc<Make>>,
}

impl EnvironmentKind {
    /// An environment with these observations (a number O stands for O numbers in single precision) and actions (a number A stands for
    /// one of A choices), which counts as solved from a mean of `solved_return` over
    /// [`GOAL_EPISODES`] episodes. `make` gets a random source for each environment
    /// wanted and makes exactly so many, each of which draws from its own source only. A learner calls it too, to verify policies: for 100
    /// environments, and for 900 more where the goal is close.
    ///
    /// # Errors
    /// The name or one of the numbers is out of bounds.
    pub fn new(
        name: &str,
        observations: impl Into<ObservationSpace>,
        actions: impl Into<ActionSpace>,
        solved_return: f64,
        make: impl Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync + 'static,
    ) -> Result<Self, KindError> {
        let name: EnvironmentName = name.parse()?;
        let spec = EnvironmentSpec::new(name.as_str(), observations.into(), actions.into());
        if let Err(SpaceError { field, value, bounds }) = spec.validate() {
            return Err(KindError::Bounds { name, field, value, bounds });
        }
        if !solved_return.is_finite() {
            let (field, value) = ("solved_return", solved_return.to_string());
            return Err(KindError::Bounds { name, field, value, bounds: "a finite number" });
        }
        let action_names = (0..named_actions(&spec.actions)).map(|action| action.to_string()).collect();
        let (rewards, steps_per_second) = (f32::MIN..=f32::MAX, STEPS_PER_SECOND_MAX);
        let make: Option<Arc<Make>> = Some(Arc::new(make));
        let (is_resumable, make_to_watch) = (true, None);
        Ok(Self {
            name,
            spec,
            solved_return,
            rewards,
            action_names,
            steps_per_second,
            is_resumable,
            make,
            make_to_watch,
        })
    }

    /// An environment of this shape that only other processes have: this one knows what is agreed with them, and cannot make it.
    ///
    /// # Errors
    /// The name or one of the numbers is out of bounds.
    pub fn of_others(spec: &EnvironmentSpec, solved_return: f64) -> Result<Self, KindError> {
        let (observations, actions) = (spec.observations.clone(), spec.actions.clone());
        let kind = Self::new(&spec.name, observations, actions, solved_return, |_| unreachable!("it is taken out"))?;
        let kind = if spec.masked { kind.with_masks()? } else { kind };
        Ok(Self { make: None, ..kind })
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

    /// The same, which says with each observation what choices the next action has.
    ///
    /// # Errors
    /// Its actions are no choices.
    pub fn with_masks(mut self) -> Result<Self, KindError> {
        self.spec.masked = true;
        match self.spec.validate() {
            Ok(()) => Ok(self),
            Err(SpaceError { field, value, bounds }) => {
                Err(KindError::Bounds { name: self.name, field, value, bounds })
            }
        }
    }

    /// The same, whose actions have these names for people, in their order: the choices of a discrete space, the components of any
    /// other. By default they are numbers.
    ///
    /// # Errors
    /// There are more or fewer.
    pub fn with_action_names(self, names: &[&str]) -> Result<Self, KindError> {
        match names.len() == self.action_names.len() {
            true => Ok(Self { action_names: names.iter().map(ToString::to_string).collect(), ..self }),
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

    /// The same, whose state cannot be saved: [`VectorEnvironment::state`] is empty, and a deterministic run on it is refused before
    /// it starts.
    #[must_use]
    pub fn without_state(self) -> Self {
        Self { is_resumable: false, ..self }
    }

    /// The same, which for people who watch are made otherwise, because it costs to be drawn.
    #[must_use]
    pub fn with_watched(self, make: impl Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync + 'static) -> Self {
        Self { make_to_watch: Some(Arc::new(make)), ..self }
    }

    /// The same under another name, with other observations and made otherwise.
    ///
    /// # Errors
    /// The name is none, or the observations are out of bounds.
    pub(crate) fn derived(
        &self,
        name: &str,
        observations: ObservationSpace,
        make: impl Fn(Vec<Rng>) -> Box<dyn VectorEnvironment> + Send + Sync + 'static,
    ) -> Result<Self, KindError> {
        let Self { solved_return, steps_per_second, is_resumable, .. } = *self;
        let mut kind = Self::new(name, observations, self.spec.actions.clone(), solved_return, make)?;
        kind.spec.masked = self.spec.masked;
        let (rewards, action_names) = (self.rewards.clone(), Arc::clone(&self.action_names));
        Ok(Self { rewards, action_names, steps_per_second, is_resumable, ..kind })
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

    /// The names for people of the choices of a discrete space, or of the components of any other.
    pub fn action_names(&self) -> &[String] {
        &self.action_names
    }

    /// The pace at which people watch it.
    pub fn steps_per_second(&self) -> u32 {
        self.steps_per_second
    }

    /// Whether its state can be saved.
    pub fn is_resumable(&self) -> bool {
        self.is_resumable
    }

    /// Whether this process can make it.
    pub fn can_be_made(&self) -> bool {
        self.make.is_some()
    }

    /// One environment for each random source, all at the start of an episode.
    ///
    /// # Panics
    /// The constructor that was registered makes another number of them, or [`EnvironmentKind::can_be_made`] says no.
    pub fn make(&self, rngs: Vec<Rng>) -> Box<dyn VectorEnvironment> {
        self.made_by(self.make.as_ref(), rngs)
    }

    /// The same, such as can be [drawn](VectorEnvironment::scene).
    ///
    /// # Panics
    /// As [`Self::make`].
    pub fn make_to_watch(&self, rngs: Vec<Rng>) -> Box<dyn VectorEnvironment> {
        self.made_by(self.make_to_watch.as_ref().or(self.make.as_ref()), rngs)
    }

    fn made_by(&self, make: Option<&Arc<Make>>, rngs: Vec<Rng>) -> Box<dyn VectorEnvironment> {
        let make = make.expect("whoever makes environments asks whether this one can be made");
        let (name, wanted) = (&self.name, rngs.len());
        let environments = make(rngs);
        let made = environments.environments();
        assert_eq!(made, wanted, "environment {name}: one for each random source must be made");
        environments
    }
}

/// How many names the actions of a space have.
fn named_actions(actions: &ActionSpace) -> usize {
    match actions {
        ActionSpace::Discrete(choices) => *choices,
        ActionSpace::MultiDiscrete(_) | ActionSpace::Box(_) => actions.components(),
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
pub enum UnknownEnvironment {
    /// It is not registered.
    #[error("unknown environment `{name}`{nearest}: use one of {registered}")]
    Unregistered {
        /// The name.
        name: EnvironmentName,
        /// A name that is much like it, as a part of the message; else nothing.
        nearest: String,
        /// Those that are.
        registered: String,
    },
    /// It is one of those that live elsewhere, where it is not to be had.
    #[error("{0}")]
    Elsewhere(String),
}

/// Finds an environment that lives elsewhere; nothing for a name that is none of theirs.
type Find = dyn Fn(&EnvironmentName) -> Option<Result<EnvironmentKind, String>> + Send + Sync;

/// Environments that live elsewhere, and those of them that were asked for.
struct Elsewhere {
    find: Box<Find>,
    found: Mutex<Vec<EnvironmentKind>>,
}

/// The environments that a program knows.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: Vec<EnvironmentKind>,
    elsewhere: Option<Arc<Elsewhere>>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Registry {
    /// One that knows none.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that knows this environment alone.
    pub fn only(kind: EnvironmentKind) -> Self {
        Self { kinds: vec![kind], elsewhere: None }
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

    /// The same, which asks `find` for what is not registered: environments that live elsewhere, and which it may take seconds to get at.
    /// What it finds it is not asked for again.
    #[must_use]
    pub fn with_elsewhere(
        self,
        find: impl Fn(&EnvironmentName) -> Option<Result<EnvironmentKind, String>> + Send + Sync + 'static,
    ) -> Self {
        let elsewhere = Elsewhere { find: Box::new(find), found: Mutex::default() };
        Self { elsewhere: Some(Arc::new(elsewhere)), ..self }
    }

    /// The environment of a name.
    ///
    /// # Errors
    /// There is none; the message lists those that there are.
    pub fn get(&self, name: &EnvironmentName) -> Result<EnvironmentKind, UnknownEnvironment> {
        if let Some(kind) = self.kinds.iter().find(|kind| kind.name == *name) {
            return Ok(kind.clone());
        }
        if let Some(found) = self.elsewhere.as_ref().and_then(|elsewhere| elsewhere.get(name)) {
            return found.map_err(UnknownEnvironment::Elsewhere);
        }
        let names: Vec<_> = self.kinds.iter().map(|kind| kind.name.as_str()).collect();
        let registered = if names.is_empty() { "none: none is registered".into() } else { names.join(", ") };
        let nearest = nearest(name.as_str(), names.iter().copied(), LIKENESS_MIN);
        let nearest = nearest.map_or(String::new(), |nearest| format!(" (did you mean {nearest}?)"));
        Err(UnknownEnvironment::Unregistered { name: name.clone(), nearest, registered })
    }

    /// Every registered environment, in the order of registration.
    pub fn kinds(&self) -> &[EnvironmentKind] {
        &self.kinds
    }
}

/// The name that is most like another, if it is so much like it (Jaro-Winkler, 1 for equal names).
pub fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>, similar: f64) -> Option<&'a str> {
    let likeness = |other: &str| strsim::jaro_winkler(other, name);
    let nearest = names.max_by(|a, b| likeness(a).total_cmp(&likeness(b)))?;
    (likeness(nearest) >= similar).then_some(nearest)
}

impl Elsewhere {
    fn get(&self, name: &EnvironmentName) -> Option<Result<EnvironmentKind, String>> {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kind) = found.iter().find(|kind| kind.name == *name) {
            return Some(Ok(kind.clone()));
        }
        let result = (self.find)(name)?;
        found.extend(result.as_ref().ok().cloned());
        Some(result)
    }
}

/// The environments of this project. Register your own beside them.
pub fn builtin() -> Registry {
    let kinds = [
        cartpole::kinds(),
        catch::kinds(),
        acrobot::kinds(),
        mountain_car::kinds(),
        pendulum::kinds(),
        breakout::kinds(),
    ];
    let in_bounds = "the project's own names and numbers are in bounds";
    Registry { kinds: kinds.into_iter().flat_map(|kinds| kinds.expect(in_bounds)).collect(), elsewhere: None }
}

#[cfg(test)]
mod tests;
