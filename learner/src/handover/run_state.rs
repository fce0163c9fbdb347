//! How a run stands, for everyone who asks: the service tells it to actors and people, the metrics endpoint to probes. `app`
//! alone changes it, and only forwards: training, its end, perhaps a completed run that is served on, the shut-down.

pub use impala_common::status::RunState;
use std::sync::OnceLock;
use tokio_util::sync::CancellationToken;

/// What connected actors are told at the end of training.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finish {
    /// How training ended.
    pub reason: String,
    /// Whether they are to wait and register again, instead of ending.
    pub actors_wait: bool,
}

/// Shared by `app`, which changes it, and by whoever tells of it.
#[derive(Debug, Default)]
pub struct Standing {
    finish: OnceLock<Finish>,
    finished: CancellationToken,
    completed: CancellationToken,
    stop_reason: OnceLock<String>,
    stopping: CancellationToken,
}

impl Standing {
    /// Training is over: no actor is taken any more, and those that are here are told. Only the first call counts.
    pub fn finish(&self, finish: Finish) {
        let _ = self.finish.set(finish);
        self.finished.cancel();
    }

    /// The results of a finished training are written and the final model is served.
    pub fn complete(&self) {
        self.completed.cancel();
    }

    /// The process shuts down. Only the first reason counts.
    pub fn stop(&self, reason: String) {
        let _ = self.stop_reason.set(reason);
        self.stopping.cancel();
    }

    /// Waits for the end of training; gives what actors are told.
    pub async fn finished(&self) -> Finish {
        self.finished.cancelled().await;
        self.finish.get().cloned().expect("set before the token is cancelled")
    }

    /// Whether training is over.
    pub fn is_finished(&self) -> bool {
        self.finished.is_cancelled()
    }

    /// Whether the process shuts down.
    pub fn is_stopping(&self) -> bool {
        self.stopping.is_cancelled()
    }

    /// The state, with `actors` connected of `needed` that a batch needs.
    pub fn state(&self, actors: usize, needed: usize) -> RunState {
        match () {
            () if self.is_stopping() => RunState::Stopping,
            () if self.completed.is_cancelled() => RunState::Completed,
            // Results are being written.
            () if self.is_finished() => RunState::Training,
            () if actors < needed.max(1) => RunState::Waiting,
            () => RunState::Training,
        }
    }

    /// Why the state is what it is; empty while training goes on.
    pub fn reason(&self, actors: usize, needed: usize) -> String {
        let needed = needed.max(1);
        let finish = || self.finish.get().map_or("", |finish| &finish.reason);
        match self.state(actors, needed) {
            RunState::Stopping => self.stop_reason.get().cloned().unwrap_or_default(),
            RunState::Completed => finish().to_owned(),
            RunState::Training if self.is_finished() => format!("{}; results are being written", finish()),
            RunState::Training => String::new(),
            RunState::Waiting if needed == 1 => "no actor is connected".into(),
            RunState::Waiting => format!("{actors} of the {needed} actors that a batch needs are connected"),
        }
    }

    /// Whether actors may register or get weights, with a sentence: what a readiness probe asks.
    ///
    /// # Errors
    /// They may not; the sentence says why.
    pub fn readiness(&self) -> Result<String, String> {
        let reason = self.reason(usize::MAX, 0);
        match self.state(usize::MAX, 0) {
            RunState::Stopping => Err(format!("stopping: {reason}")),
            RunState::Completed => Ok(format!("completed: {reason}")),
            RunState::Waiting | RunState::Training => Ok("takes actors".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_waits_trains_is_completed_and_stops() {
        let standing = Standing::default();
        let told = |actors, needed| (standing.state(actors, needed).name(), standing.reason(actors, needed));
        assert_eq!(told(0, 1), ("waiting", "no actor is connected".into()));
        assert_eq!(told(1, 2), ("waiting", "1 of the 2 actors that a batch needs are connected".into()));
        assert_eq!(told(2, 2), ("training", String::new()));
        standing.finish(Finish { reason: "solved".into(), actors_wait: true });
        assert_eq!(told(0, 1), ("training", "solved; results are being written".into()));
        standing.complete();
        assert_eq!(told(0, 1), ("completed", "solved".into()));
        assert_eq!(standing.readiness(), Ok("completed: solved".into()));
        standing.stop("asked to stop".into());
        assert_eq!(told(0, 1), ("stopping", "asked to stop".into()));
        assert_eq!(standing.readiness(), Err("stopping: asked to stop".into()));
    }
}
