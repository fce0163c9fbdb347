//! The series of numbers that other programs show of a run, each under one name everywhere: what it means, and where its value comes from.

use super::row::Row;
use super::summary::Summary;

/// A series as a person meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// The name; what stands before the `/` is its group.
    pub name: &'static str,
    /// The column of `metrics.csv` with the same numbers; empty where it has none.
    pub column: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

/// A series of numbers, and its value in a `T`.
pub(crate) struct Scalar<T> {
    pub(super) tag: Tag,
    pub(super) value: fn(&T) -> Option<f64>,
}

const fn scalar<T>(
    name: &'static str,
    column: &'static str,
    value: fn(&T) -> Option<f64>,
    meaning: &'static str,
) -> Scalar<T> {
    Scalar { tag: Tag { name, column, meaning }, value }
}

/// What is told of updates; nothing before the first, so that no series begins with a 0 that nobody measured.
fn of_update(row: &Row, value: impl Into<f64>) -> Option<f64> {
    row.has_update.then(|| value.into())
}

/// One value for each row of `metrics.csv` that is told.
pub(super) const ROWS: &[Scalar<Row>] = &[
    scalar("return/mean", "mean_return", |row| row.mean_return, "Mean return of the last 100 episodes that count"),
    scalar(
        "return/mean_length_steps",
        "mean_length_steps",
        |row| row.mean_length_steps,
        "Mean length of the last 100 episodes that count, steps",
    ),
    scalar(
        "return/verification_mean",
        "verification_mean_return",
        |row| row.verification_mean_return,
        "Mean return of the last try to verify the policy in fresh episodes",
    ),
    scalar(
        "return/evaluation_mean",
        "evaluation_mean_return",
        |row| row.evaluation_mean_return,
        "Mean return of the last evaluation beside the training",
    ),
    scalar("loss/total", "loss", |row| of_update(row, row.loss), "Loss of the last update"),
    scalar("loss/policy", "policy_loss", |row| of_update(row, row.policy_loss), "The policy's part of the loss"),
    scalar(
        "loss/baseline",
        "baseline_loss",
        |row| of_update(row, row.baseline_loss),
        "The baseline's part of the loss",
    ),
    scalar(
        "policy/entropy_nats",
        "entropy_nats",
        |row| of_update(row, row.entropy_nats),
        "Mean entropy of the policy in the last update, nats",
    ),
    scalar(
        "policy/entropy_recent_nats",
        "entropy_recent_nats",
        |row| of_update(row, row.entropy_recent_nats),
        "Entropy of the policy, nats; mean of the recent updates",
    ),
    scalar(
        "policy/effective_samples",
        "effective_samples",
        |row| of_update(row, row.effective_samples),
        "Effective sample size of the importance ratios over the frames of a batch, 1 on-policy; mean of the recent updates",
    ),
    scalar(
        "policy/clipped_ratios",
        "clipped_ratios",
        |row| of_update(row, row.clipped_ratios),
        "Share of the frames whose importance ratio was clipped, mean of the recent updates",
    ),
    scalar(
        "policy/approximate_kl_nats",
        "approximate_kl_nats",
        |row| of_update(row, row.approximate_kl_nats),
        "Estimate of the divergence KL(mu || pi) of the policy that learns from those that acted, nats; mean of the recent updates",
    ),
    scalar(
        "value/error",
        "value_error",
        |row| of_update(row, row.value_error),
        "Root mean square of the values' errors against V-trace's targets, scaled rewards; over the recent updates",
    ),
    scalar(
        "value/explained_variance",
        "explained_variance",
        |row| row.explained_variance,
        "Share of the variance of V-trace's targets that the values explain, at most 1; over the recent updates",
    ),
    scalar(
        "gradient/norm",
        "gradient_norm",
        |row| of_update(row, row.gradient_norm),
        "Global norm of the last gradient before clipping",
    ),
    scalar(
        "gradient/norm_recent",
        "gradient_norm_recent",
        |row| of_update(row, row.gradient_norm_recent),
        "Global norm of the gradient before clipping, mean of the recent updates",
    ),
    scalar(
        "update/norm",
        "update_norm",
        |row| of_update(row, row.update_norm),
        "Euclidean norm of the change of all parameters in an update, mean of the recent ones",
    ),
    scalar(
        "update/learning_rate",
        "learning_rate",
        |row| of_update(row, row.learning_rate),
        "Learning rate of the last update",
    ),
    scalar(
        "update/batch_columns",
        "batch_recent_columns",
        |row| of_update(row, row.batch_recent_columns),
        "Environment columns in a batch, mean of the recent updates",
    ),
    scalar(
        "lag/recent_updates",
        "policy_lag_recent_updates",
        |row| of_update(row, row.policy_lag_recent_updates),
        "Updates between the policy that made a trajectory and the one that trained it, mean of the recent updates",
    ),
    scalar(
        "lag/mean_updates",
        "policy_lag_mean_updates",
        |row| Some(row.policy_lag_mean_updates),
        "Policy lag of a trajectory, updates; mean of the whole run",
    ),
    scalar(
        "lag/max_updates",
        "policy_lag_max_updates",
        |row| Some(row.policy_lag_max_updates as f64),
        "The largest policy lag of a trajectory in the whole run, updates",
    ),
    scalar(
        "lag/actor_max_updates",
        "actor_policy_lag_max_updates",
        |row| Some(row.actor_policy_lag_max_updates),
        "Largest of the connected actors' mean lags over their last 20 trajectories",
    ),
    scalar(
        "speed/frames_per_second",
        "frames_per_second",
        |row| Some(row.frames_per_second),
        "Frames trained a second, over the last report interval",
    ),
    scalar(
        "speed/learner_busy",
        "learner_busy",
        |row| Some(row.learner_busy),
        "Share of the last report interval in which the trainer worked",
    ),
    scalar(
        "speed/actors_blocked",
        "actors_blocked",
        |row| row.actors_blocked,
        "Share of the actors' time in which they waited",
    ),
    scalar(
        "speed/machine_busy",
        "machine_busy",
        |row| row.machine_busy,
        "Share of the learner's machine in use, by whatever process",
    ),
    scalar(
        "speed/actors_connected",
        "actors_connected",
        |row| Some(row.actors_connected as f64),
        "Actors with an open trajectory stream",
    ),
    scalar("progress/seconds", "seconds", |row| Some(row.seconds), "Seconds since the start of the run"),
    scalar("progress/updates", "updates", |row| Some(row.updates as f64), "Updates of the network"),
    scalar(
        "progress/episodes",
        "episodes",
        |row| Some(row.episodes as f64),
        "Episodes that count: they have ended, and so have all that began before them",
    ),
    scalar(
        "progress/verifications",
        "verifications",
        |row| Some(row.verifications.into()),
        "Tries to verify that the policy has reached the goal",
    ),
    scalar(
        "progress/evaluations",
        "evaluations",
        |row| Some(row.evaluations.into()),
        "Evaluations of the newest policy beside the training",
    ),
    scalar(
        "progress/evaluation_frames",
        "evaluation_frames",
        |row| row.evaluation_frames.map(|frames| frames as f64),
        "Frames that the policy of the last one was trained on",
    ),
    scalar(
        "trajectories/produced",
        "produced",
        |row| Some(row.produced as f64),
        "Trajectories known to have been produced by actors",
    ),
    scalar("trajectories/trained", "trained", |row| Some(row.trained as f64), "Trajectories that were trained"),
    scalar("trajectories/refused", "refused", |row| Some(row.refused as f64), "Trajectories that were refused"),
    scalar("trajectories/lost", "lost", |row| Some(row.lost as f64), "Trajectories that were lost on their way"),
    scalar(
        "trajectories/in_flight",
        "in_flight",
        |row| Some(row.in_flight as f64),
        "Trajectories that are not decided yet",
    ),
];

/// Columns of `metrics.csv` that are no series: the step of every value, and a word.
#[cfg(test)]
const NO_SERIES: [&str; 2] = ["frames", "limited_by"];

/// One value each, when a process ends its run: what the hyperparameters are compared by.
pub(super) const RESULTS: &[Scalar<Summary>] = &[
    scalar(
        "result/frames_to_solve",
        "",
        |summary| summary.solved.map(|solved| solved.frames as f64),
        "Frames trained until the policy that was verified; nothing where the task was not solved",
    ),
    scalar(
        "result/seconds_to_solve",
        "",
        |summary| summary.solved.map(|solved| solved.seconds),
        "Seconds from the learner's start until the policy that was verified",
    ),
    scalar(
        "result/verified_return",
        "",
        |summary| summary.verification.verified.as_ref().map(|verified| verified.score.mean),
        "Mean return of the verified policy in fresh episodes",
    ),
    scalar(
        "result/mean_return",
        "",
        |summary| summary.mean_return,
        "Mean return of the last 100 training episodes at the end of the run",
    ),
    scalar(
        "result/seconds",
        "",
        |summary| Some(summary.seconds),
        "Seconds from the learner's start to the end of training",
    ),
];

/// The series of numbers, in their order; those that have no column come at the end of a run.
pub fn scalars() -> impl Iterator<Item = Tag> {
    ROWS.iter().map(|scalar| scalar.tag).chain(RESULTS.iter().map(|scalar| scalar.tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_number_of_the_table_has_a_tag_with_the_same_value() {
        // Each a number of its own, so that none stands for another.
        let row = Row {
            seconds: 2.5,
            frames: 3,
            updates: 4,
            episodes: 5,
            frames_per_second: 6.5,
            mean_return: Some(7.5),
            mean_length_steps: Some(8.5),
            verifications: 9,
            verification_mean_return: Some(10.5),
            loss: 11.5,
            policy_loss: 12.5,
            baseline_loss: 13.5,
            entropy_nats: 14.5,
            gradient_norm: 15.5,
            learning_rate: 16.5,
            policy_lag_mean_updates: 17.5,
            policy_lag_max_updates: 18,
            learner_busy: 19.5,
            actors_blocked: Some(20.5),
            machine_busy: Some(21.5),
            limited_by: "the learner",
            actors_connected: 23,
            produced: 24,
            trained: 25,
            refused: 26,
            lost: 27,
            in_flight: 28,
            effective_samples: 29.5,
            clipped_ratios: 30.5,
            update_norm: 31.5,
            policy_lag_recent_updates: 32.5,
            entropy_recent_nats: 33.5,
            gradient_norm_recent: 34.5,
            actor_policy_lag_max_updates: 35.5,
            batch_recent_columns: 36.5,
            evaluations: 37,
            evaluation_frames: Some(38),
            evaluation_mean_return: Some(39.5),
            value_error: 40.5,
            explained_variance: Some(41.5),
            approximate_kl_nats: 42.5,
            has_update: true,
        };
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.serialize(&row).unwrap();
        let text = writer.into_inner().unwrap();
        let mut reader = csv::Reader::from_reader(&text[..]);
        let columns = reader.headers().unwrap().clone();
        let values = reader.records().next().unwrap().unwrap();
        let mut left: BTreeSet<&str> = columns.iter().collect();
        for Scalar { tag, value } in ROWS {
            let place = columns.iter().position(|column| column == tag.column).expect(tag.column);
            assert!(left.remove(tag.column), "{} has two tags", tag.column);
            assert_eq!(values[place].parse::<f64>().ok(), value(&row), "{}", tag.name);
        }
        assert_eq!(left, BTreeSet::from(NO_SERIES));
    }
}
