//! `impala status`: how the run of a learner stands, for people or as JSON.

use anyhow::Context;
use impala_common::channel::{Dialler, LearnerUrl, client};
use impala_learner::report::sinks::console;

/// Which learner is asked, and how its answer is printed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Where the learner listens: http://HOST:PORT, dns:///HOST:PORT or HOST:PORT
    #[arg(long, value_name = "URL", env = "IMPALA_LEARNER", default_value = "http://127.0.0.1:50051")]
    learner: LearnerUrl,

    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Asks and prints.
///
/// # Errors
/// No learner answers in time.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let status = runtime.block_on(client::status(&Dialler::new(args.learner.clone())));
    // A look-up that hangs in the system's resolver must not hold up the end.
    runtime.shutdown_background();
    let status = status.with_context(|| format!("no status from the learner at {}", args.learner))?;
    console::print(&match args.json {
        true => format!("{}\n", serde_json::to_string_pretty(&status)?),
        false => format!("{status}\n"),
    })
}
