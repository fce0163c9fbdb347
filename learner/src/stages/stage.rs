//! A stage: a named thread whose end, by return or by panic, can be awaited.

use anyhow::Context;
use impala_common::process::panics;
use std::panic::{AssertUnwindSafe, catch_unwind};
use tokio::sync::oneshot;

/// A running stage that gives a `T`.
#[derive(Debug)]
pub struct Stage<T> {
    end: oneshot::Receiver<Result<T, String>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

/// Starts a stage.
///
/// # Errors
/// The system gives no thread.
pub fn spawn<T: Send + 'static>(
    name: &'static str,
    work: impl FnOnce() -> T + Send + 'static,
) -> anyhow::Result<Stage<T>> {
    let (sender, end) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.into()).spawn(move || {
        // The unwound state is dropped with the closure: nobody sees it half-changed.
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| panics::message(panic.as_ref()));
        let _ = sender.send(result);
    });
    let thread = thread.with_context(|| format!("cannot start the thread `{name}`"))?;
    Ok(Stage { end, thread: Some(thread) })
}

impl<T> Stage<T> {
    /// A stage that this run does without: it has ended.
    pub fn none() -> Self {
        Self { end: oneshot::channel().1, thread: None }
    }

    /// Whether the end has not been awaited yet.
    pub fn is_running(&self) -> bool {
        self.thread.is_some()
    }

    /// Waits for the end: what the stage gives, or the message of its panic. `None` if that has been taken before.
    ///
    /// # Errors
    /// The stage panicked.
    pub async fn ended(&mut self) -> Result<Option<T>, String> {
        if self.thread.is_none() {
            return Ok(None);
        }
        let result = (&mut self.end).await.unwrap_or_else(|_| Err("it ended without a result".into()));
        if let Some(thread) = self.thread.take() {
            // The result was its last act.
            let _ = thread.join();
        }
        result.map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stage_gives_its_result_or_the_message_of_its_panic() {
        let mut seven = spawn("ok", || 7).unwrap();
        assert_eq!(seven.ended().await, Ok(Some(7)));
        assert!(!seven.is_running());
        assert_eq!(seven.ended().await, Ok(None));
        let mut broken = spawn("broken", || -> u8 { panic!("no {}", "way") }).unwrap();
        assert_eq!(broken.ended().await, Err("no way".into()));
    }
}
