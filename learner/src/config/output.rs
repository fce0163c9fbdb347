//! What a run leaves on disk and tells people. Read by the run's directory, the reports and the logs.

use super::section::section;
use super::setting::Bounds;
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
            "Frames trained between two animated episodes of the newest policy, renders/frames-N.gif in the run's directory; the last is of the policy that the run leaves. Left out or 0, there are none.";
        #[clap(value_enum)]
        log_format: LogFormat = LogFormat::Human, "human", "IMPALA_LOG_FORMAT",
            "Log lines for people or as JSON.";
    }
}
