//! An episode as it is watched: for every moment what the environment looked like, what the policy made of it, and what was paid.
//!
//! A moment is one that a policy sees: the first before any step, the last after the step that ended the episode. What a step paid
//! stands in the moment after it.

use impala_env::scene::Scene;
use impala_env::seed::{self, Purpose};
use impala_env::{EnvironmentKind, Outcome, Step, VectorEnvironment};
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
    /// Names of its actions.
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
    /// What it chooses.
    pub action: u8,
    /// `[A]`: how probable each action is.
    pub probabilities: Vec<f32>,
    /// The return that it expects from here on, discounted and scaled as it was trained. Not finite where the network ran away.
    pub value: f32,
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
    let mut policy = Policy::new(network);
    policy.set_parameters(parameters);
    let rng = seed::rng(plan.seed, Purpose::Evaluation { environment: 0 });
    let mut world = environment.make(vec![rng]);
    let no_scene = || RecordError::NoScene(environment.name().to_string());
    let mut draws = seed::rng(plan.seed, Purpose::EvaluatedPolicy { attempt: 0, environment: 0 });
    let mut observation = vec![0.0; network.observation_len];
    world.observe(&mut observation);

    let mut moment =
        Moment { scene: world.scene(0).ok_or_else(no_scene)?, steps: 0, reward: 0.0, return_so_far: 0.0, view: None };
    let (mut moments, mut outcome) = (Vec::new(), Outcome::Continues);
    while outcome == Outcome::Continues && moment.steps < plan.steps_max {
        let view = look(&mut policy, &observation, plan.mode, &mut draws);
        let reward;
        (reward, outcome) = step(&mut *world, view.action, &mut observation);
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
        actions: environment.actions().to_vec(),
        steps_per_second: environment.steps_per_second(),
        plan,
        moments,
        end,
    })
}

/// What the policy makes of one observation.
fn look(policy: &mut Policy, observation: &[f32], mode: Mode, draws: &mut seed::Rng) -> View {
    let out = policy.forward(observation, 1);
    let (probabilities, value) = (softmax(out.logits), out.values[0]);
    let mut action = [0];
    match mode {
        Mode::Greedy => policy.act_greedily(observation, &mut action),
        Mode::Sampled => {
            let decision = Decision { actions: &mut action, behaviour_log_probs: &mut [0.0] };
            policy.act(observation, draws, decision);
        }
    }
    View { action: action[0], probabilities, value }
}

/// Takes a step of the one environment; its reward and outcome.
fn step(world: &mut dyn VectorEnvironment, action: u8, observation: &mut [f32]) -> (f32, Outcome) {
    let (mut rewards, mut outcomes, mut final_observations) = ([0.0], [Outcome::Continues], Vec::new());
    world.step(
        &[action],
        Step {
            observations: observation,
            rewards: &mut rewards,
            outcomes: &mut outcomes,
            final_observations: &mut final_observations,
        },
    );
    (rewards[0], outcomes[0])
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
