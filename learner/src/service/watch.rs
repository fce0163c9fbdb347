//! One stream of weights alone: every version as soon as there is room for it, skipping those in between. For deterministic
//! runs, whose actors wait for a version that may be published after their receipt, for observers, and for actors that do
//! not take weights with their receipts.

use super::peers::turns::TurnSlot;
use super::peers::{Peer, VERSION_COST, now, receiving_cost};
use crate::handover::metrics::WeightsMetrics;
use crate::handover::weights::{Delivery, Published, PublishedWatch, SMALL_NETWORK_MAX};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::Snapshot;
use impala_common::wire::pb;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Whom the weights go to.
pub(super) struct Reader {
    pub(super) peer: Arc<Peer>,
    pub(super) delivery: Delivery,
    /// Where it holds its turn for a large message.
    pub(super) turn: TurnSlot,
    /// A deterministic run cannot go on before it has read every version that it waits for; others skip those that come while
    /// they have used up what they may cost.
    pub(super) is_needed: bool,
    /// Cancelled when its session ends, or has another stream.
    pub(super) over: CancellationToken,
}

/// Serves the stream until the actor or the publisher is gone.
pub(super) async fn serve(
    mut published: PublishedWatch,
    reader: Reader,
    snapshots: mpsc::Sender<Result<pb::Snapshot, Status>>,
) {
    let Reader { peer, delivery, turn, is_needed, over } = reader;
    let metrics = WeightsMetrics::new();
    // What the actor holds once it has read what was sent: the stream keeps the order.
    let mut held: Option<WeightsVersion> = None;
    loop {
        let permit = tokio::select! {
            permit = snapshots.reserve() => permit,
            () = over.cancelled() => return,
        };
        let Ok(permit) = permit else { return };
        let changed = tokio::select! {
            newest = published.wait_for(|p| p.as_ref().is_some_and(|p| Some(p.version) != held)) => newest,
            () = snapshots.closed() => return,
            () = over.cancelled() => return,
        };
        let Ok(newest) = changed.map(|newest| newest.clone()) else { return };
        let Some(mut newest) = newest else { return };
        let wait = if is_needed { Duration::ZERO } else { peer.cost(VERSION_COST, now()) };
        let until_turn = async {
            tokio::time::sleep(wait).await;
            peer.turn(newest.bytes_max(delivery)).await
        };
        let its_turn = tokio::select! {
            its_turn = until_turn => its_turn,
            () = snapshots.closed() => return,
        };
        if let Some(its_turn) = its_turn {
            turn.hold(its_turn);
        }
        newest = published.borrow_and_update().clone().unwrap_or(newest);
        let version = newest.version;
        let Some(snapshot) = encoded(newest, delivery, held).await else { return };
        metrics.record(&snapshot);
        peer.delivered(receiving_cost(snapshot.payload.len()));
        permit.send(Ok(pb::Snapshot::from(snapshot.as_ref())));
        held = Some(version);
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
