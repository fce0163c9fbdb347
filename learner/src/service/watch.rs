//! One actor's weights stream: the newest version whenever it is wanted and there is room, skipping those in between.

use crate::handover::demand::WeightsDemand;
use crate::handover::metrics::WeightsMetrics;
use crate::handover::weights::{Published, PublishedWatch};
use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Encoding, Snapshot};
use impala_common::wire::pb;
use std::sync::Arc;
use tokio::sync::mpsc;
use tonic::Status;

/// Networks from this size on are encoded off the async runtime: below it takes under half a millisecond.
const ENCODE_INLINE_MAX: usize = 1 << 16;

/// Serves the stream until the actor or the publisher is gone.
pub(super) async fn serve(
    mut published: PublishedWatch,
    encoding: Encoding,
    demand: &WeightsDemand,
    snapshots: mpsc::Sender<Result<pb::Snapshot, Status>>,
) {
    let metrics = WeightsMetrics::new();
    // What the actor holds once it has read what was sent: the stream keeps the order.
    let mut held: Option<WeightsVersion> = None;
    loop {
        if let Some(held) = held {
            tokio::select! {
                () = demand.wanted(held) => {}
                () = snapshots.closed() => return,
            }
        }
        let Ok(permit) = snapshots.reserve().await else { return };
        let changed = tokio::select! {
            newest = published.wait_for(|p| p.as_ref().is_some_and(|p| Some(p.version) != held)) => newest,
            () = snapshots.closed() => return,
        };
        let Ok(newest) = changed.map(|newest| newest.clone()) else { return };
        let Some(newest) = newest else { return };
        let version = newest.version;
        let Some(snapshot) = encoded(newest, encoding, held).await else { return };
        metrics.record(&snapshot);
        permit.send(Ok(pb::Snapshot::from(snapshot.as_ref())));
        held = Some(version);
    }
}

/// The snapshot for who holds `held`; nothing where the runtime is ending.
pub(super) async fn encoded(
    published: Arc<Published>,
    encoding: Encoding,
    held: Option<WeightsVersion>,
) -> Option<Arc<Snapshot>> {
    if published.parameter_count() <= ENCODE_INLINE_MAX {
        return Some(published.snapshot(encoding, held));
    }
    tokio::task::spawn_blocking(move || published.snapshot(encoding, held)).await.ok()
}
