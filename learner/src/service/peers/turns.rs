//! Turns of large messages: how many bytes of weights are on their way at a time. A message is copied for its stream and stays in
//! memory until its reader has taken it, so readers that do not read would fill it.

use super::{Peer, now};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Bytes on their way at a time, and messages where those are more: to connections by which actors push.
const TO_ACTORS: (usize, usize) = (64 << 20, 4);
/// The same to all others: models, and weights that are only watched.
const TO_OTHERS: (usize, usize) = (16 << 20, 2);
/// The same of those that are not read on connections that several actors share.
const STUCK: (usize, usize) = (16 << 20, 2);
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
    to_actors: Arc<Semaphore>,
    to_others: Arc<Semaphore>,
    stuck: Arc<Semaphore>,
    message_units: usize,
}

/// The right to send a message, to be kept until it is read. It has some time for that: then the connection is closed, or if several
/// actors share it and not too much is stuck, the turn is somebody else's.
#[derive(Debug)]
pub struct Turn {
    _units: Arc<Mutex<OwnedSemaphorePermit>>,
    _watch: DropGuard,
}

impl Turns {
    /// For messages of up to so many bytes.
    pub fn new(message_bytes: usize) -> Self {
        let message_units = message_bytes.div_ceil(UNIT);
        let semaphore = |(bytes, messages): (usize, usize)| {
            let units = (bytes / UNIT).max(messages.saturating_mul(message_units)).min(Semaphore::MAX_PERMITS);
            Arc::new(Semaphore::new(units))
        };
        let [to_actors, to_others, stuck] = [TO_ACTORS, TO_OTHERS, STUCK].map(semaphore);
        Self { to_actors, to_others, stuck, message_units }
    }

    /// Waits for a turn to send up to `bytes` to a peer; nothing where they are so few that none is needed.
    pub async fn wait(&self, bytes: usize, peer: &Arc<Peer>) -> Option<Turn> {
        if bytes < SMALL_MAX {
            return None;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT).min(self.message_units)).unwrap_or(u32::MAX);
        let semaphore = if peer.actors(now()) > 0 { &self.to_actors } else { &self.to_others };
        let held = semaphore.clone().acquire_many_owned(units).await.expect("never closed");
        let held = Arc::new(Mutex::new(held));
        let (over, peer, holding, stuck) = (CancellationToken::new(), peer.clone(), held.clone(), self.stuck.clone());
        let watch = over.clone().drop_guard();
        tokio::spawn(async move {
            let time = TIME_MIN + Duration::from_secs_f64(bytes as f64 / PACE_MIN);
            if tokio::time::timeout(time, over.cancelled()).await.is_ok() {
                return;
            }
            // The others do not suffer for one that stands still, as long as there are few of those.
            match stuck.try_acquire_many_owned(units) {
                Ok(stuck) if peer.actors(now()) > 1 => {
                    *holding.lock().expect("no holder of a turn panics") = stuck;
                    tracing::warn!(bytes, "an actor that shares its connection with others does not read its weights");
                }
                _ => peer.close("it did not read its weights"),
            }
        });
        Some(Turn { _units: held, _watch: watch })
    }
}
