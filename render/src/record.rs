//! An episode as it is watched: for every moment what the environment looked like, what the policy made of it, and what was paid.
//!
//! A moment is one that a policy sees: the first before any step, the last after the step that ended the episode. What a step paid
//! stands in the moment after it.

use crate::words;
use impala_env::array::Array;
use impala_env::scene::Scene;
use impala_env::seed::{self, Purpose};
use impala_env::space::ActionSpace;
use impala_env::spec::EnvironmentSpec;
use impala_env::{EnvironmentKind, Outcome, StepBuffer};
use impala_policy::action_scale::ActionScale;
use impala_policy::evaluate::{self, End, EvaluateError, Mode};
use impala_policy::network::NetworkSpec;
use impala_policy::policy::{Decision, Policy};

/// Which episode is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlan {
    /// Decides every draw: the episode is the first of an evaluation with this seed, of a sampled one if it has no other
    /// (episodes side by side share the draws of actions).
    pub seed: u64,
    /// How actions are chosen.
    pub mode: Mode,
    /// Steps after which the episode is cut, 1 or more.
    pub steps_max: u32,
}

/// One episode.
#[derive(Clone, Debug, PartialEq)]
pub struct Recording {
    /// Name of the environment.
    pub environment: String,
    /// Names of its actions, of the components of one that is not one choice.
    pub actions: Vec<String>,
    /// The pace at which it is watched where nobody chooses another.
    pub steps_per_second: u32,
    /// How it was played.
    pub plan: RecordPlan,
    /// What is seen, one or more; the first is the episode's beginning.
    pub moments: Vec<Moment>,
    /// How it ended.
    pub end: End,
}

/// What is seen between two steps.
#[derive(Clone, Debug, PartialEq)]
pub struct Moment {
    /// What the environment looks like.
    pub scene: Scene,
    /// Steps of the episode before it.
    pub steps: u32,
    /// What the step before it paid; 0 at the beginning.
    pub reward: f32,
    /// Sum of the rewards up to it.
    pub return_so_far: f32,
    /// What the policy makes of it; none at the end, where it is not asked any more.
    pub view: Option<View>,
}

/// What a policy makes of an observation.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// What it does.
    pub action: Action,
    /// As many as there are names of actions: how probable each is; of the components of an action, how probable its choice is, or
    /// where its number lies between the least and the most.
    pub shares: Vec<f32>,
    /// The return that it expects from here on, discounted and scaled as it was trained. Not finite where the network ran away.
    pub value: f32,
}

/// What a policy does, for people.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// One of the actions that have names.
    Choice(u8),
    /// `[D]`: the choice or the number of every component.
    Components(Vec<String>),
}

/// Why an episode cannot be recorded.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// The environment cannot be played by the policy.
    #[error(transparent)]
    Policy(#[from] EvaluateError),
    /// The environment has no looks.
    #[error(
        "environment {0} does not draw itself, so there is nothing to show: implement `VectorEnvironment::scene` for it"
    )]
    NoScene(String),
    /// The environment could not go on.
    #[error("{0}")]
    Fault(String),
}

impl Recording {
    /// Steps of the episode.
    pub fn steps(&self) -> u32 {
        self.last().steps
    }

    /// Its undiscounted return.
    pub fn total_return(&self) -> f32 {
        self.last().return_so_far
    }

    /// How it ended, for people.
    pub fn ending(&self) -> &'static str {
        match self.end {
            End::Terminated => "episode over",
            End::Truncated => "step limit reached",
            End::Cut => "cut here, it goes on",
        }
    }

    fn last(&self) -> &Moment {
        self.moments.last().expect("an episode has a beginning")
    }
}

/// Plays one episode. `progress` is told the steps that were made, after each.
///
/// # Errors
/// The policy is none for the environment, or the environment draws nothing.
///
/// # Panics
/// If the parameters are another network's.
pub fn record(
    environment: &EnvironmentKind,
    network: &NetworkSpec,
    parameters: &[f32],
    plan: RecordPlan,
    progress: &mut dyn FnMut(u32),
) -> Result<Recording, RecordError> {
    evaluate::check_fit(environment, network)?;
    let spec = environment.spec();
    let mut player = Player::new(spec, network, parameters);
    let rng = seed::rng(plan.seed, Purpose::Evaluation { environment: 0 });
    let mut world = environment.make_to_watch(vec![rng]);
    let mut draws = seed::rng(plan.seed, Purpose::EvaluatedPolicy { attempt: 0, environment: 0 });
    let mut buffer = StepBuffer::new(spec, 1);
    buffer.observe(&*world);

    let Some(scene) = world.scene(0) else {
        let no_scene = || RecordError::NoScene(environment.name().to_string());
        return Err(world.fault().map_or_else(no_scene, RecordError::Fault));
    };
    let mut moment = Moment { scene, steps: 0, reward: 0.0, return_so_far: 0.0, view: None };
    let (mut moments, mut outcome) = (Vec::new(), Outcome::Continues);
    while outcome == Outcome::Continues && moment.steps < plan.steps_max {
        let view = player.look(&buffer, plan.mode, &mut draws);
        buffer.step(&mut *world, player.scale.apply(player.drawn.view()));
        if let Some(fault) = world.fault() {
            return Err(RecordError::Fault(fault));
        }
        let reward = buffer.rewards[0];
        outcome = buffer.outcomes[0];
        let (steps, return_so_far) = (moment.steps + 1, moment.return_so_far + reward);
        moment.view = Some(view);
        let scene = if outcome == Outcome::Continues { world.scene(0) } else { world.final_scene(0) };
        // Of an environment that does not tell how it ended, the last thing that was seen stands still.
        let scene = scene.unwrap_or_else(|| moment.scene.clone());
        moments.push(std::mem::replace(&mut moment, Moment { scene, steps, reward, return_so_far, view: None }));
        progress(steps);
    }
    moments.push(moment);
    let end = match outcome {
        Outcome::Terminated => End::Terminated,
        Outcome::Truncated => End::Truncated,
        Outcome::Continues => End::Cut,
    };
    Ok(Recording {
        environment: environment.name().to_string(),
        actions: environment.action_names().to_vec(),
        steps_per_second: environment.steps_per_second(),
        plan,
        moments,
        end,
    })
}

/// A policy and what it does in the one environment.
struct Player {
    policy: Policy,
    space: ActionSpace,
    scale: ActionScale,
    /// `[D]`, as it was drawn.
    drawn: Array,
}

impl Player {
    fn new(spec: &EnvironmentSpec, network: &NetworkSpec, parameters: &[f32]) -> Self {
        let mut policy = Policy::new(network);
        policy.set_parameters(parameters);
        let space = spec.actions.clone();
        let drawn = Array::zeros(space.dtype(), space.components());
        Self { policy, scale: ActionScale::new(&space, &network.head), space, drawn }
    }

    /// Chooses, and tells what it makes of the observation.
    fn look(&mut self, seen: &StepBuffer, mode: Mode, draws: &mut seed::Rng) -> View {
        let (observation, masks) = (seen.observations.view(), &seen.masks);
        let out = self.policy.forward(observation, 1);
        let (logits, value) = (out.logits.to_vec(), out.values[0]);
        match mode {
            Mode::Greedy => self.policy.act_greedily(observation, masks, self.drawn.view_mut()),
            Mode::Sampled => {
                let decision = Decision { actions: self.drawn.view_mut(), behaviour_log_probs: &mut [0.0] };
                self.policy.act(observation, masks, draws, decision);
            }
        }
        let (action, shares) = match (&self.space, self.drawn.view()) {
            (ActionSpace::Box(bounds), drawn) => {
                let told = self.scale.apply(drawn).f32();
                let components = told.iter().zip(bounds.low.iter().zip(&bounds.high));
                let shares = components.map(|(number, (low, high))| place(*number, *low, *high)).collect();
                (Action::Components(told.iter().map(|number| words::estimate(*number)).collect()), shares)
            }
            (ActionSpace::Discrete(_), drawn) => (Action::Choice(drawn.u8()[0]), probabilities(&logits, masks)),
            (ActionSpace::MultiDiscrete(choices), drawn) => {
                let mut first = 0;
                let mut shares = Vec::with_capacity(choices.len());
                for (choice, choices) in drawn.u8().iter().zip(choices) {
                    let component = first..first + choices;
                    first = component.end;
                    let masks = masks.get(component.clone()).unwrap_or_default();
                    shares.push(probabilities(&logits[component], masks)[usize::from(*choice)]);
                }
                (Action::Components(drawn.u8().iter().map(ToString::to_string).collect()), shares)
            }
        };
        View { action, shares, value }
    }
}

/// Where a number lies between two, from 0 to 1; in the middle where there is no end.
fn place(number: f32, low: f32, high: f32) -> f32 {
    let share = (number - low) / (high - low);
    if (high - low).is_finite() { share.clamp(0.0, 1.0) } else { 0.5 }
}

/// The probabilities of choices, of which a mask may forbid some.
fn probabilities(logits: &[f32], masks: &[u8]) -> Vec<f32> {
    let forbidden = |choice: usize| masks.get(choice) == Some(&0);
    let allowed = logits.iter().enumerate();
    let logits = allowed.map(|(choice, logit)| if forbidden(choice) { f32::NEG_INFINITY } else { *logit });
    softmax(&logits.collect::<Vec<_>>())
}

/// Probabilities from logits.
fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weights: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| (weight / total) as f32).collect()
}

#[cfg(test)]
mod tests;
