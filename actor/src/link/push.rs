//! The push stream: trajectories out, receipts in and weights with them, farewell at the end.

use super::inbox::{Inbox, WeightsSender};
use super::{Client, DAMAGED_MAX, LinkError, Receipts, SessionEnd, describe};
use crate::evaluation::Evaluations;
use crate::metrics;
use crate::window::Window;
use impala_common::evaluation::Assignment;
use impala_common::ids::{Sequence, Session, WeightsVersion};
use impala_common::snapshot::ParameterCount;
use impala_common::trajectory::Trajectory;
use impala_common::wire::{WireError, pb, session_to_pb};
use pb::push_reply::Message as Reply;
use pb::push_request::Message as Request;
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{self, Receiver};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};

/// Longest wait, once the end is asked for, until the last receipts have come and the learner closes the stream.
pub const FAREWELL_GRACE: Duration = Duration::from_secs(2);
/// Trajectories with more numbers in their observations are packed off the async thread: 512 KiB take some 100
/// microseconds.
const PACK_INLINE_MAX: usize = 1 << 17;

/// One push stream.
pub(super) struct Push {
    session: Session,
    window: Arc<Window>,
    stop: CancellationToken,
    /// Trajectories that this incarnation has produced in all.
    produced: Sequence,
    /// Where weights come by this stream.
    inbound: Option<Inbound>,
    evaluations: Evaluations,
    /// Trajectories on their way, and the weights that made them.
    outstanding: HashMap<u64, WeightsVersion>,
    receipts: Receipts,
    /// What the learner said when it ended the run.
    finish: Option<pb::Finish>,
}

impl Push {
    pub(super) fn new(
        session: Session,
        produced: Sequence,
        window: Arc<Window>,
        inbound: Option<Inbound>,
        evaluations: Evaluations,
        stop: CancellationToken,
    ) -> Self {
        let (outstanding, receipts) = (HashMap::new(), Receipts::default());
        Self { session, window, stop, produced, inbound, evaluations, outstanding, receipts, finish: None }
    }

    /// What the learner has answered so far.
    pub(super) fn receipts(&self) -> Receipts {
        self.receipts
    }

    /// Runs until the stream ends, or for the grace after the end was asked for.
    pub(super) async fn run(
        &mut self,
        client: Client,
        trajectories: Receiver<Trajectory>,
    ) -> Result<SessionEnd, LinkError> {
        let stop = self.stop.clone();
        let grace = async {
            stop.cancelled().await;
            tokio::time::sleep(FAREWELL_GRACE).await;
        };
        let reason = tokio::select! {
            ended = self.exchange(client, trajectories) => ended?,
            () = grace => {
                tracing::warn!(grace_seconds = FAREWELL_GRACE.as_secs_f64(), "the learner did not answer the farewell in time");
                String::new()
            }
        };
        Ok(match self.finish.take() {
            Some(pb::Finish { reason, wait: false }) => SessionEnd::Finished(reason),
            Some(pb::Finish { reason, wait: true }) => SessionEnd::ToldToWait(reason),
            None if stop.is_cancelled() => SessionEnd::Stopped,
            None => SessionEnd::Disconnected(reason),
        })
    }

    /// Moves messages both ways until the learner closes the stream; returns why it did.
    async fn exchange(
        &mut self,
        mut client: Client,
        mut trajectories: Receiver<Trajectory>,
    ) -> Result<String, LinkError> {
        let (mut outbox, outbound) = Outbox::new();
        outbox.put(Request::Open(pb::Open { session: session_to_pb(self.session) }));
        let mut opening = Box::pin(async move { client.push_trajectories(ReceiverStream::new(outbound)).await });
        let mut replies = None;
        let mut is_rolling = true;
        loop {
            tokio::select! {
                // The learner may answer the call only after it has read the first message.
                opened = &mut opening, if replies.is_none() => match opened {
                    Ok(response) => replies = Some(response.into_inner()),
                    Err(status) => return ended(&status),
                },
                // Before the next reply: the receipt that they came with waits for them.
                taken = Inbound::taken(&mut self.inbound), if Inbound::is_decoding(&self.inbound) => {
                    if let Some(request) = self.weights_taken(taken)? {
                        outbox.put(request);
                    }
                }
                reply = next_reply(&mut replies), if !Inbound::is_decoding(&self.inbound) => match reply {
                    Ok(Some(reply)) => self.take(reply)?,
                    Ok(None) => return Ok("the learner closed the stream".into()),
                    Err(status) => return ended(&status),
                },
                () = outbox.flush() => {}
                Some(findings) = self.evaluations.findings.recv(), if outbox.is_empty() => {
                    outbox.put(Request::Evaluated(findings.into()));
                }
                trajectory = trajectories.recv(), if is_rolling && outbox.is_empty() => match trajectory {
                    Some(trajectory) => outbox.put(Request::Trajectory(self.pack(trajectory).await)),
                    None => {
                        is_rolling = false;
                        outbox.put(self.farewell());
                    }
                },
            }
        }
    }

    async fn pack(&mut self, trajectory: Trajectory) -> pb::Trajectory {
        self.outstanding.insert(trajectory.sequence.0, trajectory.weights_version);
        self.produced = Sequence(trajectory.sequence.0 + 1);
        if trajectory.observations.len() <= PACK_INLINE_MAX {
            return pb::Trajectory::from(&trajectory);
        }
        let packing = tokio::task::spawn_blocking(move || pb::Trajectory::from(&trajectory));
        packing.await.expect("packing valid numbers does not panic")
    }

    /// The rollout has ended, so nothing more will come: the end is near whoever asked for it.
    fn farewell(&self) -> Request {
        self.stop.cancel();
        Request::Farewell(pb::Farewell { produced: self.produced.0 })
    }

    fn take(&mut self, reply: pb::PushReply) -> Result<(), LinkError> {
        match reply.message.ok_or(LinkError::Answer(WireError::Missing("message")))? {
            Reply::Receipt(mut receipt) => match receipt.weights.take() {
                Some(weights) => self.decode(weights, Some(receipt)),
                None => self.take_receipt(&receipt),
            },
            Reply::Weights(weights) => self.decode(weights, None),
            Reply::Evaluate(assignment) => self.evaluate(assignment),
            Reply::Finish(finish) => {
                self.finish.get_or_insert(finish);
                self.stop.cancel();
                Ok(())
            }
        }
    }

    /// Passes on what is to be evaluated; the one place is free unless the learner did not wait for an answer.
    fn evaluate(&self, message: pb::Evaluate) -> Result<(), LinkError> {
        let assignment = Assignment::try_from(message).map_err(LinkError::Answer)?;
        // Without an evaluator the end is near.
        if let Err(TrySendError::Full(_)) = self.evaluations.assignments.try_send(assignment) {
            let (field, value) = ("evaluate", "an evaluation before the answer to the one before it".to_owned());
            return Err(LinkError::Answer(WireError::Unknown { field, value }));
        }
        Ok(())
    }

    fn decode(&mut self, weights: pb::Snapshot, receipt: Option<pb::Receipt>) -> Result<(), LinkError> {
        let Some(inbound) = &mut self.inbound else {
            let (field, value) = ("weights", "a snapshot that was not agreed on".to_owned());
            return Err(LinkError::Answer(WireError::Unknown { field, value }));
        };
        inbound.decode(weights, receipt);
        Ok(())
    }

    /// Weights are decoded, so their receipt opens the window; or they are damaged, which the learner is to be told.
    fn weights_taken(&mut self, taken: Taken) -> Result<Option<Request>, LinkError> {
        if let Some(receipt) = taken.receipt {
            self.take_receipt(&receipt)?;
        }
        let Err(reason) = taken.result else { return Ok(None) };
        metrics::record_snapshot_error();
        tracing::warn!(reason, "asking for the full weights again");
        match taken.damaged {
            DAMAGED_MAX.. => Err(LinkError::Weights { attempts: taken.damaged, reason }),
            _ => Ok(Some(Request::WeightsDamaged(pb::WeightsDamaged {}))),
        }
    }

    fn take_receipt(&mut self, receipt: &pb::Receipt) -> Result<(), LinkError> {
        let Some(version) = self.outstanding.remove(&receipt.sequence) else {
            let (field, value) = ("receipt.sequence", receipt.sequence.to_string());
            return Err(LinkError::Answer(WireError::Unknown { field, value }));
        };
        let disposition = pb::Disposition::try_from(receipt.disposition);
        let (count, name) = match disposition {
            Ok(pb::Disposition::Trained) => (&mut self.receipts.trained, "trained"),
            Ok(pb::Disposition::Stale) => (&mut self.receipts.stale, "stale"),
            Ok(pb::Disposition::Shutdown) => (&mut self.receipts.shutdown, "shutdown"),
            Ok(pb::Disposition::Unspecified) | Err(_) => {
                let (field, value) = ("receipt.disposition", receipt.disposition.to_string());
                return Err(LinkError::Answer(WireError::Unknown { field, value }));
            }
        };
        *count += 1;
        metrics::record_receipt(name);
        let next = WeightsVersion(receipt.weights_version);
        match disposition {
            // Newer weights than the refused ones, else an actor whose weights are held up would make one refused trajectory
            // after the other.
            Ok(pb::Disposition::Stale) => self.window.open_for(next.max(WeightsVersion(version.0.saturating_add(1)))),
            // The run is over: the place stays taken, for another trajectory would only be refused too.
            Ok(pb::Disposition::Shutdown) => {}
            _ => self.window.open_for(next),
        }
        Ok(())
    }
}

/// A status that ended the stream: fatal if it finds fault with what was sent.
fn ended(status: &Status) -> Result<String, LinkError> {
    match status.code() {
        Code::InvalidArgument => Err(LinkError::Rejected { message: status.message().to_owned() }),
        _ => Ok(describe(status)),
    }
}

async fn next_reply(replies: &mut Option<tonic::Streaming<pb::PushReply>>) -> Result<Option<pb::PushReply>, Status> {
    match replies {
        Some(replies) => replies.message().await,
        None => std::future::pending().await,
    }
}

/// Weights that come by this stream.
pub(super) struct Inbound {
    weights: WeightsSender,
    parameter_count: ParameterCount,
    /// Absent while it decodes.
    inbox: Option<Inbox>,
    decoding: Option<Decoding>,
    /// The receipt that came with what is being decoded.
    receipt: Option<pb::Receipt>,
    /// Snapshots in a row that were damaged.
    damaged: u32,
}

type Decoding = Pin<Box<dyn Future<Output = (Inbox, Result<(), String>)> + Send>>;

/// What became of a snapshot.
struct Taken {
    receipt: Option<pb::Receipt>,
    result: Result<(), String>,
    damaged: u32,
}

impl Inbound {
    /// Holds no weights.
    pub(super) fn new(parameter_count: ParameterCount, weights: WeightsSender) -> Self {
        let inbox = Some(Inbox::new(parameter_count));
        Self { weights, parameter_count, inbox, decoding: None, receipt: None, damaged: 0 }
    }

    fn is_decoding(inbound: &Option<Self>) -> bool {
        inbound.as_ref().is_some_and(|inbound| inbound.decoding.is_some())
    }

    fn decode(&mut self, snapshot: pb::Snapshot, receipt: Option<pb::Receipt>) {
        let inbox = self.inbox.take().unwrap_or_else(|| Inbox::new(self.parameter_count));
        self.decoding = Some(Box::pin(inbox.take(snapshot, self.weights.clone())));
        self.receipt = receipt;
    }

    /// Waits for what is being decoded; forever where nothing is. May be dropped at any time.
    async fn taken(inbound: &mut Option<Self>) -> Taken {
        let Some(inbound) = inbound else { return std::future::pending().await };
        let Some(decoding) = &mut inbound.decoding else { return std::future::pending().await };
        let (inbox, result) = decoding.await;
        inbound.decoding = None;
        // Whatever the inbox holds is no base of what comes after damage: everything.
        inbound.inbox = result.is_ok().then_some(inbox);
        inbound.damaged = if result.is_ok() { 0 } else { inbound.damaged + 1 };
        Taken { receipt: inbound.receipt.take(), result, damaged: inbound.damaged }
    }
}

/// The sending half of the stream: messages that wait for room, the farewell as the last.
struct Outbox {
    /// Closed after the farewell.
    requests: Option<mpsc::Sender<pb::PushRequest>>,
    waiting: VecDeque<Request>,
}

impl Outbox {
    fn new() -> (Self, Receiver<pb::PushRequest>) {
        // One message: more would only add to the lag of what waits in it.
        let (sender, receiver) = mpsc::channel(1);
        (Self { requests: Some(sender), waiting: VecDeque::new() }, receiver)
    }

    /// Whether another message can be put in.
    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.requests.is_some()
    }

    fn put(&mut self, message: Request) {
        self.waiting.push_back(message);
    }

    /// Sends what waits; forever pending when nothing does. May be dropped at any time without losing a message.
    async fn flush(&mut self) {
        let (Some(requests), true) = (&self.requests, !self.waiting.is_empty()) else {
            return std::future::pending().await;
        };
        // Without a receiver the stream is torn; why shows in the replies.
        let Ok(room) = requests.reserve().await else {
            self.requests = None;
            return;
        };
        let message = self.waiting.pop_front();
        let is_last = matches!(message, Some(Request::Farewell(_)));
        room.send(pb::PushRequest { message });
        if is_last {
            self.requests = None;
        }
    }
}
