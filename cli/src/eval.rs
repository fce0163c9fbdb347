//! `impala eval`: what a policy reaches in fresh episodes, for people, scripts and tables.

use anyhow::Context;
use impala_env::Registry;
use impala_env::spec::EnvironmentName;
use impala_learner::report::sinks::console;
use impala_learner::report::summary::EXIT_UNSOLVED;
use impala_learner::run::policy_source::{self, NamedPolicy};
use impala_policy::evaluate::{self, End, Evaluation, EvaluationPlan, Interval, Mode, STEPS_MAX};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Episodes that are played side by side.
const SIDE_BY_SIDE: usize = 100;

/// Whom to evaluate and how.
#[derive(Clone, Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0, the mean reaches --require-return, or none was required; 1, it cannot be evaluated; 3, it does not reach it."
)]
pub(crate) struct EvalArgs {
    /// The policy: a run's directory (its model; with `#best` or `#last` that checkpoint), a checkpoint or model file, the URL of
    /// checkpoints (s3://..), or a learner at work (http://HOST:PORT)
    policy: String,

    /// Episodes to play, each in an environment of its own
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    episodes: u32,

    /// Draw actions from the policy, as actors do, instead of taking the most probable one
    #[arg(long)]
    sampled: bool,

    /// Decides every draw: the same seed plays the same episodes
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,

    /// Environment to play [default: the one that the policy was trained on]
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,

    /// Steps after which an episode is cut, for environments without a limit of their own; its return until then counts
    #[arg(long, value_name = "STEPS", default_value_t = STEPS_MAX, value_parser = clap::value_parser!(u64).range(1..))]
    steps_max: u64,

    /// Write a table with a row for each episode: episode, return, length, end
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,

    /// Print one JSON object
    #[arg(long)]
    json: bool,

    /// Exit with code 3 if the mean return is below this
    #[arg(long, value_name = "RETURN", value_parser = finite, allow_negative_numbers = true)]
    require_return: Option<f64>,
}

impl EvalArgs {
    /// The environment that the command line names.
    pub(crate) fn environment(&self) -> Option<EnvironmentName> {
        self.environment.clone()
    }
}

fn finite(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    number.is_finite().then_some(number).ok_or_else(|| "it must be a finite number".to_owned())
}

/// Evaluates and prints.
///
/// # Errors
/// There is no such policy or environment, they do not fit, or the table cannot be written.
pub(crate) fn run(args: &EvalArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    let policy = policy_source::find(&args.policy, registry)?;
    let environment = args.environment.as_ref().unwrap_or(&policy.environment);
    let evaluation = play(&policy, environment, registry, args)?;
    let report = Report::new(&policy, environment, &evaluation, args);
    if let Some(path) = &args.csv {
        write_table(path, &evaluation).with_context(|| format!("cannot write {}", path.display()))?;
    }
    console::print(&match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&report)?),
        false => format!("{report}\n"),
    })?;
    Ok(match report.is_reached {
        Some(false) => ExitCode::from(EXIT_UNSOLVED),
        _ => ExitCode::SUCCESS,
    })
}

/// Plays the episodes, a hundred at a time, and shows how far it is.
fn play(
    policy: &NamedPolicy,
    environment: &EnvironmentName,
    registry: &Registry,
    args: &EvalArgs,
) -> anyhow::Result<Evaluation> {
    let kind = registry.get(environment)?;
    let mode = if args.sampled { Mode::Sampled } else { Mode::Greedy };
    let episodes = args.episodes as usize;
    let progress = ProgressBar::new(u64::from(args.episodes));
    progress.set_style(ProgressStyle::with_template("{bar:30} {human_pos} of {human_len} episodes{msg}, {eta} left")?);
    let (mut all, mut sum) = (Evaluation::default(), 0.0);
    while all.episodes.len() < episodes {
        let first = all.episodes.len();
        let plan = EvaluationPlan {
            first: u32::try_from(first)?,
            mode,
            steps_max: args.steps_max,
            ..EvaluationPlan::new(SIDE_BY_SIDE.min(episodes - first), args.seed)
        };
        let part = evaluate::play(&kind, &policy.network, &policy.parameters, plan, &|| false)?;
        sum += part.returns().map(f64::from).sum::<f64>();
        all = all.and(part);
        progress.set_position(all.episodes.len() as u64);
        progress.set_message(format!(", mean return {:.2}", sum / all.episodes.len() as f64));
    }
    progress.finish_and_clear();
    Ok(all)
}

fn write_table(path: &Path, evaluation: &Evaluation) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Row {
        episode: usize,
        r#return: f32,
        length: u64,
        end: End,
    }
    let mut table = csv::Writer::from_writer(Vec::new());
    for (episode, played) in (1..).zip(&evaluation.episodes) {
        table.serialize(Row { episode, r#return: played.episode_return, length: played.length, end: played.end })?;
    }
    Ok(impala_store::write_named(path, table.into_inner()?)?)
}

/// What is told of an evaluation.
#[derive(Debug, Serialize)]
struct Report<'a> {
    policy: &'a str,
    updates: u64,
    environment: &'a EnvironmentName,
    mode: Mode,
    seed: u64,
    episodes: usize,
    mean_return: f64,
    /// Nothing of one episode.
    standard_deviation: Option<f64>,
    /// Of the mean, 95 %.
    confidence_interval: Option<Interval>,
    min_return: f32,
    max_return: f32,
    mean_length_steps: f64,
    terminated: usize,
    truncated: usize,
    cut: usize,
    steps_max: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    required_return: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    is_reached: Option<bool>,
}

impl<'a> Report<'a> {
    fn new(
        policy: &'a NamedPolicy,
        environment: &'a EnvironmentName,
        evaluation: &Evaluation,
        args: &EvalArgs,
    ) -> Self {
        let ended = |end| evaluation.episodes.iter().filter(|episode| episode.end == end).count();
        let mean_return = evaluation.mean();
        Self {
            policy: &policy.source,
            updates: policy.updates,
            environment,
            mode: if args.sampled { Mode::Sampled } else { Mode::Greedy },
            seed: args.seed,
            episodes: evaluation.episodes.len(),
            mean_return,
            standard_deviation: (evaluation.episodes.len() > 1).then(|| evaluation.standard_deviation()),
            confidence_interval: evaluation.interval(),
            min_return: evaluation.min(),
            max_return: evaluation.max(),
            mean_length_steps: evaluation.mean_length(),
            terminated: ended(End::Terminated),
            truncated: ended(End::Truncated),
            cut: ended(End::Cut),
            steps_max: args.steps_max,
            required_return: args.require_return,
            is_reached: args.require_return.map(|required| mean_return >= required),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, environment, mode, seed, episodes, mean_return, .. } = self;
        writeln!(f, "policy        {policy}")?;
        writeln!(f, "environment   {environment}, {mode}, seed {seed}")?;
        write!(f, "mean return   {mean_return:.2}")?;
        if let Some(Interval { low, high }) = self.confidence_interval {
            write!(f, " (95 % confidence {low:.2} to {high:.2}, by bootstrap)")?;
        }
        write!(f, "\nreturns       {:.2} to {:.2}", self.min_return, self.max_return)?;
        self.standard_deviation.map_or(Ok(()), |deviation| write!(f, ", standard deviation {deviation:.2}"))?;
        write!(f, "\nepisodes      {episodes} of {:.1} steps in the mean: ", self.mean_length_steps)?;
        write!(f, "{} terminated, {} truncated by the environment", self.terminated, self.truncated)?;
        if self.cut > 0 {
            write!(f, ", {} cut after {} steps (--steps-max)", self.cut, self.steps_max)?;
        }
        match (self.required_return, self.is_reached) {
            (Some(required), Some(true)) => write!(f, "\nrequired      {required}: reached"),
            (Some(required), _) => write!(f, "\nrequired      {required}: NOT reached"),
            (None, _) => Ok(()),
        }
    }
}
