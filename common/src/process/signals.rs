//! Signals become one cancellation token: the first asks for a clean stop, a second one of a person exits at once.

use tokio_util::sync::CancellationToken;

/// Exit code of a process that a second signal ended (128 + SIGINT).
const EXIT_CODE_FORCED: i32 = 130;

/// A token that is cancelled by SIGINT (Ctrl-C), SIGTERM or SIGHUP (the terminal goes away; not where that is ignored, as with
/// `nohup`). A second SIGINT or SIGTERM exits at once; of SIGHUP, which both kernel and shell may send, there may be any number. Must
/// be called inside a tokio runtime.
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
        signals.recv_impatient().await;
        std::process::exit(EXIT_CODE_FORCED);
    });
    Ok(token)
}

/// SIGXFSZ, where it has a number of its own: on Linux (but for MIPS and SPARC), macOS and the BSDs.
#[cfg(unix)]
const FILE_SIZE: i32 = 25;

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
    /// Told when a file would be larger than this process may write: the write says it too, and nobody has to die of it.
    _file_size: Option<tokio::signal::unix::Signal>,
    /// None where whoever started this process wants it to outlive its terminal.
    hang_up: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let hang_up = (!ignores_hang_up()).then(|| signal(SignalKind::hangup())).transpose()?;
        let [interrupt, terminate] = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
        let _file_size = signal(SignalKind::from_raw(FILE_SIZE)).ok();
        Ok(Self { interrupt: interrupt?, terminate: terminate?, _file_size, hang_up })
    }

    async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
            () = Self::hung_up(&mut self.hang_up) => "SIGHUP",
        }
    }

    /// The next one that somebody sends who does not want to wait.
    async fn recv_impatient(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    async fn hung_up(signal: &mut Option<tokio::signal::unix::Signal>) {
        match signal {
            Some(signal) => drop(signal.recv().await),
            None => std::future::pending().await,
        }
    }
}

/// Whether SIGHUP was ignored when this process began; false where the system does not tell.
#[cfg(unix)]
fn ignores_hang_up() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
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

    async fn recv_impatient(&mut self) {
        self.recv().await;
    }
}
