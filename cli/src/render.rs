//! `impala render`: one episode of a trained policy as an animation, as a page, or here in the terminal.

use anyhow::{Context, bail};
use clap::ArgGroup;
use impala_common::process::signals;
use impala_env::spec::EnvironmentName;
use impala_env::{Registry, STEPS_PER_SECOND_MAX};
use impala_learner::report::sinks::console;
use impala_learner::run::policy_source::{self, NamedPolicy};
use impala_policy::evaluate::Mode;
use impala_render::html::{self, Page};
use impala_render::record::{self, RecordPlan, Recording};
use impala_render::terminal::{self, Depth, Play, Played};
use impala_render::theme::Theme;
use impala_render::{Animation, WIDTH, WIDTHS, apng, gif};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use std::fmt;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

/// Columns and rows where a terminal does not tell its size.
const TERMINAL_SIZE: (u16, u16) = (80, 24);

/// Whose episode, which, and what becomes of it.
#[derive(Clone, Debug, clap::Args)]
#[command(group(ArgGroup::new("what becomes of it").required(true).args(["out", "terminal"])))]
pub(crate) struct RenderArgs {
    /// The policy: a run's directory (its model; with `#best` or `#last` that checkpoint), a checkpoint or model file, the URL of
    /// checkpoints (s3://..), or a learner at work (http://HOST:PORT)
    policy: String,

    /// What to write: an animation (.gif or .png), or a page that plays the episode (.html)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Play it in this terminal instead
    #[arg(long)]
    terminal: bool,

    /// Decides every draw: the episode is the first of an evaluation with this seed
    #[arg(long, value_name = "SEED", default_value_t = 1)]
    seed: u64,

    /// Draw actions from the policy, as actors do, instead of taking the most probable one
    #[arg(long)]
    sampled: bool,

    /// Environment to play, of the same shape [default: the one that the policy was trained on]
    #[arg(long, value_name = "NAME")]
    environment: Option<EnvironmentName>,

    /// Steps after which the episode is cut
    #[arg(long, value_name = "STEPS", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    steps_max: u32,

    /// Width of an animation, pixels [default: 640]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(bounds(WIDTHS)))]
    size: Option<u32>,

    /// Frames a second; a step is a frame [default: the environment's own pace]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(STEPS_PER_SECOND_MAX)))]
    frames_per_second: Option<u32>,

    /// Colours: light or dark [default: light in animations, dark in the terminal, what the browser prefers on a page]
    #[arg(long, value_name = "NAME")]
    theme: Option<Theme>,
}

impl RenderArgs {
    /// The environment that the command line names.
    pub(crate) fn environment(&self) -> Option<EnvironmentName> {
        self.environment.clone()
    }
}

/// Bounds as clap takes them.
fn bounds(range: std::ops::RangeInclusive<u32>) -> std::ops::RangeInclusive<i64> {
    i64::from(*range.start())..=i64::from(*range.end())
}

/// What an episode can become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Gif,
    Png,
    Html,
}

impl Format {
    /// That of a file, by its name.
    fn of(path: &Path) -> anyhow::Result<Self> {
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        match extension.as_deref() {
            Some("gif") => Ok(Self::Gif),
            Some("png" | "apng") => Ok(Self::Png),
            Some("html" | "htm") => Ok(Self::Html),
            _ => bail!(
                "--out {}: the name does not tell what to write; end it in .gif or .png (animations) or .html (a page)",
                path.display()
            ),
        }
    }
}

/// Plays one episode, and writes or shows it.
///
/// # Errors
/// There is no such policy, its environment cannot be shown, or the result cannot be written.
pub(crate) fn run(args: &RenderArgs, registry: &Registry) -> anyhow::Result<ExitCode> {
    // What cannot succeed is refused before anything is looked up or played.
    let target = match &args.out {
        Some(path) => Some((path, Format::of(path)?)),
        None => None,
    };
    if args.size.is_some() && !target.is_some_and(|(_, format)| format != Format::Html) {
        bail!("--size is for animations: a page and a terminal have a size of their own");
    }
    if target.is_none() && !std::io::stdout().is_terminal() {
        bail!("--terminal needs a terminal, and standard output is none: use --out FILE");
    }
    let policy = policy_source::find(&args.policy, registry)?;
    let recording = play(args, &policy, registry)?;
    match target {
        Some((path, format)) => write(args, &policy, &recording, path, format),
        None => show(args, &recording),
    }
}

fn play(args: &RenderArgs, policy: &NamedPolicy, registry: &Registry) -> anyhow::Result<Recording> {
    let environment = registry.get(args.environment.as_ref().unwrap_or(&policy.environment))?;
    let mode = if args.sampled { Mode::Sampled } else { Mode::Greedy };
    let plan = RecordPlan { seed: args.seed, mode, steps_max: args.steps_max };
    let bar = progress("playing", args.steps_max.into());
    let played = record::record(&environment, &policy.network, &policy.parameters, plan, &mut |steps| {
        bar.set_position(steps.into());
    });
    bar.finish_and_clear();
    Ok(played?)
}

fn write(
    args: &RenderArgs,
    policy: &NamedPolicy,
    recording: &Recording,
    path: &Path,
    format: Format,
) -> anyhow::Result<ExitCode> {
    let frames_per_second = args.frames_per_second.unwrap_or(recording.steps_per_second);
    let animation =
        Animation { theme: args.theme.unwrap_or(Theme::Light), width: args.size.unwrap_or(WIDTH), frames_per_second };
    let bar = progress("drawing", recording.moments.len() as u64);
    let mut drawn = |frames| bar.set_position(frames as u64);
    let bytes = match format {
        Format::Gif => gif::encode(recording, animation, &mut drawn)?,
        Format::Png => apng::encode(recording, animation, &mut drawn)?,
        Format::Html => {
            let source = policy.source.clone();
            html::page(recording, &Page { theme: args.theme, steps_per_second: frames_per_second, source })?.into()
        }
    };
    bar.finish_and_clear();
    impala_store::write_named(path, &bytes).with_context(|| format!("cannot write {}", path.display()))?;
    let size = HumanBytes(bytes.len() as u64);
    console::print(&format!("{}: {size}; {}\n", path.display(), Told(recording)))?;
    Ok(ExitCode::SUCCESS)
}

fn show(args: &RenderArgs, recording: &Recording) -> anyhow::Result<ExitCode> {
    let play = Play {
        theme: args.theme.unwrap_or(Theme::Dark),
        frames_per_second: args.frames_per_second.unwrap_or(recording.steps_per_second),
        depth: depth(),
    };
    // One thread for the signals, while this one draws.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let stop = {
        let _inside = runtime.enter();
        signals::on_signal()?
    };
    let size = || terminal_size::terminal_size().map_or(TERMINAL_SIZE, |(columns, rows)| (columns.0, rows.0));
    let started = Instant::now();
    let mut wait = |until| {
        let waited = async { tokio::time::timeout_at((started + until).into(), stop.cancelled()).await };
        runtime.block_on(waited).is_err().then(|| started.elapsed())
    };
    let mut output = std::io::stdout().lock();
    let played =
        terminal::play(recording, play, &mut output, &size, &mut wait).context("cannot write to the terminal")?;
    drop(output);
    match played {
        Played::Whole => {
            console::print(&format!("{}\n", Told(recording)))?;
            Ok(ExitCode::SUCCESS)
        }
        // As a program ends that SIGINT ends.
        Played::Stopped => Ok(ExitCode::from(130)),
    }
}

/// The colours that the terminal says it has; there is no way to ask it.
fn depth() -> Depth {
    match std::env::var("COLORTERM").as_deref() {
        Ok("truecolor" | "24bit") => Depth::Full,
        _ => Depth::Palette,
    }
}

/// A line on standard error while something takes longer; nothing where that is no terminal.
fn progress(what: &'static str, count: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len}").expect("a constant template");
    ProgressBar::new(count).with_style(style).with_message(what)
}

/// An episode in a few words.
struct Told<'a>(&'a Recording);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recording = self.0;
        let (environment, steps) = (&recording.environment, recording.steps());
        write!(f, "{environment}: {steps} steps, return {}, {}", recording.total_return(), recording.ending())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_told_by_the_name_and_unknown_ones_by_those_that_there_are() {
        let format = |name: &str| Format::of(Path::new(name));
        assert_eq!(format("a/episode.gif").unwrap(), Format::Gif);
        assert_eq!(format("EPISODE.PNG").unwrap(), Format::Png);
        assert_eq!(format("e.apng").unwrap(), Format::Png);
        assert_eq!(format("e.v2.html").unwrap(), Format::Html);
        for unknown in ["episode", "episode.mp4", ".gif"] {
            let error = format(unknown).unwrap_err().to_string();
            assert!(
                error.contains(unknown) && error.contains("end it in .gif or .png (animations) or .html"),
                "{error}"
            );
        }
    }
}
