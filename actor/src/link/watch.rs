//! The watch stream: weights on a stream of their own, in deterministic runs and from learners that do not send them with
//! receipts.

use super::inbox::{Inbox, WeightsSender};
use super::{Client, DAMAGED_MAX, LinkError, SessionEnd, describe};
use crate::backoff::Backoff;
use crate::metrics;
use impala_common::ids::Session;
use impala_common::snapshot::ParameterCount;
use impala_common::wire::{pb, session_to_pb};

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
    parameter_count: ParameterCount,
    weights: WeightsSender,
) -> Result<SessionEnd, LinkError> {
    let mut backoff = Backoff::new(session.0 as u64);
    let (mut damaged, mut ended) = (0, 0);
    loop {
        let mut received = 0;
        let end = run(client.clone(), session, Inbox::new(parameter_count), &weights, &mut received).await;
        if received > 0 {
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

/// One stream; counts the snapshots that could be decoded.
async fn run(
    mut client: Client,
    session: Session,
    mut inbox: Inbox,
    weights: &WeightsSender,
    received: &mut u64,
) -> StreamEnd {
    let mut snapshots = match client.watch_weights(pb::WatchRequest { session: session_to_pb(session) }).await {
        Ok(response) => response.into_inner(),
        Err(status) => return StreamEnd::Ended(describe(&status)),
    };
    loop {
        let message = match snapshots.message().await {
            Ok(Some(message)) => message,
            Ok(None) => return StreamEnd::Ended("the learner closed the stream of weights".into()),
            Err(status) => return StreamEnd::Ended(describe(&status)),
        };
        let taken;
        (inbox, taken) = inbox.take(message, weights.clone()).await;
        if let Err(reason) = taken {
            return StreamEnd::Damaged(reason);
        }
        *received += 1;
    }
}
