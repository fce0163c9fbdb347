//! `metrics.csv`: one row a report interval; of long runs fewer, so that the file does not grow for ever.

mod earlier;

use crate::report::View;
use serde::Serialize;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Rows are at least the time of the run by this apart: with one each 0.2 s there are fewer from 2,000 s on, and after a year about
/// 100,000 of 300 bytes.
const SPACING: u32 = 10_000;

/// Appends rows to the file.
#[derive(Debug)]
pub struct MetricsCsv {
    writer: csv::Writer<File>,
    /// Time of the run at the last row.
    last: Option<Duration>,
}

#[derive(Default, Serialize)]
struct Row {
    seconds: f64,
    frames: u64,
    updates: u64,
    episodes: u64,
    frames_per_second: f64,
    mean_return: Option<f64>,
    mean_length_steps: Option<f64>,
    verifications: u32,
    verification_mean_return: Option<f64>,
    loss: f32,
    policy_loss: f32,
    baseline_loss: f32,
    entropy_nats: f32,
    gradient_norm: f32,
    learning_rate: f32,
    policy_lag_mean_updates: f64,
    policy_lag_max_updates: u64,
    learner_busy: f64,
    actors_blocked: Option<f64>,
    machine_busy: Option<f64>,
    limited_by: &'static str,
    actors_connected: usize,
    produced: u64,
    trained: u64,
    refused: u64,
    lost: u64,
    in_flight: u64,
    effective_samples: f64,
    clipped_ratios: f64,
    update_norm: f64,
    policy_lag_recent_updates: f64,
    entropy_recent_nats: f64,
    gradient_norm_recent: f64,
    actor_policy_lag_max_updates: f64,
    batch_recent_columns: f64,
    evaluations: u32,
    evaluation_frames: Option<u64>,
    evaluation_mean_return: Option<f64>,
}

impl MetricsCsv {
    /// Creates the file, or appends to the rows that the earlier processes of a run wrote, perhaps of an earlier release with fewer
    /// columns, up to the frames that it is resumed from: what came after them is trained again.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(path: &Path, resumed_from: Option<u64>) -> csv::Result<Self> {
        let resumes = resumed_from.is_some();
        if let Some(frames) = resumed_from {
            earlier::bring_under(&columns()?.iter().collect::<Vec<_>>(), path, frames)?;
        }
        let mut options = File::options();
        let file = options.create(true).write(true).append(resumes).truncate(!resumes).open(path)?;
        let has_header = file.metadata()?.len() > 0;
        Ok(Self { writer: csv::WriterBuilder::new().has_headers(!has_header).from_writer(file), last: None })
    }

    /// Whether a row is due at this time of the run.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        self.last.is_none_or(|last| elapsed.saturating_sub(last) >= elapsed / SPACING)
    }

    /// Writes one row and flushes it, so that a reader sees it at once.
    ///
    /// # Errors
    /// The row cannot be written.
    pub fn append(&mut self, view: &View<'_>) -> csv::Result<()> {
        let View { progress, account, .. } = view;
        let losses = progress.last_step.losses;
        self.last = Some(progress.elapsed());
        self.writer.serialize(Row {
            seconds: progress.elapsed().as_secs_f64(),
            frames: progress.frames,
            updates: progress.updates,
            episodes: progress.episodes,
            frames_per_second: view.frames_per_second,
            mean_return: progress.mean_return(),
            mean_length_steps: progress.mean_length(),
            verifications: progress.tries.count,
            verification_mean_return: progress.tries.last.map(|score| score.mean),
            loss: losses.total,
            policy_loss: losses.policy,
            baseline_loss: losses.baseline,
            entropy_nats: losses.entropy,
            gradient_norm: progress.last_step.gradient_norm,
            learning_rate: progress.learning_rate,
            policy_lag_mean_updates: progress.lag.mean(),
            policy_lag_max_updates: progress.lag.max(),
            learner_busy: view.busy,
            actors_blocked: view.shares.actors_blocked(),
            machine_busy: view.shares.machine_busy,
            limited_by: view.diagnosis.limit.name(),
            actors_connected: view.actors_connected,
            produced: account.produced,
            trained: account.trained,
            refused: account.refused(),
            lost: account.lost,
            in_flight: account.in_flight(),
            effective_samples: progress.vitals.effective_samples,
            clipped_ratios: progress.vitals.clipped,
            update_norm: progress.vitals.update_norm,
            policy_lag_recent_updates: progress.vitals.policy_lag,
            entropy_recent_nats: progress.vitals.entropy,
            gradient_norm_recent: progress.vitals.gradient_norm,
            actor_policy_lag_max_updates: view.laggards.lag_max(),
            batch_recent_columns: progress.vitals.batch_columns,
            evaluations: progress.evaluations.count,
            evaluation_frames: progress.evaluations.last.map(|last| last.frames),
            evaluation_mean_return: progress.evaluations.last.map(|last| last.score.mean),
        })?;
        self.writer.flush()?;
        Ok(())
    }
}

/// The header.
fn columns() -> csv::Result<csv::StringRecord> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.serialize(Row::default())?;
    let bytes = writer.into_inner().map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(csv::Reader::from_reader(&bytes[..]).headers()?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_long_runs_are_further_apart() {
        let file = tempfile::tempfile().unwrap();
        let mut csv = MetricsCsv { writer: csv::Writer::from_writer(file), last: None };
        let mut rows = |ticks: std::ops::Range<u64>| {
            let mut count = 0;
            for elapsed in ticks.map(|tick| Duration::from_millis(tick * 200)) {
                if csv.is_due(elapsed) {
                    csv.last = Some(elapsed);
                    count += 1;
                }
            }
            count
        };
        assert_eq!(rows(0..9995), 9995);
        let rest_of_the_day = rows(9995..432_000);
        assert!((30_000..40_000).contains(&rest_of_the_day), "{rest_of_the_day}");
    }

    #[test]
    fn a_run_of_an_earlier_release_goes_on_in_one_table() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("metrics.csv");
        std::fs::write(&path, "seconds,frames\n1.5,80\n").unwrap();
        let mut csv = MetricsCsv::open(&path, Some(80)).unwrap();
        csv.writer.serialize(Row { frames: 160, effective_samples: 0.75, ..Row::default() }).unwrap();
        csv.writer.flush().unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let place = reader.headers().unwrap().iter().position(|name| name == "effective_samples").unwrap();
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        let told: Vec<_> = rows.iter().map(|row| (&row[1], &row[place])).collect();
        assert_eq!(told, [("80", ""), ("160", "0.75")]);
        assert_eq!(columns().unwrap().len(), rows[1].len());
    }
}
