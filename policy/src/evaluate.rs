//! The evaluation: whole episodes, to tell what a policy has learned. Greedy, with the most probable actions, or sampled as
//! actors do. It needs the parameters and the environment, neither a learner nor an actor.

mod interval;
mod score;

use crate::action_scale::ActionScale;
use crate::model_file::Model;
use crate::network::{NetworkSpec, PolicyHead};
use crate::policy::{Decision, Policy};
use impala_env::array::{Array, ArrayRef};
use impala_env::seed::{self, Purpose, Rng};
use impala_env::spec::EnvironmentSpec;
use impala_env::{EnvironmentKind, Outcome, Registry, StepBuffer, UnknownEnvironment, named};
pub use interval::Interval;
pub use score::Score;
use serde::{Deserialize, Serialize};

/// Steps after which an evaluated episode is cut where nobody chooses: an hour of a game at 30 steps a second. Without a limit,
/// an environment that never ends by itself would be evaluated for ever.
pub const STEPS_MAX: u64 = 108_000;

/// How an evaluated policy chooses its actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The most probable action.
    #[default]
    Greedy,
    /// Drawn from the policy, as in training.
    Sampled,
}

impl Mode {
    /// Both, in the order in which help texts name them.
    pub const ALL: [Self; 2] = [Self::Greedy, Self::Sampled];

    /// The name in flags, configuration files and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Greedy => "greedy",
            Self::Sampled => "sampled",
        }
    }
}

named!(Mode, "evaluation");

/// Which random sources an evaluation draws from. Two with the same seed, series and first episode play the same episodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Series {
    /// Those of a policy that is evaluated by itself.
    Single,
    /// Those of a try of a run to verify its policy, numbered from 1.
    Try(u32),
    /// Those of an evaluation beside the training, numbered from 1.
    Beside(u32),
}

impl Series {
    fn environment(self, environment: u32) -> Purpose {
        match self {
            Self::Single => Purpose::Evaluation { environment },
            Self::Try(attempt) => Purpose::Verification { attempt, environment },
            Self::Beside(number) => Purpose::SideEvaluation { number, environment },
        }
    }

    fn policy(self, environment: u32) -> Purpose {
        match self {
            Self::Single => Purpose::EvaluatedPolicy { attempt: 0, environment },
            Self::Try(attempt) => Purpose::EvaluatedPolicy { attempt, environment },
            Self::Beside(number) => Purpose::SidePolicy { number, environment },
        }
    }
}

/// How to evaluate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EvaluationPlan {
    /// Episodes, played side by side.
    pub episodes: usize,
    /// The place of the first of them in its series: who goes on with a series plays others than before.
    pub first: u32,
    /// Decides, with the series, every draw.
    pub seed: u64,
    /// Which draws of the seed.
    pub series: Series,
    /// How actions are chosen.
    pub mode: Mode,
    /// Steps after which an episode is cut; its return until then counts.
    pub steps_max: u64,
}

impl EvaluationPlan {
    /// So many greedy episodes by themselves, of at most [`STEPS_MAX`] steps each.
    pub fn new(episodes: usize, seed: u64) -> Self {
        let (series, mode) = (Series::Single, Mode::Greedy);
        Self { episodes, first: 0, seed, series, mode, steps_max: STEPS_MAX }
    }
}

/// How an evaluated episode ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The environment came to an end of its own.
    Terminated,
    /// The environment's step limit.
    Truncated,
    /// The evaluation's step limit.
    Cut,
}

/// One evaluated episode.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Played {
    /// Undiscounted; until the cut, if it was cut.
    pub episode_return: f32,
    /// Steps.
    pub length: u64,
    /// How it ended.
    pub end: End,
}

/// The evaluated episodes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// In the order of their places in the series.
    pub episodes: Vec<Played>,
}

/// Why a policy cannot be evaluated.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum EvaluateError {
    /// The program does not know the model's environment.
    #[error(transparent)]
    Environment(#[from] UnknownEnvironment),
    /// The network was made for another environment.
    #[error(
        "the network reads observations of length {observation_len} and gives {head}: it is none for {environment}"
    )]
    Misfit {
        /// The network's.
        observation_len: usize,
        /// The network's.
        head: PolicyHead,
        /// What it was to play.
        environment: Box<EnvironmentSpec>,
    },
    /// Whoever asked for it has no use for it any more.
    #[error("the evaluation was stopped")]
    Stopped,
    /// The environment could not go on.
    #[error("{0}")]
    Fault(String),
}

impl Evaluation {
    /// Undiscounted returns.
    pub fn returns(&self) -> impl ExactSizeIterator<Item = f32> {
        self.episodes.iter().map(|episode| episode.episode_return)
    }

    /// Episodes that the evaluation's step limit cut.
    pub fn cut(&self) -> usize {
        self.episodes.iter().filter(|episode| episode.end == End::Cut).count()
    }

    /// Mean return; NaN without episodes.
    pub fn mean(&self) -> f64 {
        self.returns().map(f64::from).sum::<f64>() / self.episodes.len() as f64
    }

    /// Mean length, steps; NaN without episodes.
    pub fn mean_length(&self) -> f64 {
        self.episodes.iter().map(|episode| episode.length as f64).sum::<f64>() / self.episodes.len() as f64
    }

    /// Standard deviation of the returns, as a sample's (n - 1); NaN below two episodes.
    pub fn standard_deviation(&self) -> f64 {
        let mean = self.mean();
        let squares: f64 = self.returns().map(|x| (f64::from(x) - mean).powi(2)).sum();
        (squares / (self.episodes.len() as f64 - 1.0)).sqrt()
    }

    /// Standard error of the mean: what it would vary by if other episodes were played; NaN below two episodes.
    pub fn standard_error(&self) -> f64 {
        self.standard_deviation() / (self.episodes.len() as f64).sqrt()
    }

    /// With the episodes of another part of the same series.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.episodes.extend(other.episodes);
        self
    }

    /// It in a few numbers.
    pub fn score(&self) -> Score {
        let (mean, min, max) = (self.mean(), self.min().into(), self.max().into());
        Score { episodes: self.episodes.len(), mean, min, max, cut: self.cut() }
    }

    /// Smallest return; infinite without episodes.
    pub fn min(&self) -> f32 {
        self.returns().fold(f32::INFINITY, f32::min)
    }

    /// Largest return; negative infinity without episodes.
    pub fn max(&self) -> f32 {
        self.returns().fold(f32::NEG_INFINITY, f32::max)
    }
}

/// Evaluates a model that was loaded, in the environment that it was trained on.
///
/// # Errors
/// `registry` does not know the environment, or knows it with another shape.
pub fn model(model: &Model, registry: &Registry, plan: EvaluationPlan) -> Result<Evaluation, EvaluateError> {
    play(&registry.get(&model.description.environment)?, &model.network, &model.parameters, plan, &|| false)
}

/// Plays episodes side by side, each in an environment of its own with a random source of its own. The same arguments give the
/// same returns. `is_stopped` is asked before every step; once it says so, there is no evaluation.
///
/// # Errors
/// The network does not fit the environment, or the evaluation was stopped.
///
/// # Panics
/// If the parameters are another network's.
pub fn play(
    environment: &EnvironmentKind,
    network: &NetworkSpec,
    parameters: &[f32],
    plan: EvaluationPlan,
    is_stopped: &dyn Fn() -> bool,
) -> Result<Evaluation, EvaluateError> {
    let EvaluationPlan { episodes, first, seed, series, steps_max, .. } = plan;
    check_fit(environment, network)?;
    let spec = environment.spec();
    let mut player = Player::new(spec, network, parameters, plan);
    let rng = |environment| seed::rng(seed, series.environment(environment));
    let mut environments = environment.make((first..).take(episodes).map(rng).collect());

    let mut buffer = StepBuffer::new(spec, episodes);
    let mut played = vec![Played { episode_return: 0.0, length: 0, end: End::Cut }; episodes];
    let mut running = vec![true; episodes];
    buffer.observe(&*environments);
    // Only the first episode of each environment counts: the number of episodes does not favour short ones.
    let mut steps = 0;
    while steps < steps_max && running.contains(&true) {
        if is_stopped() {
            return Err(EvaluateError::Stopped);
        }
        let actions = player.act(buffer.observations.view(), &buffer.masks);
        buffer.step(&mut *environments, actions);
        if let Some(fault) = environments.fault() {
            return Err(EvaluateError::Fault(fault));
        }
        for i in 0..episodes {
            if running[i] {
                played[i].episode_return += buffer.rewards[i];
                played[i].length += 1;
                (running[i], played[i].end) = match buffer.outcomes[i] {
                    Outcome::Continues => (true, End::Cut),
                    Outcome::Terminated => (false, End::Terminated),
                    Outcome::Truncated => (false, End::Truncated),
                };
            }
        }
        steps += 1;
    }
    Ok(Evaluation { episodes: played })
}

/// Checks that a network was made for an environment like this one.
///
/// # Errors
/// It reads other observations or chooses among other actions.
pub fn check_fit(environment: &EnvironmentKind, network: &NetworkSpec) -> Result<(), EvaluateError> {
    let spec = environment.spec();
    let (observation_len, head) = (network.observation_len, &network.head);
    match observation_len == spec.observation_len() && head.fits(spec) {
        true => Ok(()),
        false => {
            Err(EvaluateError::Misfit { observation_len, head: head.clone(), environment: Box::new(spec.clone()) })
        }
    }
}

/// The policy and how it chooses.
struct Player {
    policy: Policy,
    /// None for a greedy one.
    draws: Option<Rng>,
    drawn: Array,
    scale: ActionScale,
    log_probs: Vec<f32>,
}

impl Player {
    fn new(environment: &EnvironmentSpec, network: &NetworkSpec, parameters: &[f32], plan: EvaluationPlan) -> Self {
        let mut policy = Policy::new(network);
        policy.set_parameters(parameters);
        let draws = match plan.mode {
            Mode::Greedy => None,
            Mode::Sampled => Some(seed::rng(plan.seed, plan.series.policy(plan.first))),
        };
        let actions = &environment.actions;
        let drawn = Array::zeros(actions.dtype(), plan.episodes * actions.components());
        let scale = ActionScale::new(actions, &network.head);
        Self { policy, draws, drawn, scale, log_probs: vec![0.0; plan.episodes] }
    }

    /// What the environments are told.
    fn act(&mut self, observations: ArrayRef<'_>, masks: &[u8]) -> ArrayRef<'_> {
        match &mut self.draws {
            None => self.policy.act_greedily(observations, masks, self.drawn.view_mut()),
            Some(rng) => {
                let decision = Decision { actions: self.drawn.view_mut(), behaviour_log_probs: &mut self.log_probs };
                self.policy.act(observations, masks, rng, decision);
            }
        }
        self.scale.apply(self.drawn.view())
    }
}

#[cfg(test)]
mod tests;
