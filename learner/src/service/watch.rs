//! One stream of weights alone: every version as soon as there is room for it, skipping those in between. For deterministic
//! runs, whose actors wait for a version that may be published after their receipt, for observers, and for actors that do
//! not take weights with their receipts.

use crate::handover::metrics::WeightsMetrics;
use crate::handover::weights::{Delivery, Published, PublishedWatch, SMALL_NETWORK_MAX};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::Snapshot;
use impala_common::wire::pb;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

/// Serves the stream until the actor or the publisher is gone.
pub(super) async fn serve(
    mut published: PublishedWatch,
    delivery: Delivery,
    snapshots: mpsc::Sender<Result<pb::Snapshot, Status>>,
) {
    let metrics = WeightsMetrics::new();
    // What the actor holds once it has read what was sent: the stream keeps the order.
    let mut held: Option<WeightsVersion> = None;
    loop {
        let Ok(permit) = snapshots.reserve().await else { return };
        let changed = tokio::select! {
            newest = published.wait_for(|p| p.as_ref().is_some_and(|p| Some(p.version) != held)) => newest,
            () = snapshots.closed() => return,
        };
        let Ok(newest) = changed.map(|newest| newest.clone()) else { return };
        let Some(newest) = newest else { return };
        let version = newest.version;
        let Some(snapshot) = encoded(newest, delivery, held).await else { return };
        metrics.record(&snapshot);
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
