//! Accepting connections, also while the process has no file handle left for another one.

use super::rate::Rate;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Pause after an attempt that failed, doubled up to [`PAUSE_MAX`] while they go on failing.
const PAUSE: Duration = Duration::from_millis(10);
/// See [`PAUSE`]: a handle that is free again is noticed within this.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Warnings of connections that were not accepted: one in ten seconds.
const WARNINGS_PER_SECOND: f64 = 0.1;

/// A listener that is never asked without pause for what it cannot give.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    /// What comes in by it, for warnings.
    what: &'static str,
    pause: Duration,
    warnings: Rate,
}

impl Acceptor {
    /// Accepts `what` ("actors", "requests for metrics").
    pub fn new(listener: TcpListener, what: &'static str) -> Self {
        Self { listener, what, pause: PAUSE, warnings: Rate::new(WARNINGS_PER_SECOND, 1.0, Instant::now()) }
    }

    /// The next connection. Without a free file handle (or memory) the system refuses at once and leaves the connection where
    /// it is, so the next attempt waits.
    pub async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = PAUSE;
                    return accepted;
                }
                // The peer was gone before it was accepted.
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    if self.warnings.try_take(Instant::now()) {
                        let what = self.what;
                        tracing::warn!(
                            %error,
                            "cannot accept {what}: they wait; allow this process more open files (`ulimit -n`)"
                        );
                    }
                    tokio::time::sleep(self.pause).await;
                    self.pause = (self.pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
