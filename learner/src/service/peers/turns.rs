//! Turns of large messages: how many bytes of weights are on their way at a time. A message is copied for its stream and stays in
//! memory until its reader has taken it, so readers that do not read would fill it.

use super::Peer;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes on their way at a time, or [`MESSAGES_MIN`] messages where that is more.
const BYTES_MAX: usize = 64 << 20;
/// See [`BYTES_MAX`].
const MESSAGES_MIN: usize = 4;
/// Messages of fewer bytes need no turn: what streams may hold of those is bounded by their number.
pub(super) const SMALL_MAX: usize = 1 << 16;
/// What a turn is counted in, bytes.
const UNIT: usize = 1 << 10;
/// Time that every message has to be read, besides what it has by its size.
const TIME_MIN: Duration = Duration::from_secs(10);
/// Slowest reader that is waited for, bytes a second.
const PACE_MIN: f64 = 1_048_576.0;

/// Hands out turns in the order in which they are asked for.
#[derive(Debug)]
pub struct Turns {
    units: Arc<Semaphore>,
    message_units: usize,
}

/// The right to send a message, to be kept until it is read. It has some time for that: then the connection is closed.
#[derive(Debug)]
pub struct Turn {
    _units: OwnedSemaphorePermit,
    _watch: DropGuard,
}

impl Turns {
    /// For messages of up to so many bytes.
    pub fn new(message_bytes: usize) -> Self {
        let message_units = message_bytes.div_ceil(UNIT);
        let units = (BYTES_MAX / UNIT).max(MESSAGES_MIN.saturating_mul(message_units)).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(units)), message_units }
    }

    /// Waits for a turn to send up to `bytes` to a peer; nothing where they are so few that none is needed.
    pub async fn wait(&self, bytes: usize, peer: &Arc<Peer>) -> Option<Turn> {
        if bytes < SMALL_MAX {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.message_units)).unwrap_or(u32::MAX);
        let units = self.units.clone().acquire_many_owned(units).await;
        let (over, peer) = (CancellationToken::new(), peer.clone());
        let watch = over.clone().drop_guard();
        tokio::spawn(async move {
            let time = TIME_MIN + Duration::from_secs_f64(bytes as f64 / PACE_MIN);
            if tokio::time::timeout(time, over.cancelled()).await.is_err() {
                peer.close("it did not read its weights");
            }
        });
        Some(Turn { _units: units.expect("never closed"), _watch: watch })
    }
}
