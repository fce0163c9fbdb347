//! The watch stream: snapshots in, decoded weights out, the newest only.

use super::{Client, LinkError, SessionEnd, describe};
use crate::backoff::Backoff;
use crate::metrics;
use crate::weights::Weights;
use impala_common::ids::Session;
use impala_common::snapshot::{Decoder, Snapshot};
use impala_common::wire::pb;
use std::sync::Arc;
use tokio::sync::watch::Sender;

/// Networks with more parameters are decoded off the async thread: 64 ki parameters take some 100 microseconds.
const DECODE_INLINE_MAX: usize = 1 << 16;
/// Snapshots in a row that may fail. Each reopens the stream and so begins with a full snapshot: what damages that many is
/// no accident.
const DAMAGED_MAX: u32 = 5;
/// Times in a row that the stream may end without a snapshot before the registration counts as lost.
const ENDED_MAX: u32 = 3;

/// Why one stream ended.
enum StreamEnd {
    /// A snapshot could not be decoded.
    Damaged(String),
    /// The learner closed it, or it broke.
    Ended(String),
}

/// Watches until the learner is lost or its weights cannot be read.
pub(super) async fn watch(
    client: Client,
    session: Session,
    parameter_count: usize,
    weights: Sender<Option<Arc<Weights>>>,
) -> Result<SessionEnd, LinkError> {
    let mut backoff = Backoff::new(session.0);
    let (mut damaged, mut ended) = (0, 0);
    loop {
        let mut stream =
            Watch { decoder: Decoder::new(parameter_count), parameter_count, weights: &weights, received: 0 };
        let end = stream.run(client.clone(), session).await;
        if stream.received > 0 {
            (damaged, ended) = (0, 0);
            backoff.reset();
        }
        match end {
            StreamEnd::Damaged(reason) => {
                damaged += 1;
                metrics::record_snapshot_error();
                tracing::warn!(reason, "asking for the full weights again");
                if damaged >= DAMAGED_MAX {
                    return Err(LinkError::Weights { attempts: damaged, reason });
                }
            }
            StreamEnd::Ended(reason) => {
                ended += 1;
                if ended >= ENDED_MAX {
                    return Ok(SessionEnd::Disconnected(reason));
                }
            }
        }
        tokio::time::sleep(backoff.next_wait()).await;
    }
}

/// One watch stream.
struct Watch<'a> {
    decoder: Decoder,
    parameter_count: usize,
    weights: &'a Sender<Option<Arc<Weights>>>,
    /// Snapshots decoded.
    received: u64,
}

impl Watch<'_> {
    async fn run(&mut self, mut client: Client, session: Session) -> StreamEnd {
        let mut snapshots = match client.watch_weights(pb::WatchRequest { session: session.0 }).await {
            Ok(response) => response.into_inner(),
            Err(status) => return StreamEnd::Ended(describe(&status)),
        };
        loop {
            let message = match snapshots.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return StreamEnd::Ended("the learner closed the stream of weights".into()),
                Err(status) => return StreamEnd::Ended(describe(&status)),
            };
            if let Err(reason) = self.take(message).await {
                return StreamEnd::Damaged(reason);
            }
            self.received += 1;
        }
    }

    async fn take(&mut self, message: pb::Snapshot) -> Result<(), String> {
        let snapshot = Snapshot::try_from(message).map_err(|error| error.to_string())?;
        let (version, is_delta, bytes) = (snapshot.version, snapshot.base.is_some(), snapshot.payload.len());
        let parameters = if self.parameter_count <= DECODE_INLINE_MAX {
            self.decoder.decode(&snapshot)
        } else {
            let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(self.parameter_count));
            let decoding = tokio::task::spawn_blocking(move || {
                let parameters = decoder.decode(&snapshot);
                (decoder, parameters)
            });
            let (decoder, parameters) = decoding.await.expect("decoding does not panic, whatever the bytes");
            self.decoder = decoder;
            parameters
        };
        let parameters = parameters.map_err(|error| error.to_string())?;
        metrics::record_snapshot(version, is_delta, bytes);
        self.weights.send_replace(Some(Arc::new(Weights { version, parameters })));
        Ok(())
    }
}
