//! The console: results on standard output; on standard error notes and the progress line, which is refreshed in place on a
//! terminal, a line every few seconds otherwise.

use crate::report::View;
use anyhow::Context;
use impala_common::process::errors::{self, Level};
use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::Write;
use std::time::{Duration, Instant};

/// Time between two lines where there is no terminal to refresh one in place.
const LINE_INTERVAL: Duration = Duration::from_secs(5);

/// Shows the progress of one run.
#[derive(Debug)]
pub struct Console {
    line: ProgressBar,
    last_plain: Instant,
}

impl Console {
    /// A display on standard error.
    pub fn new() -> Self {
        let line = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        // What limits the run stands below: one line would be wider than a terminal.
        line.set_style(ProgressStyle::with_template("{wide_msg}\n{prefix}").expect("a constant template"));
        Self { line, last_plain: Instant::now() }
    }

    /// Shows the present state.
    pub fn show(&mut self, view: &View<'_>) {
        let (text, limit) = (describe(view), &view.diagnosis.brief);
        if !self.line.is_hidden() {
            self.line.set_prefix(limit.clone());
            self.line.set_message(text);
        } else if self.last_plain.elapsed() >= LINE_INTERVAL {
            self.last_plain = Instant::now();
            let separator = if limit.is_empty() { "" } else { "; " };
            note(&format!("{text}{separator}{limit}"));
        }
    }

    /// Takes the line away.
    pub fn clear(&self) {
        self.line.finish_and_clear();
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

/// Results go to standard output, so that they can be piped.
///
/// # Errors
/// Standard output cannot be written; a reader that has gone is none.
pub fn print(text: &str) -> anyhow::Result<()> {
    print_more(text).map(drop)
}

/// The same for who has more to print; tells whether anybody reads on.
///
/// # Errors
/// Standard output cannot be written.
pub fn print_more(text: &str) -> anyhow::Result<bool> {
    let mut output = std::io::stdout().lock();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true).context("cannot write to standard output"),
    }
}

/// A line for the person who watches; standard output is left to the results.
pub fn note(text: &str) {
    errors::tell(Level::Info, text);
}

fn describe(view: &View<'_>) -> String {
    let View { progress, account, actors_connected, frames_per_second, time_left, .. } = view;
    let mean = progress.mean_return().map_or("-".into(), |mean| format!("{mean:.1}"));
    let verifying = if progress.is_verifying { " solved?" } else { "" };
    let evaluated = progress.evaluations.last.map_or(String::new(), |last| format!(" eval {:.1}", last.score.mean));
    let effective = match progress.vitals.updates {
        0 => String::new(),
        // How busy the learner is, the doctor tells where it matters.
        _ => format!(", ess {:.0}%", progress.vitals.effective_samples * 100.0),
    };
    let refused = match account.refused().saturating_add(account.lost) {
        0 => String::new(),
        count => format!(", {count} refused or lost"),
    };
    format!(
        "{} frames, {:.0}k/s, return {mean}{evaluated}{verifying}, lag {:.1}{effective}, {actors_connected} actors, {}s left{refused}",
        HumanCount(progress.frames),
        frames_per_second / 1e3,
        progress.vitals.policy_lag,
        time_left.as_secs(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::ledger::Account;
    use crate::handover::progress::{Evaluated, Progress};
    use crate::handover::tally::Laggards;
    use crate::learn::ratios::RatioStatistics;
    use crate::learn::step::StepReport;
    use crate::report::doctor::Diagnosis;
    use crate::report::shares::Shares;
    use impala_policy::evaluate::Score;

    #[test]
    fn the_line_tells_what_a_person_asks_for() {
        let mut progress = Progress::new(475.0);
        let untrained = progress.clone();
        let view = View {
            progress: &untrained,
            account: Account { produced: 3, lost: 3, ..Account::default() },
            actors_connected: 2,
            frames_per_second: 12_345.6,
            busy: 0.5,
            shares: Shares::default(),
            diagnosis: &Diagnosis::default(),
            laggards: &Laggards::default(),
            time_left: Duration::from_secs(90),
        };
        let line = describe(&view);
        assert!(line.split(", 3 refused").next().unwrap().len() < 80, "{line}");
        for part in ["0 frames", "12k/s", "return -", "lag 0.0,", "2 actors", "3 refused or lost", "90s left"] {
            assert!(line.contains(part), "{part}: {line}");
        }
        let mut verifying = progress.clone();
        verifying.is_verifying = true;
        let line = describe(&View { progress: &verifying, ..view });
        assert!(line.contains("return - solved?, lag"), "{line}");
        let score = Score { episodes: 100, mean: 498.25, min: 300.0, max: 500.0, cut: 0 };
        progress.evaluations.last = Some(Evaluated { frames: 80, updates: 1, score });
        assert!(describe(&View { progress: &progress, ..view }).contains("return - eval 498.2, lag"), "{line}");
        progress.evaluations.last = None;
        let ratios = RatioStatistics { effective: 0.934, clipped: 0.4, ..RatioStatistics::default() };
        progress.vitals.record_step(&StepReport { ratios, ..StepReport::default() });
        progress.vitals.record_batch(&[2, 3], 16);
        let line = describe(&View { progress: &progress, account: Account::default(), ..view });
        assert!(line.contains("lag 2.5, ess 93%,") && line.len() < 80, "{line}");
    }
}
