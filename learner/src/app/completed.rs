//! The time after a run, in which a completed run's model is served.

use super::running::Running;
use super::{GRACE, Outcome};
use crate::report::sinks::console;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Time between two reports of a completed run, in which nothing changes but who asks.
const IDLE_REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// A run that is over and has its server still.
#[derive(Debug)]
pub struct Completed {
    running: Running,
    /// How training ended.
    reason: String,
    /// Whether somebody watched the progress line.
    had_display: bool,
}

impl Completed {
    pub(super) fn new(running: Running, reason: String, had_display: bool) -> Self {
        Self { running, reason, had_display }
    }

    /// Serves the final model until `stop`; `result` is what became of the run's results. Whoever is told that the run is
    /// completed finds them.
    ///
    /// # Errors
    /// The server or the publisher broke, or the results could not be written.
    pub async fn serve_until(
        mut self,
        stop: &CancellationToken,
        result: anyhow::Result<Outcome>,
    ) -> anyhow::Result<Outcome> {
        match &result {
            Ok(outcome) => self.tell(outcome),
            // What there is can be served all the same; the exit code will tell.
            Err(error) => tracing::error!("serving the final model, but its results are lost: {error:#}"),
        }
        self.running.endpoint.complete().await;
        let broken = self.idle(stop).await;
        let reason = broken.clone().unwrap_or_else(|| "asked to stop, training was over".into());
        self.running.endpoint.announce_stop(reason).await;
        let closed = self.running.close(Instant::now() + GRACE).await;
        match broken.or(closed.err()) {
            Some(reason) => anyhow::bail!("the run was completed, but then {reason}"),
            None => result,
        }
    }

    fn tell(&self, Outcome { summary, .. }: &Outcome) {
        tracing::info!(
            result = self.reason,
            frames = summary.frames,
            version = summary.updates,
            mean_return = summary.mean_return,
            account = %summary.account,
            "training is over; serving the final model until a signal"
        );
        if self.had_display {
            console::note(&format!("{summary}\nserving the final model until a signal (Ctrl-C)"));
        }
    }

    /// Waits for `stop`; tells what broke before.
    async fn idle(&mut self, stop: &CancellationToken) -> Option<String> {
        let Running { pipeline, endpoint, reporting, .. } = &mut self.running;
        let mut tick = tokio::time::interval(IDLE_REPORT_INTERVAL);
        loop {
            tokio::select! {
                Err(panic) = pipeline.publisher.ended(), if pipeline.publisher.is_running() => {
                    return Some(format!("the publisher broke: {panic}"));
                }
                served = &mut endpoint.server => return Some(format!("the gRPC server ended: {served:?}")),
                () = stop.cancelled() => return None,
                _ = tick.tick() => reporting.report(endpoint),
            }
        }
    }
}
