//! One connection: what it has cost and not made up for, and what it is in the middle of.

use super::turns::Turn;
use super::{
    EACH_BURST, EACH_PER_SECOND, FIRST_REQUEST_MAX, FREE_BYTES, FREE_PER_SECOND, IDLE_MAX, Peers, REQUEST_COST,
    REQUESTS_EACH_MAX, WORK_MAX, metrics, now,
};
use impala_common::channel::rate::Rate;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// A connection.
#[derive(Debug)]
pub struct Peer {
    id: u64,
    peers: Arc<Peers>,
    closed: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// What it has used of what is free to it: bytes, and what stands for work, that no message made up for.
    used: f64,
    at: Instant,
    /// What it has used beyond that, of what all share.
    charged: f64,
    /// Bounds the same for this connection alone.
    own: Rate,
    /// Trajectory streams of registered actors.
    pushing: usize,
    /// When the last trajectory came.
    pushed: Option<Instant>,
    has_asked: bool,
    /// When the last request began or ended, or the connection came.
    active: Instant,
    /// Since when each request is open that is no stream of a session, with its number.
    calls: BTreeSet<(Instant, u64)>,
    /// The same of streams of sessions.
    streams: BTreeSet<(Instant, u64)>,
    /// Until when each of them must be over that is to end by itself.
    deadlines: BTreeSet<(Instant, u64)>,
    next_call: u64,
}

impl Peer {
    pub(super) fn new(id: u64, peers: Arc<Peers>, now: Instant) -> Self {
        let state = State {
            used: 0.0,
            at: now,
            charged: 0.0,
            own: Rate::new(EACH_PER_SECOND, EACH_BURST, now),
            pushing: 0,
            pushed: None,
            has_asked: false,
            active: now,
            calls: BTreeSet::new(),
            streams: BTreeSet::new(),
            deadlines: BTreeSet::new(),
            next_call: 0,
        };
        Self { id, peers, closed: CancellationToken::new(), state: Mutex::new(state) }
    }

    /// Something was done for it that costs so much, in bytes read: they were read, or it was sent what it did nothing for. Tells
    /// how long nothing more is to be done.
    pub fn cost(&self, cost: f64, now: Instant) -> Duration {
        let peers = &self.peers;
        let mut state = self.lock();
        state.pay(now);
        let free = FREE_BYTES + state.pushing as f64 * peers.window_bytes;
        let of_free = (free - state.used).clamp(0.0, cost);
        state.used += of_free;
        let beyond = cost - of_free;
        if beyond <= 0.0 {
            return Duration::ZERO;
        }
        state.charged += beyond;
        let of_own = state.own.take(beyond, now);
        drop(state);
        of_own.max(peers.charge(beyond, now))
    }

    /// A message of so many bytes came, or was sent, that this connection is here for: it makes up for what it cost.
    pub fn delivered(&self, bytes: f64) {
        self.make_up(self.lock(), bytes);
    }

    fn make_up(&self, mut state: MutexGuard<'_, State>, bytes: f64) {
        let back = state.charged.min(bytes);
        state.charged -= back;
        state.used = (state.used - (bytes - back)).max(0.0);
        if back > 0.0 {
            state.own.give(back);
            drop(state);
            self.peers.give_back(back);
        }
    }

    /// A trajectory came that takes so many bytes with all that goes with it.
    pub fn pushed(&self, bytes: f64, now: Instant) {
        let mut state = self.lock();
        state.pushed = Some(now);
        self.make_up(state, bytes);
    }

    /// A registered actor pushes by this connection, as long as what is returned lives.
    pub fn pushing(self: &Arc<Self>) -> Pushing {
        self.lock().pushing += 1;
        Pushing(self.clone())
    }

    /// Its number: later ones have higher ones.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Actors that work by it: none before a trajectory came, whatever is open.
    pub fn actors(&self, now: Instant) -> usize {
        self.lock().actors(now)
    }

    /// A request begins. Refused where too many are open. It costs either way, and what is to be waited for that is told when the
    /// next bytes come.
    pub fn ask(self: &Arc<Self>, lasts: Lasts, now: Instant) -> Option<Call> {
        self.cost(REQUEST_COST, now);
        if !self.peers.begin_request(now) {
            return None;
        }
        let mut state = self.lock();
        // Two for each actor: trajectories and weights.
        if state.requests() >= REQUESTS_EACH_MAX + 2 * state.pushing {
            drop(state);
            self.peers.end_request();
            return None;
        }
        (state.has_asked, state.active) = (true, now);
        let number = state.next_call;
        state.next_call += 1;
        let is_aside = lasts != Lasts::LikeItsSession;
        let since = (now, number);
        let deadline = match lasts {
            Lasts::AtMost(time) => Some((now + time, number)),
            Lasts::LikeItsSession | Lasts::AsItsCallerWants => None,
        };
        if is_aside { &mut state.calls } else { &mut state.streams }.insert(since);
        state.deadlines.extend(deadline);
        drop(state);
        Some(Call { peer: self.clone(), is_aside, since, deadline })
    }

    /// What goes first where too many requests are open: by the actors that work by it, then by the age of its oldest request; of
    /// streams of sessions only where no actor works, of which nothing may ever come. Nothing where it has none.
    pub(super) fn longest_request(&self, now: Instant) -> Option<(usize, Instant)> {
        let state = self.lock();
        let actors = state.actors(now);
        let streams = state.streams.first().filter(|_| actors == 0);
        let (since, _) = state.calls.first().into_iter().chain(streams).min()?;
        Some((actors, *since))
    }

    /// Waits for a turn to send it up to `bytes` of weights; see [`Turns::wait`](super::turns::Turns::wait).
    pub async fn turn(self: &Arc<Self>, bytes: usize) -> Option<Turn> {
        self.peers.turns.wait(bytes, self).await
    }

    /// Why this connection is to be closed, if it is.
    pub(super) fn overdue(&self, now: Instant) -> Option<&'static str> {
        let state = self.lock();
        let since = now.saturating_duration_since(state.active);
        if !state.has_asked && since >= FIRST_REQUEST_MAX {
            return Some("no request came");
        }
        if state.requests() == 0 && since >= IDLE_MAX {
            return Some("it was idle");
        }
        let (deadline, _) = state.deadlines.first()?;
        // Actors are not cut off for what somebody else does who shares their connection: its requests are few all the same.
        (*deadline <= now && state.actors(now) == 0).then_some("a request took too long")
    }

    /// What is lost with it: connections by which actors work are worth most, then those that did something last.
    pub(super) fn worth(&self, now: Instant) -> (usize, Instant) {
        let state = self.lock();
        (state.actors(now), state.active)
    }

    /// Closes the connection.
    pub fn close(&self, reason: &'static str) {
        if !self.closed.is_cancelled() {
            tracing::debug!(connection = self.id, reason, "a connection is closed");
            metrics::record_closed_connections(1);
            self.closed.cancel();
        }
    }

    /// Whether it is about to end.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// Cancelled when it is to end.
    pub fn closed(&self) -> &CancellationToken {
        &self.closed
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of a peer panics")
    }
}

impl State {
    fn requests(&self) -> usize {
        self.calls.len() + self.streams.len()
    }

    fn actors(&self, now: Instant) -> usize {
        let is_at_work = self.pushed.is_some_and(|at| now.saturating_duration_since(at) <= WORK_MAX);
        if is_at_work { self.pushing } else { 0 }
    }

    /// Time pays for what is free, and what was long ago is not given back.
    fn pay(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.used = (self.used - passed * FREE_PER_SECOND).max(0.0);
        self.charged = (self.charged - passed * EACH_PER_SECOND).max(0.0);
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.peers.forget(self.id);
    }
}

/// An open trajectory stream of a registered actor.
#[derive(Debug)]
pub struct Pushing(Arc<Peer>);

impl Drop for Pushing {
    fn drop(&mut self) {
        self.0.lock().pushing -= 1;
    }
}

/// How long a request may be open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lasts {
    /// As long as the session whose stream it is.
    LikeItsSession,
    /// As long as its caller wants and others do not need the place.
    AsItsCallerWants,
    /// So long.
    AtMost(Duration),
}

/// An open request.
#[derive(Debug)]
pub struct Call {
    peer: Arc<Peer>,
    is_aside: bool,
    since: (Instant, u64),
    deadline: Option<(Instant, u64)>,
}

impl Call {
    /// Who asks.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Whether it is no stream of a session.
    pub fn is_aside(&self) -> bool {
        self.is_aside
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut state = self.peer.lock();
        state.active = now();
        if self.is_aside { &mut state.calls } else { &mut state.streams }.remove(&self.since);
        if let Some(deadline) = &self.deadline {
            state.deadlines.remove(deadline);
        }
        drop(state);
        self.peer.peers.end_request();
    }
}
