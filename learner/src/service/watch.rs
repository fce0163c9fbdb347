//! One stream of weights alone: every version as soon as there is room for it, skipping those in between. For deterministic
//! runs, whose actors wait for a version that may be published after their receipt, for observers, and for actors that do
//! not take weights with their receipts.

use super::peers::turns::Turn;
use super::peers::{Peer, VERSION_COST, now, receiving_cost};
use crate::handover::metrics::WeightsMetrics;
use crate::handover::weights::{Delivery, Published, PublishedWatch, SMALL_NETWORK_MAX};
use futures_util::stream::unfold;
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::Snapshot;
use impala_common::wire::pb;
use std::sync::Arc;
use tokio_stream::Stream;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// What goes out on one stream.
pub(super) struct Outbound {
    published: PublishedWatch,
    peer: Arc<Peer>,
    delivery: Delivery,
    /// A deterministic run cannot go on before its actors have read every version that they wait for; others skip those that come
    /// while they have used up what they may cost.
    is_needed: bool,
    /// Cancelled when the session ends, or has another stream.
    over: CancellationToken,
    /// Of the newest message, if it is large, while it is read.
    turn: Option<Turn>,
    /// What the actor holds once it has read what was sent: the stream keeps the order.
    held: Option<WeightsVersion>,
    metrics: WeightsMetrics,
}

impl Outbound {
    pub(super) fn new(
        published: PublishedWatch,
        peer: Arc<Peer>,
        delivery: Delivery,
        is_needed: bool,
        over: CancellationToken,
    ) -> Self {
        let metrics = WeightsMetrics::new();
        Self { published, peer, delivery, is_needed, over, turn: None, held: None, metrics }
    }

    /// The messages, each of which is made when it is asked for: then the one before it has been read, but for a piece. They end with
    /// the session, or the publisher.
    pub(super) fn messages(self) -> impl Stream<Item = Result<pb::Snapshot, Status>> {
        unfold(self, async |mut outbound| {
            let over = outbound.over.clone();
            let snapshot = over.run_until_cancelled(outbound.next()).await??;
            Some((Ok(snapshot.as_ref().into()), outbound))
        })
    }

    /// Newer weights than the stream has had, once there are some and it may have them.
    async fn next(&mut self) -> Option<Arc<Snapshot>> {
        self.turn = None;
        let held = self.held;
        let is_new = |newest: &Option<Arc<Published>>| newest.as_ref().is_some_and(|p| Some(p.version) != held);
        let mut newest = self.published.wait_for(is_new).await.ok()?.clone()?;
        if !self.is_needed {
            let wait = self.peer.cost(VERSION_COST, now());
            // The timer rounds up to a millisecond, nothing as well.
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
        self.turn = self.peer.turn(newest.bytes_max(self.delivery)).await;
        newest = self.published.borrow_and_update().clone().unwrap_or(newest);
        let version = newest.version;
        let snapshot = encoded(newest, self.delivery, self.held).await?;
        self.metrics.record(&snapshot);
        self.peer.delivered(receiving_cost(snapshot.payload.len()));
        self.held = Some(version);
        Some(snapshot)
    }
}

/// The snapshot for who holds `held`; nothing where the runtime is ending. That of a small network is encoded here: it takes
/// under half a millisecond.
pub(super) async fn encoded(
    published: Arc<Published>,
    delivery: Delivery,
    held: Option<WeightsVersion>,
) -> Option<Arc<Snapshot>> {
    if published.parameter_count() <= SMALL_NETWORK_MAX {
        return Some(published.snapshot(delivery, held));
    }
    tokio::task::spawn_blocking(move || published.snapshot(delivery, held)).await.ok()
}

#[cfg(test)]
mod tests {
    use super::super::peers::{Peers, Sizes};
    use super::*;
    use impala_common::snapshot::Encoding;
    use std::pin::pin;
    use std::time::Duration;
    use tokio_stream::StreamExt;

    /// Parameters that need a turn.
    const PARAMETERS: usize = 1 << 14;

    fn version(version: u64) -> Option<Arc<Published>> {
        Some(Arc::new(Published::new(WeightsVersion(version), vec![0.5; PARAMETERS])))
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_lasts_from_its_message_until_the_next_one_is_asked_for() {
        let peers = Peers::new(Sizes { window: 1, weights: 4 * PARAMETERS }, 10_000, now());
        let (peer, _) = peers.connect(now());
        let (publisher, published) = tokio::sync::watch::channel(version(1));
        let delivery = Delivery { encoding: Encoding::F32, is_stored: true, with_receipts: false };
        let over = CancellationToken::new();
        let outbound = Outbound::new(published, peer.clone(), delivery, true, over.clone());
        let mut messages = pin!(outbound.messages());
        let minute = Duration::from_secs(60);

        messages.next().await.unwrap().unwrap();
        // It is read, and there is no other.
        assert!(tokio::time::timeout(minute, messages.next()).await.is_err());
        assert!(!peer.is_closed());

        publisher.send(version(2)).unwrap();
        assert_eq!(messages.next().await.unwrap().unwrap().version, 2);
        publisher.send(version(3)).unwrap();
        // Not read: nothing more is asked for.
        let closed = tokio::time::timeout(minute, peer.closed().cancelled()).await;
        assert!(closed.is_ok() && peer.is_closed());

        over.cancel();
        assert!(messages.next().await.is_none(), "the session is over");
    }
}
