//! `impala status`: how the run of a learner stands, for people or as JSON, once or again and again.

use anyhow::Context;
use impala_common::channel::client::{self, AskError};
use impala_common::channel::{Dialler, LearnerUrl};
use impala_common::status::Status;
use impala_learner::report::sinks::console;
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use std::time::{Duration, Instant};

/// Which learner is asked, and how its answer is printed.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct StatusArgs {
    /// Where the learner listens: http://HOST:PORT, dns:///HOST:PORT or HOST:PORT
    #[arg(long, value_name = "URL", env = "IMPALA_LEARNER", default_value = "http://127.0.0.1:50051")]
    learner: LearnerUrl,

    /// Print one JSON object, with --watch one a line
    #[arg(long)]
    json: bool,

    /// Ask again and again, until Ctrl-C; a terminal shows the newest answer in place
    #[arg(long)]
    watch: bool,

    /// Seconds between two answers of --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0, value_parser = interval)]
    interval: f64,
}

fn interval(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|error| format!("{error}"))?;
    let is_within = (0.1..=3600.0).contains(&seconds);
    is_within.then_some(seconds).ok_or_else(|| "choose from 0.1 to 3600 seconds".to_owned())
}

/// Asks and prints.
///
/// # Errors
/// No learner answers in time, and it is asked once; or standard output cannot be written.
pub(crate) fn run(args: &StatusArgs) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = match args.watch {
        true => runtime.block_on(watch(args)),
        false => runtime.block_on(client::status(&Dialler::new(args.learner.clone()))).map_err(Into::into).and_then(
            |status| {
                console::print(&match args.json {
                    true => format!("{}\n", serde_json::to_string_pretty(&status)?),
                    false => format!("{status}\n"),
                })
            },
        ),
    };
    // A look-up that hangs in the system's resolver must not hold up the end.
    runtime.shutdown_background();
    result.with_context(|| format!("no status from the learner at {}", args.learner))
}

/// Asks for ever. A learner that does not answer is told of and asked again: it may be on its way back.
async fn watch(args: &StatusArgs) -> anyhow::Result<()> {
    let dialler = Dialler::new(args.learner.clone());
    let display = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
    display.set_style(ProgressStyle::with_template("{msg}")?);
    let mut tick = tokio::time::interval(Duration::from_secs_f64(args.interval));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut before = None;
    loop {
        tick.tick().await;
        let answer = client::status(&dialler).await;
        let text = match args.json {
            true => json(&answer)?,
            false => describe(&args.learner, &answer, before.as_ref()),
        };
        before = answer.ok().map(|status| (Instant::now(), status));
        if !args.json && !display.is_hidden() {
            display.set_message(text);
        } else if !console::print_more(&(text + "\n"))? {
            return Ok(());
        }
    }
}

fn json(answer: &Result<Status, AskError>) -> serde_json::Result<String> {
    match answer {
        Ok(status) => serde_json::to_string(status),
        Err(error) => serde_json::to_string(&json!({ "error": error.to_string() })),
    }
}

/// The answer for people, with the speed since the one before.
fn describe(learner: &LearnerUrl, answer: &Result<Status, AskError>, before: Option<&(Instant, Status)>) -> String {
    let status = match answer {
        Ok(status) => status,
        Err(error) => return format!("learner       {learner}\nstate         no answer, asking again: {error}"),
    };
    let speed = before.filter(|(_, before)| status.frames >= before.frames).map(|(at, before)| {
        let frames = (status.frames - before.frames) as f64 / at.elapsed().as_secs_f64();
        format!("\nspeed         {} frames/s", HumanCount(frames as u64))
    });
    format!("learner       {learner}\n{status}{}", speed.unwrap_or_default())
}
