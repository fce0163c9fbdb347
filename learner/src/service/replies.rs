//! What goes back on a trajectory stream, in protobuf: receipts, and with them the newest weights, chosen and encoded when
//! the stream has room for them.

use super::peers::turns::Turn;
use super::peers::{Peer, receiving_cost};
use super::{unknown_session, watch};
use crate::handover::admission::Reply;
use crate::handover::ledger::Disposition;
use crate::handover::metrics::WeightsMetrics;
use crate::handover::run_state::Finish;
use crate::handover::weights::{Delivery, Published, PublishedWatch};
use futures_util::stream::unfold;
use impala_common::ids::WeightsVersion;
use impala_common::wire::pb;
use pb::push_reply::Message;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tonic::Status;

/// One stream's answers.
#[derive(Debug)]
pub(super) struct Outbound {
    replies: mpsc::Receiver<Reply>,
    published: PublishedWatch,
    peer: Arc<Peer>,
    /// Of the newest message, if it is large, while it is read.
    turn: Option<Turn>,
    /// How its actor gets weights, once it is known; nothing for one that does not get them here.
    delivery: Option<Delivery>,
    /// What the actor holds once it has read what was sent: the stream keeps the order.
    held: Option<WeightsVersion>,
    metrics: WeightsMetrics,
}

impl Outbound {
    pub(super) fn new(replies: mpsc::Receiver<Reply>, published: PublishedWatch, peer: Arc<Peer>) -> Self {
        let metrics = WeightsMetrics::new();
        Self { replies, published, peer, turn: None, delivery: None, held: None, metrics }
    }

    /// The messages, each of which is made when it is asked for: then the one before it has been read, but for a piece.
    pub(super) fn messages(self) -> impl Stream<Item = Result<pb::PushReply, Status>> {
        unfold(self, async |mut outbound| {
            let message = outbound.next().await?;
            Some((message.map(|message| pb::PushReply { message: Some(message) }), outbound))
        })
    }

    /// The next message, once there is one.
    async fn next(&mut self) -> Option<Result<Message, Status>> {
        self.turn = None;
        loop {
            let reply = self.replies.recv().await?;
            if let Some(message) = self.message(reply).await.transpose() {
                return Some(message);
            }
        }
    }

    /// The message for a reply, if there is one.
    async fn message(&mut self, reply: Reply) -> Result<Option<Message>, Status> {
        Ok(match reply {
            Reply::Opened(delivery) => {
                self.delivery = Some(delivery).filter(|delivery| delivery.with_receipts);
                self.full_weights().await
            }
            Reply::WeightsDamaged => self.full_weights().await,
            Reply::Receipt { sequence, disposition, oldest } => {
                let disposition = match disposition {
                    Disposition::Trained => pb::Disposition::Trained,
                    Disposition::Stale => pb::Disposition::Stale,
                    // An invalid trajectory ends the stream with an error; it has no receipt.
                    Disposition::Invalid => pb::Disposition::Unspecified,
                    Disposition::Shutdown => pb::Disposition::Shutdown,
                };
                let (weights_version, weights) = match disposition {
                    pb::Disposition::Shutdown => (WeightsVersion(0), None),
                    _ => self.next_weights(oldest).await,
                };
                let (sequence, weights_version) = (sequence.0, weights_version.0);
                Some(Message::Receipt(pb::Receipt {
                    sequence,
                    disposition: disposition.into(),
                    weights_version,
                    weights,
                }))
            }
            Reply::Evaluate(assignment) => {
                let bytes = assignment.weights.payload.len();
                self.turn = self.peer.turn(bytes).await;
                self.peer.delivered(receiving_cost(bytes));
                Some(Message::Evaluate(assignment.as_ref().into()))
            }
            Reply::Finish(Finish { reason, actors_wait }) => {
                Some(Message::Finish(pb::Finish { reason, wait: actors_wait }))
            }
            Reply::UnknownSession => return Err(unknown_session()),
            Reply::Violation(message) => return Err(Status::invalid_argument(message)),
        })
    }

    /// Everything, for an actor that gets its weights here and holds none.
    async fn full_weights(&mut self) -> Option<Message> {
        self.held = None;
        let delivery = self.delivery?;
        let newest = self.newest_from(WeightsVersion(0)).await?;
        self.snapshot(newest, delivery).await.map(Message::Weights)
    }

    /// The version that is to make the next trajectory, and its weights if they are to go with the receipt. An actor whose
    /// weights come by another stream waits for them itself.
    async fn next_weights(&mut self, oldest: WeightsVersion) -> (WeightsVersion, Option<pb::Snapshot>) {
        let Some(delivery) = self.delivery else {
            let newest = self.published.borrow().as_ref().map_or(oldest, |newest| newest.version);
            return (newest.max(oldest), None);
        };
        // The publisher of a large network may be behind: its actor would make a trajectory that is refused.
        let Some(newest) = self.newest_from(oldest).await else { return (oldest, None) };
        let version = newest.version;
        if self.held == Some(version) {
            return (version, None);
        }
        match self.snapshot(newest, delivery).await {
            // It waited for its turn, and there are newer ones.
            Some(snapshot) => (WeightsVersion(snapshot.version), Some(snapshot)),
            None => (version, None),
        }
    }

    /// The newest version, once it is `oldest` or newer; nothing after the end.
    async fn newest_from(&mut self, oldest: WeightsVersion) -> Option<Arc<Published>> {
        let is_new = |newest: &Option<Arc<Published>>| newest.as_ref().is_some_and(|newest| newest.version >= oldest);
        self.published.wait_for(is_new).await.ok()?.clone()
    }

    /// These or newer weights, once the stream has its turn.
    async fn snapshot(&mut self, newest: Arc<Published>, delivery: Delivery) -> Option<pb::Snapshot> {
        let mut newest = newest;
        self.turn = self.peer.turn(newest.bytes_max(delivery)).await;
        if self.turn.is_some() {
            newest = self.published.borrow().clone()?;
        }
        let version = newest.version;
        let snapshot = watch::encoded(newest, delivery, self.held).await?;
        self.metrics.record(&snapshot);
        self.peer.delivered(receiving_cost(snapshot.payload.len()));
        self.held = Some(version);
        Some(snapshot.as_ref().into())
    }
}
