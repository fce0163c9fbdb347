//! What a run leaves on disk and tells people. Read by the run's directory, the reports and the logs.

use super::ConfigError;
use super::section::section;
use super::setting::Bounds;
use super::tracking_server::TrackingServer;
use super::values::{Seconds, text_path};
use clap::builder::BoolishValueParser;
use impala_common::process::logs::LogFormat;
use std::path::PathBuf;

section! {
    /// What a run leaves on disk and tells people.
    Output from GivenOutput, "Output" {
        #[clap(value_parser = text_path)]
        run_dir: PathBuf, "a new one below runs-dir", "IMPALA_RUN_DIR",
            "The run's own directory. One that holds a checkpoint is continued, under its settings where none are given.";
        #[clap(value_parser = text_path)]
        runs_dir: PathBuf = PathBuf::from("runs"), "runs", "IMPALA_RUNS_DIR",
            "Directory that takes the run's own directory, where --run-dir names none.";
        report_interval: Seconds = Seconds(0.2), "0.2", "IMPALA_REPORT_INTERVAL",
            "Seconds between two rows of metrics.csv and two refreshes of the progress line; less in the first seconds of a run."
            in Bounds::SecondsUpTo(3600.0);
        #[clap(num_args = 0..=1, default_missing_value = "true", value_parser = BoolishValueParser::new())]
        tensorboard: bool = true, "true", "IMPALA_TENSORBOARD",
            "Write event files for TensorBoard into the run's directory: scalars, histograms, hyperparameters, the configuration.";
        render_every: u64, "none", "IMPALA_RENDER_EVERY",
            "Frames trained between two animated episodes of the newest policy, renders/frames-N.gif in the run's directory, with renders/last.gif of the policy that the run leaves. Left out or 0, there are none.";
        #[clap(value_name = "URL")]
        mlflow: TrackingServer, "none", "IMPALA_MLFLOW",
            "Tell an MLflow server of the run: http://HOST:PORT. Credentials come from the environment (MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_TOKEN). A server that is absent or slow does not hold up the training.";
        #[clap(value_name = "NAME")]
        mlflow_experiment: String = "impala".into(), "impala", "IMPALA_MLFLOW_EXPERIMENT",
            "The experiment there that the run belongs to; it is created if there is none of that name.";
        #[clap(value_enum)]
        log_format: LogFormat = LogFormat::Human, "human", "IMPALA_LOG_FORMAT",
            "Log lines for people or as JSON.";
    }
}

/// Characters of the name of an experiment that an MLflow server takes.
const EXPERIMENT_CHARS_MAX: usize = 500;

impl Output {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.mlflow.iter().try_for_each(|server| server.validate("mlflow"))?;
        let name = &self.mlflow_experiment;
        match name.trim().is_empty() || name.chars().count() > EXPERIMENT_CHARS_MAX {
            true => super::invalid(
                "mlflow_experiment",
                name,
                format!("give the experiment a name of at most {EXPERIMENT_CHARS_MAX} characters"),
            ),
            false => Ok(()),
        }
    }
}
