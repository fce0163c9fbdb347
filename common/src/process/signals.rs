//! Signals become one cancellation token: the first asks for a clean stop, the second exits at once.

use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended (128 + SIGINT).
const EXIT_CODE_FORCED: i32 = 130;

/// A token that is cancelled by SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal goes away). Must be called inside a tokio runtime.
///
/// # Errors
/// The handlers cannot be installed.
pub fn on_signal() -> std::io::Result<CancellationToken> {
    let token = CancellationToken::new();
    let mut signals = Signals::new()?;
    let cancelled = token.clone();
    tokio::spawn(async move {
        let name = signals.recv().await;
        tracing::info!(signal = name, "stopping; a second signal exits at once");
        cancelled.cancel();
        signals.recv().await;
        std::process::exit(EXIT_CODE_FORCED);
    });
    Ok(token)
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    hang_up: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let [interrupt, terminate, hang_up] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self { interrupt: interrupt?, terminate: terminate?, hang_up: hang_up? })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.hang_up.recv() => "SIGHUP",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn recv(&mut self) -> &'static str {
        // Failing to listen leaves the process to the default handler, which ends it.
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    }
}
