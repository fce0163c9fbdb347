//! The result of a run, for people and for scripts.

mod stored;

use super::doctor::{Circumstances, Diagnosis, Limit, diagnose};
use super::shares::Shares;
use crate::handover::ledger::Account;
use crate::handover::progress::{Evaluated, Evaluations, Progress, Solved, Tries, Verified, Vitals};
use crate::handover::tally::ActorLag;
use crate::report::sinks::console;
use crate::report::sinks::mlflow::account::Delivered;
use crate::run::checkpoint_slot::CheckpointReport;
use crate::run::run_dir::RunDir;
use anyhow::Context;
use impala_common::process::errors::{self, Level};
use impala_policy::evaluate::{Mode, Score};
use impala_store::write_whole;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt::{self, Display};
use std::process::ExitCode;
pub use stored::StoredSummary;

/// Exit code of a run that failed.
pub const EXIT_FAILED: u8 = 1;
/// Exit code of a run whose budget ended before its task was solved; 2 is that of a command that is not understood.
pub const EXIT_UNSOLVED: u8 = 3;
/// Exit code of a run that a signal ended (128 + SIGINT).
pub const EXIT_INTERRUPTED: u8 = 130;

/// Why a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "end", content = "detail")]
pub enum RunEnd {
    /// The task is solved.
    Solved,
    /// The task is solved, but the budget of time ended before the frames that were to be trained after it.
    SolvedTimeBudget,
    /// The budget of frames ended first.
    FramesBudget,
    /// The budget of time ended first.
    TimeBudget,
    /// A person or the system asked for it.
    Interrupted,
    /// A stage broke or the numbers ran away; the text says which.
    Failed(String),
}

impl RunEnd {
    /// Whether training came to an end of its own: another start would only come to the same.
    pub fn is_completion(&self) -> bool {
        matches!(self, Self::Solved | Self::SolvedTimeBudget | Self::FramesBudget | Self::TimeBudget)
    }

    /// How it ended, without advice.
    fn verdict(&self) -> String {
        match self {
            Self::Solved => "solved".into(),
            Self::SolvedTimeBudget => "solved; the time budget ended before --frames-after-solved".into(),
            Self::FramesBudget => "not solved: the frame budget ended".into(),
            Self::TimeBudget => "not solved: the time budget ended".into(),
            Self::Interrupted => "interrupted".into(),
            Self::Failed(reason) => format!("failed: {reason}"),
        }
    }

    /// The setting of the budget that ended; raised, it lets the run go further, as long as its policy learns.
    pub fn budget(&self) -> Option<&'static str> {
        match self {
            Self::FramesBudget => Some("--frames-max"),
            Self::TimeBudget | Self::SolvedTimeBudget => Some("--time-max"),
            Self::Solved | Self::Interrupted | Self::Failed(_) => None,
        }
    }

    /// What the process tells whoever started it: 0 for a solved task. A learner that stays until it is asked to stop has done
    /// what it should when it is.
    pub fn exit_code(&self, stays: bool) -> ExitCode {
        match self {
            Self::Solved | Self::SolvedTimeBudget => ExitCode::SUCCESS,
            Self::Interrupted | Self::FramesBudget | Self::TimeBudget if stays => ExitCode::SUCCESS,
            Self::Interrupted => ExitCode::from(EXIT_INTERRUPTED),
            Self::FramesBudget | Self::TimeBudget => ExitCode::from(EXIT_UNSOLVED),
            Self::Failed(_) => ExitCode::from(EXIT_FAILED),
        }
    }
}

impl Display for RunEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.verdict())?;
        self.budget().map_or(Ok(()), |budget| write!(f, " (raise {budget})"))
    }
}

/// What the updates of the recent past told of the policy, each a mean.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PolicyReport {
    /// Effective sample size of the importance ratios over the batch's frames, 0 to 1.
    pub effective_samples: f64,
    /// Share of the frames whose importance ratio was clipped, 0 to 1.
    pub clipped_ratios: f64,
    /// Estimate of the divergence KL(mu || pi) of the policy that learned from those that acted, nats.
    pub approximate_kl: f64,
    /// Root mean square of the values' errors against V-trace's targets, scaled rewards.
    pub value_error: f64,
    /// Share of the variance of V-trace's targets that the values explained; null where they did not differ.
    pub explained_variance: Option<f64>,
    /// Nats.
    pub entropy: f64,
    /// Before clipping.
    pub gradient_norm: f64,
    /// Of the change of all parameters.
    pub update_norm: f64,
    /// Updates between the policy that made a trajectory and the one that trained it.
    pub policy_lag: f64,
    /// Environment columns in a batch.
    pub batch_columns: f64,
    /// The gradient noise scale, in columns; null where it is not known.
    pub noise_scale: Option<f64>,
}

impl PolicyReport {
    fn of(vitals: &Vitals) -> Option<Self> {
        (vitals.updates > 0).then_some(Self {
            effective_samples: vitals.effective_samples,
            clipped_ratios: vitals.clipped,
            approximate_kl: vitals.approximate_kl,
            value_error: vitals.values.error(),
            explained_variance: vitals.values.explained_variance(),
            entropy: vitals.entropy,
            gradient_norm: vitals.gradient_norm,
            update_norm: vitals.update_norm,
            policy_lag: vitals.policy_lag,
            batch_columns: vitals.batch_columns,
            noise_scale: vitals.noise_scale(),
        })
    }
}

impl Display for PolicyReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { effective_samples, clipped_ratios, entropy, gradient_norm, update_norm, batch_columns, .. } = self;
        write!(
            f,
            "effective sample size {:.0} %, {:.0} % of the ratios clipped, entropy {entropy:.3}, gradient {gradient_norm:.3}, \
             update {update_norm:.4}, {batch_columns:.0} columns a batch",
            effective_samples * 100.0,
            clipped_ratios * 100.0
        )
    }
}

/// What the evaluations beside the training came to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct EvaluationReport {
    /// How many there were.
    pub count: u32,
    /// The last one.
    pub last: Evaluated,
    /// Frames of the first policy whose mean reached the goal.
    pub first_reached: Option<u64>,
}

impl EvaluationReport {
    fn of(evaluations: &Evaluations) -> Option<Self> {
        let Evaluations { count, last, first_reached, .. } = *evaluations;
        last.map(|last| Self { count, last, first_reached })
    }
}

impl Display for EvaluationReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, last: Evaluated { frames, score, .. }, first_reached } = self;
        write!(f, "{count} beside the training, the last at {frames} frames: mean {:.2}; ", score.mean)?;
        match first_reached {
            Some(first) => write!(f, "the first that reached the goal at {first} frames"),
            None => f.write_str("none reached the goal"),
        }
    }
}

/// A run in numbers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// Why it ended.
    #[serde(flatten)]
    pub end: RunEnd,
    /// When it was solved.
    pub solved: Option<Solved>,
    /// How evaluated policies choose their actions.
    pub evaluation: Mode,
    /// The tries to verify that the policy has reached the goal.
    pub verification: Tries,
    /// The evaluations beside the training; nothing where there were none.
    pub evaluations: Option<EvaluationReport>,
    /// Frames trained.
    pub frames: u64,
    /// Updates of the network.
    pub updates: u64,
    /// Episodes that count: they have ended, and so have all that began before them.
    pub episodes: u64,
    /// Seconds from the learner's start to the end of training.
    pub seconds: f64,
    /// Seconds from the learner's start until the first batch was complete.
    pub seconds_to_first_batch: f64,
    /// Mean of the last 100 of these.
    pub mean_return: Option<f64>,
    /// Worst mean of 100 episodes since solving.
    pub worst_after_solved: Option<f64>,
    /// Where the time since the first batch went.
    pub shares: Shares,
    /// What limited the run.
    pub diagnosis: Diagnosis,
    /// Mean policy lag, updates.
    pub policy_lag_mean: f64,
    /// 99th percentile of the policy lag, updates.
    pub policy_lag_p99: u64,
    /// Largest policy lag, updates.
    pub policy_lag_max: u64,
    /// The actors whose policies were oldest at the end, at most three, the worst first.
    pub oldest_actors: Vec<ActorLag>,
    /// What the last updates told of the policy; nothing where this process made none.
    pub policy: Option<PolicyReport>,
    /// Every trajectory.
    pub account: Account,
    /// Update from which this process took the run up.
    pub resumed_from: Option<u64>,
    /// Checkpoints that this process wrote.
    pub checkpoints: CheckpointReport,
    /// What an MLflow server got, where the run has one; of the summary itself, the log tells that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mlflow: Option<Delivered>,
}

impl Summary {
    /// Sums a run up; `shares` are those of all of it, `circumstances` those at its end.
    pub fn new(
        end: RunEnd,
        progress: &Progress,
        account: Account,
        shares: Shares,
        circumstances: &Circumstances,
    ) -> Self {
        let seconds = progress.ended().unwrap_or_else(|| progress.elapsed()).as_secs_f64();
        let first = progress.first_batch().map_or(seconds, |first| first.as_secs_f64());
        Self {
            end,
            solved: progress.solved,
            evaluation: Mode::default(),
            verification: progress.tries.clone(),
            evaluations: EvaluationReport::of(&progress.evaluations),
            frames: progress.frames,
            updates: progress.updates,
            episodes: progress.episodes,
            seconds,
            seconds_to_first_batch: first,
            mean_return: progress.mean_return(),
            worst_after_solved: progress.solved.and(progress.worst_after_solved),
            shares,
            diagnosis: diagnose(&shares, circumstances),
            policy_lag_mean: progress.lag.mean(),
            policy_lag_p99: progress.lag.quantile(0.99),
            policy_lag_max: progress.lag.max(),
            oldest_actors: circumstances.laggards.worst.clone(),
            policy: PolicyReport::of(&circumstances.vitals),
            account,
            resumed_from: None,
            checkpoints: CheckpointReport::default(),
            mlflow: None,
        }
    }

    /// What came of the tries to verify the policy, in a line; nothing where none was made.
    fn describe_tries(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tries { best_mean, verified, .. } = &self.verification;
        let count = self.verification.for_this_goal();
        match (verified, count) {
            (Some(Verified { mode, score, .. }), 1) => writeln!(f, "{}", evaluation_line(*mode, score)),
            (Some(Verified { mode, score, .. }), _) => writeln!(f, "{}, at try {count}", evaluation_line(*mode, score)),
            (None, 0) => Ok(()),
            (None, _) => {
                let (mode, plural) = (self.evaluation, if count == 1 { "" } else { "s" });
                let best = best_mean.map_or("-".into(), |mean| format!("{mean:.2}"));
                let did = format!("{count} {mode} evaluation{plural} did not: best {best}");
                writeln!(f, "verification  the training mean reached the goal, but {did}")
            }
        }
    }

    /// Frames trained a second, since the first batch was complete.
    pub fn frames_per_second(&self) -> f64 {
        self.frames as f64 / (self.seconds - self.seconds_to_first_batch).max(1e-9)
    }
}

/// What a policy reached in fresh episodes, as a line of a summary.
pub fn evaluation_line(mode: Mode, score: &Score) -> String {
    format!("{:<13} {score}", mode.name())
}

/// A summary, or one to which a program has added something, for people: with the directory of the run.
pub fn text(run_dir: &RunDir, report: &impl Display) -> String {
    format!("{report}\nrun           {}\n", run_dir.path().display())
}

/// Prints it on standard output: for people, or where logs are JSON as a line of such a log.
///
/// # Errors
/// Standard output cannot be written.
pub fn print(run_dir: &RunDir, report: &(impl Serialize + Display)) -> anyhow::Result<()> {
    print_either(run_dir, &text(run_dir, report), report)
}

/// Prints the one or the other.
fn print_either(run_dir: &RunDir, text: &str, json: &impl Serialize) -> anyhow::Result<()> {
    if !errors::is_json() {
        return console::print(text);
    }
    let rest = json!({ "run_dir": run_dir.path().display().to_string(), "summary": json });
    console::print(&format!("{}\n", errors::json(Level::Info, "the run is over", rest)))
}

/// Leaves it in the run's directory as `summary.txt` and `summary.json`.
///
/// # Errors
/// A file cannot be written.
pub fn write(run_dir: &RunDir, report: &(impl Serialize + Display)) -> anyhow::Result<()> {
    let json = format!("{}\n", serde_json::to_string_pretty(report)?);
    for (name, content) in [("summary.txt", text(run_dir, report)), ("summary.json", json)] {
        let path = run_dir.file(name);
        let written = write_whole(&path, content).with_context(|| format!("cannot write {}", path.display()));
        // What a run came to is not lost with its disk.
        written.inspect_err(|_| tracing::warn!("the summary has no file:\n{}", text(run_dir, report)))?;
    }
    Ok(())
}

impl Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = |mean: Option<f64>| mean.map_or("-".into(), |mean| format!("{mean:.2}"));
        match (&self.end, self.diagnosis.limit) {
            // More of the same data would teach it nothing.
            (RunEnd::FramesBudget | RunEnd::TimeBudget, Limit::DeadPolicy) => {
                writeln!(f, "result        {}, and the policy is dead", self.end.verdict())?;
            }
            _ => writeln!(f, "result        {}", self.end)?,
        }
        if let Some(Solved { frames, seconds }) = self.solved {
            writeln!(f, "solved after  {frames} frames, {seconds:.2} s from the learner's start")?;
        }
        self.describe_tries(f)?;
        if let Some(evaluations) = &self.evaluations {
            writeln!(f, "evaluations   {evaluations}")?;
        }
        if let Some(update) = self.resumed_from {
            writeln!(f, "resumed       after update {update}; times and counts are those of the whole run")?;
        }
        writeln!(f, "trained       {} frames in {} updates, {} episodes", self.frames, self.updates, self.episodes)?;
        writeln!(f, "mean return   {} over the last 100 episodes", mean(self.mean_return))?;
        if self.worst_after_solved.is_some() {
            writeln!(f, "worst since   {} (mean of 100 episodes after solving)", mean(self.worst_after_solved))?;
        }
        writeln!(
            f,
            "time          {:.2} s: first batch after {:.2} s, then {:.0} frames/s, learner busy {:.0} %",
            self.seconds,
            self.seconds_to_first_batch,
            self.frames_per_second(),
            self.shares.learner_busy * 100.0
        )?;
        writeln!(f, "limited by    {}", self.diagnosis.sentence)?;
        writeln!(
            f,
            "policy lag    mean {:.2} updates, 99 % within {}, at most {}{}",
            self.policy_lag_mean,
            self.policy_lag_p99,
            self.policy_lag_max,
            self.oldest_actors.first().map_or(String::new(), |actor| format!("; oldest actor {actor}"))
        )?;
        if let Some(policy) = &self.policy {
            writeln!(f, "policy        {policy}")?;
        }
        writeln!(f, "trajectories  {}", self.account)?;
        if let Some(mlflow) = &self.mlflow {
            writeln!(f, "mlflow        {mlflow}")?;
        }
        write!(f, "checkpoints   {}", self.checkpoints)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::progress::ReturnRange;

    fn summary(end: RunEnd, entropy: f64) -> String {
        let shares = Shares { seconds: 10.0, updates: 1000, learner_busy: 0.95, ..Shares::default() };
        let returns = Some(ReturnRange { newest: 9.4, best: 310.0, worst: 9.2 });
        let vitals = Vitals { updates: 500, effective_samples: 0.99, entropy, returns, ..Vitals::default() };
        let circumstances =
            Circumstances { actors: 2, entropy_max: Some(2.0_f64.ln()), vitals, ..Circumstances::default() };
        Summary::new(end, &Progress::new(475.0), Account::default(), shares, &circumstances).to_string()
    }

    #[test]
    fn an_unsolved_run_is_advised_to_go_on_only_while_its_policy_lives() {
        let lives = summary(RunEnd::FramesBudget, 0.4);
        assert!(
            lives.starts_with("result        not solved: the frame budget ended (raise --frames-max)\n"),
            "{lives}"
        );
        assert!(lives.contains("\npolicy        effective sample size 99 %, "), "{lives}");
        for (end, budget) in [(RunEnd::FramesBudget, "frame"), (RunEnd::TimeBudget, "time")] {
            let dead = summary(end, 0.001);
            let result = format!("result        not solved: the {budget} budget ended, and the policy is dead\n");
            assert!(dead.starts_with(&result) && !dead.contains("raise"), "{dead}");
            assert!(dead.contains("limited by    the policy is dead: entropy 0.001 of 0.693"), "{dead}");
        }
        assert!(summary(RunEnd::Solved, 0.4).starts_with("result        solved\n"));
    }
}
