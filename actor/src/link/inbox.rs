//! Snapshots in, decoded weights out, the newest only; whichever stream the snapshots come by.

use crate::metrics;
use crate::weights::Weights;
use impala_common::snapshot::{Decoder, ParameterCount, Snapshot};
use impala_common::wire::pb;
use std::sync::Arc;
use tokio::sync::watch::Sender;

/// Networks with more parameters are decoded off the async thread: 64 ki parameters take some 100 microseconds.
const DECODE_INLINE_MAX: usize = 1 << 16;

/// Where weights go.
pub(super) type WeightsSender = Sender<Option<Arc<Weights>>>;

/// Decodes the snapshots of one stream.
#[derive(Debug)]
pub(super) struct Inbox {
    decoder: Decoder,
    parameter_count: ParameterCount,
}

impl Inbox {
    /// Holds nothing, so the first snapshot must be a full one.
    pub(super) fn new(parameter_count: ParameterCount) -> Self {
        Self { decoder: Decoder::new(parameter_count), parameter_count }
    }

    /// Decodes a snapshot and passes the weights on; gives the inbox back, with the reason if that failed.
    pub(super) async fn take(mut self, message: pb::Snapshot, weights: WeightsSender) -> (Self, Result<(), String>) {
        let snapshot = match Snapshot::try_from(message) {
            Ok(snapshot) => snapshot,
            Err(error) => return (self, Err(error.to_string())),
        };
        let (version, is_delta, bytes) = (snapshot.version, snapshot.base.is_some(), snapshot.payload.len());
        let (inbox, parameters) = if self.parameter_count.all <= DECODE_INLINE_MAX {
            let parameters = self.decoder.decode(&snapshot);
            (self, parameters)
        } else {
            let decoding = tokio::task::spawn_blocking(move || {
                let parameters = self.decoder.decode(&snapshot);
                (self, parameters)
            });
            decoding.await.expect("decoding does not panic, whatever the bytes")
        };
        let taken = parameters.map_err(|error| error.to_string()).map(|parameters| {
            metrics::record_snapshot(version, is_delta, bytes);
            weights.send_replace(Some(Arc::new(Weights { version, parameters })));
        });
        (inbox, taken)
    }
}
