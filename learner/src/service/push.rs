//! One actor's trajectory stream, from `open` to `farewell`.

use super::Shared;
use super::peers::{Peer, VERSION_COST, now, sending_cost};
use crate::handover::admission::{Admitted, Reply, Ticket};
use crate::handover::evaluations::Seat;
use crate::handover::ledger::{Disposition, PRODUCED_MAX};
use crate::service::registry::Member;
use impala_common::agreement::IN_FLIGHT_MAX;
use impala_common::evaluation::{Assignment, Findings};
use impala_common::ids::{Sequence, Session};
use impala_common::trajectory::{RolloutTime, Trajectory};
use impala_common::wire::{pb, session_from_pb, trajectory_from_pb};
use pb::push_request::Message;
use prost::Message as _;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tonic::{Status, Streaming};

/// Replies that may wait for the socket: every receipt of the largest window, and the finish.
pub(super) const REPLIES: usize = IN_FLIGHT_MAX + 8;

/// Time that a stream has for its first message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Most that an actor may have waited for its stream, as it says: for a learner that was gone.
const WAITED_MAX: Duration = Duration::from_secs(3600);
/// Observations beyond this size, bytes, are parsed off the async runtime: below it takes some 100 microseconds.
const PARSE_INLINE_MAX: usize = 1 << 19;

/// How a stream ended.
enum End {
    Farewell,
    Closed,
    Replaced,
    Broken(String),
    Violation(String),
}

/// Serves the stream to its end; its errors end this stream and nothing else.
pub(super) async fn serve(
    shared: Arc<Shared>,
    peer: Arc<Peer>,
    mut inbound: Streaming<pb::PushRequest>,
    replies: mpsc::Sender<Reply>,
) {
    let Ok(first) = tokio::time::timeout(OPEN_TIMEOUT, inbound.message()).await else {
        let _ = replies.send(Reply::Violation(format!("no `open` came within {OPEN_TIMEOUT:?}"))).await;
        return;
    };
    let opened = match first {
        Ok(Some(pb::PushRequest { message: Some(Message::Open(pb::Open { session })) })) => {
            session_from_pb(&session).map_err(|error| error.to_string())
        }
        Ok(_) => Err("the first message of a stream must be `open`".into()),
        Err(status) => Err(unreadable(&status)),
    };
    let opened = match opened {
        Ok(session) => session,
        Err(violation) => {
            let _ = replies.send(Reply::Violation(violation)).await;
            return;
        }
    };
    let Some((member, over)) = shared.registry.connect(opened) else {
        let _ = replies.send(Reply::UnknownSession).await;
        return;
    };
    let opened_at = now();
    if shared.log.may_tell() {
        tracing::info!(actor = member.name, index = member.actor_index.0, "an actor connected");
    }
    let delivery = member.delivery;
    let here = (peer.pushing(), (!delivery.is_stored).then(|| shared.wanted.want(delivery.encoding)));
    let _ = replies.send(Reply::Opened(delivery)).await;
    let window = Arc::new(Semaphore::new(shared.registry.template().in_flight_max));
    let mut connection = Connection {
        shared: &shared,
        peer: &peer,
        member: &member,
        session: opened,
        replies: &replies,
        window,
        over,
        seat: (member.evaluates && shared.evaluations.is_needed()).then(|| shared.evaluations.seat(&member.name)),
        has_sent: false,
        told: Duration::ZERO,
        opened: opened_at,
    };
    let end = connection.run(inbound).await;
    let is_missed = connection.has_sent;
    // What it was to evaluate is for others from now on.
    drop(connection);
    drop(here);
    shared.queue.leave(member.incarnation);
    shared.registry.disconnect(opened);
    report(&shared, &member, &end, is_missed);
    // Of a broken stream it is not known whether the actor still listens; if so, it sent what cannot be read.
    if let End::Violation(message) | End::Broken(message) = end {
        let _ = replies.send(Reply::Violation(message)).await;
    }
}

/// `is_missed`: whether it has sent a trajectory, without whose successors a deterministic run cannot go on.
fn report(shared: &Shared, member: &Member, end: &End, is_missed: bool) {
    let (actor, index) = (member.name.as_str(), member.actor_index.0);
    match end {
        _ if !shared.log.may_tell() => {}
        End::Farewell => tracing::info!(actor, index, "an actor left"),
        End::Replaced => tracing::info!(actor, index, "an actor has registered anew: its stream from before ends"),
        End::Closed => {
            tracing::warn!(actor, index, "the stream of an actor ended without farewell: it died, or fell silent");
        }
        End::Broken(error) => tracing::warn!(actor, index, %error, "an actor was lost"),
        End::Violation(error) => tracing::warn!(actor, index, %error, "an actor broke the contract"),
    }
    // The place of one that has sent nothing is free for another.
    if is_missed && shared.registry.template().lockstep.is_some() && !shared.standing.is_finished() {
        // One place, and one loss is enough to end the run.
        let _ = shared.lockstep_broken.try_send(member.actor_index);
    }
}

struct Connection<'a> {
    shared: &'a Arc<Shared>,
    peer: &'a Peer,
    member: &'a Member,
    replies: &'a mpsc::Sender<Reply>,
    /// Trajectories that the actor may still send before it gets a receipt.
    window: Arc<Semaphore>,
    /// Cancelled when the same process has registered anew.
    over: CancellationToken,
    /// Of one that evaluates.
    seat: Option<Seat>,
    /// Whether a trajectory was taken.
    has_sent: bool,
    session: Session,
    opened: Instant,
    /// What its actor says its trajectories took, in all.
    told: Duration,
}

impl Connection<'_> {
    async fn run(&mut self, mut inbound: Streaming<pb::PushRequest>) -> End {
        let mut is_finish_sent = false;
        loop {
            let message = tokio::select! {
                biased;
                finish = self.shared.standing.finished(), if !is_finish_sent => {
                    is_finish_sent = true;
                    let _ = self.replies.send(Reply::Finish(finish)).await;
                    continue;
                }
                () = self.over.cancelled() => return End::Replaced,
                assignment = next_assignment(&mut self.seat), if !is_finish_sent => {
                    let _ = self.replies.send(Reply::Evaluate(assignment)).await;
                    continue;
                }
                message = inbound.message() => message,
            };
            let message = match message {
                Ok(Some(request)) => request.message,
                Ok(None) => return End::Closed,
                Err(status) => return End::Broken(unreadable(&status)),
            };
            match message {
                Some(Message::Trajectory(trajectory)) => {
                    if let Err(violation) = self.admit(&trajectory).await {
                        return End::Violation(violation);
                    }
                }
                Some(Message::Farewell(pb::Farewell { produced })) => {
                    if let Err(violation) = plausible(produced) {
                        return End::Violation(violation);
                    }
                    let incarnation = self.member.incarnation;
                    return match self.shared.ledger.farewell(incarnation, Sequence(produced)) {
                        Ok(()) => End::Farewell,
                        Err(error) => End::Violation(format!("a farewell after so many trajectories: {error}")),
                    };
                }
                Some(Message::WeightsDamaged(_)) if self.member.delivery.with_receipts => {
                    if self.shared.log.may_tell() {
                        let (actor, index) = (self.member.name.as_str(), self.member.actor_index.0);
                        tracing::warn!(actor, index, "an actor could not read its weights; it is sent everything");
                    }
                    // What it costs is paid before the next message is read.
                    self.peer.cost(VERSION_COST, now());
                    let _ = self.replies.send(Reply::WeightsDamaged).await;
                }
                Some(Message::Evaluated(evaluated)) if self.seat.is_some() => {
                    let findings = Findings::try_from(evaluated).map_err(|error| error.to_string());
                    let reported = findings.and_then(|findings| match &mut self.seat {
                        Some(seat) => seat.report(findings),
                        None => Ok(()),
                    });
                    if let Err(violation) = reported {
                        return End::Violation(violation);
                    }
                }
                Some(Message::Open(_) | Message::WeightsDamaged(_) | Message::Evaluated(_)) | None => {
                    return End::Violation("expected a trajectory or a farewell".into());
                }
            }
        }
    }

    /// Checks a trajectory for itself, against the actor's window and, in a deterministic run, the order.
    async fn parse(&self, message: &pb::Trajectory) -> Result<(Trajectory, OwnedSemaphorePermit), String> {
        let agreement = self.shared.registry.template();
        let in_flight_max = agreement.in_flight_max;
        let place = self.window.clone().try_acquire_owned();
        let place = place.map_err(|_| format!("came before a receipt for one of the {in_flight_max} before it"))?;
        let trajectory = if message.observations.len() <= PARSE_INLINE_MAX {
            read(message, self.shared)?
        } else {
            // The arrays are shared, not copied.
            let (message, shared) = (message.clone(), self.shared.clone());
            let reading = tokio::task::spawn_blocking(move || read(&message, &shared));
            reading.await.map_err(|e| e.to_string())??
        };
        let version = trajectory.weights_version;
        match agreement.lockstep {
            None => {
                let newest = self.shared.gate.current();
                if version > newest {
                    return Err(format!("made with weights version {version}, the newest is {newest}"));
                }
                if trajectory.actor_state().is_some() {
                    return Err("field `actor_state` is for deterministic runs, which this is not".into());
                }
            }
            Some(lockstep) => {
                let expected = lockstep.version_for(self.member.actor_index, trajectory.sequence);
                if version != expected {
                    return Err(format!("made with weights version {version}, its place in this run needs {expected}"));
                }
                if trajectory.actor_state().is_none_or(bytes::Bytes::is_empty) {
                    return Err(
                        "field `actor_state` is missing: a deterministic run could not be resumed without".into()
                    );
                }
            }
        }
        Ok((trajectory, place))
    }

    /// Parses, counts and queues one trajectory; waits for a slot, and so stops reading, while the queue is full.
    async fn admit(&mut self, message: &pb::Trajectory) -> Result<(), String> {
        let Member { actor_index, incarnation, .. } = *self.member;
        let sequence = Sequence(message.sequence);
        let ledger = &self.shared.ledger;
        plausible(sequence.0)?;
        if self.shared.registry.template().lockstep.is_some() {
            // The batch that it belongs to would be waited for in vain.
            let expected = ledger.expected(incarnation);
            if sequence != expected {
                return Err(format!("trajectory {sequence}: expected {expected}, a deterministic run misses none"));
            }
        }
        ledger.arrive(incarnation, sequence).map_err(|error| format!("trajectory {error}"))?;
        if !std::mem::replace(&mut self.has_sent, true) {
            self.shared.registry.works(self.session);
        }
        let mut ticket = Ticket::new(actor_index, incarnation, sequence, ledger.clone(), self.replies.clone());
        let trajectory = match self.parse(message).await {
            Ok((trajectory, place)) => {
                ticket.hold(place);
                ticket.count_in(self.member.tally.clone());
                trajectory
            }
            Err(error) => {
                ticket.settle(Disposition::Invalid);
                return Err(format!("trajectory {sequence}: {error}"));
            }
        };
        // Nothing that comes after the finish is trained, however late the queue is closed.
        if self.shared.standing.is_finished() {
            ticket.settle(Disposition::Shutdown);
            return Ok(());
        }
        // It makes up for the version that it was made with, where that came by a stream of its own.
        let version = if self.member.delivery.with_receipts { 0.0 } else { VERSION_COST };
        let now = now();
        self.peer.pushed(sending_cost(message.encoded_len()) + version, now);
        let trajectory = self.within_its_time(trajectory, now);
        self.shared.queue.put(Admitted { trajectory, ticket }).await;
        Ok(())
    }

    /// What an actor says that its trajectories took, one after the other, is no more than has passed, and what it may have waited for
    /// this stream: a figure that cannot be is no figure.
    fn within_its_time(&mut self, trajectory: Trajectory, now: Instant) -> Trajectory {
        let told = self.told.saturating_add(trajectory.time().total());
        if told > now.saturating_duration_since(self.opened) + WAITED_MAX {
            return trajectory.with_time(RolloutTime::default());
        }
        self.told = told;
        trajectory
    }
}

/// What the actor is to evaluate next; for ever nothing for one that does not.
async fn next_assignment(seat: &mut Option<Seat>) -> Arc<Assignment> {
    match seat {
        Some(seat) => seat.next().await,
        None => std::future::pending().await,
    }
}

/// Checks a trajectory for itself: its shape, its numbers, and that its rewards are some that the environment gives.
fn read(message: &pb::Trajectory, shared: &Shared) -> Result<Trajectory, String> {
    let (agreement, possible) = (shared.registry.template(), &shared.rewards);
    let trajectory = trajectory_from_pb(message, &shared.shape).map_err(|e| e.to_string())?;
    let is_impossible = |reward: &&f32| !possible.contains(*reward);
    // Counting vectorises where a search with an early exit does not.
    if trajectory.rewards.iter().filter(is_impossible).count() > 0
        && let Some(position) = trajectory.rewards.iter().position(|reward| is_impossible(&reward))
    {
        let (reward, name) = (trajectory.rewards[position], &agreement.environment.name);
        let (least, most) = (possible.start(), possible.end());
        return Err(format!("rewards[{position}] is {reward}, a step of {name} gives {least} to {most}"));
    }
    Ok(trajectory)
}

fn unreadable(status: &Status) -> String {
    format!("the stream cannot be read: {}", status.message())
}

fn plausible(count: u64) -> Result<(), String> {
    if count > PRODUCED_MAX {
        return Err(format!("the actor counts {count} trajectories, more than {PRODUCED_MAX}, which no run reaches"));
    }
    Ok(())
}
