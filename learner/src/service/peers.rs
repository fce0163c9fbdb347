//! Who is connected, registered or not, and what each may cost: every connection is within bounds of its own and of all together,
//! so that strangers use up neither memory nor the network threads' time that those who send trajectories need. Knows connections,
//! bytes and requests, not what they mean; it is told the time. `docs/peers.md` has the bounds as a formula.

pub mod connection;
mod peer;
pub mod requests;
pub mod turns;

use crate::handover::metrics;
use impala_common::channel::rate::Rate;
pub use peer::{Lasts, Peer, Pushing};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};
use turns::Turns;

/// Connections at a time, where the process may have as many files open.
const CONNECTIONS_MAX: usize = 4096;
/// Files and sockets that are kept for other uses: checkpoints, logs, metrics, probes.
const HANDLES_KEPT: usize = 128;
/// Requests that are open at a time, of all connections. Actors have two.
const REQUESTS_MAX: usize = 16_384;
/// Requests that are open at a time on a connection that pushes no trajectories.
const REQUESTS_EACH_MAX: usize = 512;
/// HTTP/2 streams of a connection: 1,000 actors that share one, as behind a proxy, need 2,000.
pub(super) const STREAMS_MAX: u32 = 2100;
/// Size of a request's headers, bytes; those of this contract have some 300.
pub(super) const HEADERS_MAX: u32 = 1 << 12;

/// What a connection without actors may send for nothing, and hold here, bytes. Each actor adds its window of trajectories.
const FREE_BYTES: f64 = 65_536.0;
/// What of it is free again after a second.
const FREE_PER_SECOND: f64 = 2048.0;
/// What a request costs beside its bytes: it takes some 100 microseconds, in which as many bytes of small frames are read.
const REQUEST_COST: f64 = 4096.0;
/// What a version of the weights costs that is sent on a stream of weights, nobody else may want it in this encoding; a trajectory makes
/// up for one.
pub(super) const VERSION_COST: f64 = 16_384.0;
/// What a connection costs.
const CONNECTION_COST: f64 = 8192.0;
/// Connections that are accepted in a second, and at once after a rest; later ones wait. Whatever those that are here cost.
const ARRIVALS: (f64, f64) = (320.0, 2048.0);
/// A connection is one of actors at work as long as it brought a trajectory within this time.
const WORK_MAX: Duration = Duration::from_secs(600);
/// What one connection may cost in a second beyond what is free, bytes: a few percent of a network thread.
const EACH_PER_SECOND: f64 = 1_048_576.0;
/// What it may cost at once, when it begins: 2,000 requests of 1,000 actors.
const EACH_BURST: f64 = 8_388_608.0;
/// What all that send no trajectories may cost together in a second.
const ALL_PER_SECOND: f64 = 2_621_440.0;
/// What they may cost at once, after a rest: 1,000 actors that come on connections of their own.
const ALL_BURST: f64 = 16_777_216.0;

/// Time in which a connection is to make its first request: half a preface is not waited for.
const FIRST_REQUEST_MAX: Duration = Duration::from_secs(10);
/// Time after which a connection without an open request is closed. Clients open another when they need one.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// All connections of a learner.
#[derive(Debug)]
pub struct Peers {
    connections_max: usize,
    /// What an actor may have under way, bytes.
    window_bytes: f64,
    connections: Mutex<Connections>,
    /// What everybody who sends no trajectories uses up together.
    shared: Mutex<Rate>,
    arrivals: Mutex<Rate>,
    requests: AtomicUsize,
    turns: Turns,
}

/// What an actor may have under way, and the largest message with weights, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Trajectories of an actor without a receipt.
    pub window: usize,
    /// All parameters as they are.
    pub weights: usize,
}

#[derive(Debug)]
struct Connections {
    next: u64,
    /// By age.
    peers: BTreeMap<u64, Weak<Peer>>,
    warnings: Rate,
}

impl Peers {
    /// Nobody yet. The process may have `handles` files open.
    pub fn new(sizes: Sizes, handles: usize, now: Instant) -> Arc<Self> {
        metrics::record_closed_connections(0);
        let connections = Connections { next: 0, peers: BTreeMap::new(), warnings: Rate::new(0.1, 1.0, now) };
        Arc::new(Self {
            connections_max: connections_max(handles),
            window_bytes: sizes.window as f64,
            connections: Mutex::new(connections),
            shared: Mutex::new(Rate::new(ALL_PER_SECOND, ALL_BURST, now)),
            arrivals: Mutex::new(Rate::new(ARRIVALS.0, ARRIVALS.1, now)),
            requests: AtomicUsize::new(0),
            turns: Turns::new(sizes.weights),
        })
    }

    /// Connections that may be open at a time.
    pub fn connections_max(&self) -> usize {
        self.connections_max
    }

    /// A connection came; also tells how long to wait until the next is accepted. Where there are too many, one makes room: of those
    /// by which no actor works the one that did nothing for longest.
    pub fn connect(self: &Arc<Self>, now: Instant) -> (Arc<Peer>, Duration) {
        self.charge(CONNECTION_COST, now);
        let wait = self.arrivals.lock().expect("no holder of the arrivals panics").take(1.0, now);
        let mut connections = self.lock();
        let id = connections.next;
        connections.next += 1;
        let is_full = connections.peers.len() >= self.connections_max;
        let is_told = is_full && connections.warnings.try_take(now);
        let peer = Arc::new(Peer::new(id, self.clone(), now));
        connections.peers.insert(id, Arc::downgrade(&peer));
        drop(connections);
        if is_told {
            let connections = self.connections_max;
            tracing::warn!(connections, "there are too many connections: those that are idle are closed for new ones");
        }
        if is_full {
            let others = self.all().into_iter().filter(|other| other.id() != id);
            let victim = others.min_by_key(|other| other.worth(now));
            victim.iter().for_each(|victim| victim.close("too many connections"));
        }
        (peer, wait)
    }

    /// Closes whoever does not come to the point; to be called about once a second.
    pub fn sweep(&self, now: Instant) {
        for peer in self.all() {
            if let Some(reason) = peer.overdue(now) {
                peer.close(reason);
            }
        }
    }

    /// Uses up what all share; tells how long it takes to be paid.
    fn charge(&self, cost: f64, now: Instant) -> Duration {
        self.shared.lock().expect("no holder of the budget panics").take(cost, now)
    }

    fn give_back(&self, cost: f64) {
        self.shared.lock().expect("no holder of the budget panics").give(cost);
    }

    /// A request begins, if there may be another one. Where there are too many, the connection goes that has had one the longest: answers
    /// take milliseconds, and so does it until a trajectory comes. Those by which actors work are the last.
    fn begin_request(&self, now: Instant) -> bool {
        let is_one_more = self.requests.fetch_add(1, Ordering::Relaxed) < REQUESTS_MAX;
        if !is_one_more {
            self.end_request();
            let asking = self.all().into_iter().filter_map(|peer| Some((peer.longest_request(now)?, peer)));
            let victim = asking.min_by_key(|(since, _)| *since);
            victim.iter().for_each(|(_, victim)| victim.close("too many requests are open"));
        }
        is_one_more
    }

    fn end_request(&self) {
        self.requests.fetch_sub(1, Ordering::Relaxed);
    }

    /// All that are not about to end. The last handle of one takes the lock when it is dropped: none is dropped here.
    fn all(&self) -> Vec<Arc<Peer>> {
        let connections = self.lock();
        let mut all: Vec<_> = connections.peers.values().filter_map(Weak::upgrade).collect();
        drop(connections);
        all.retain(|peer| !peer.is_closed());
        all
    }

    fn forget(&self, id: u64) {
        self.lock().peers.remove(&id);
    }

    fn lock(&self) -> MutexGuard<'_, Connections> {
        self.connections.lock().expect("no holder of the connections panics")
    }
}

/// The time by the runtime's clock, which may be simulated.
pub(super) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// What a peer that reads so many bytes sends for that: updates of windows, each for 16 KiB or more.
pub(super) fn receiving_cost(bytes: usize) -> f64 {
    bytes as f64 / 512.0
}

/// What a message of so many bytes costs with its frames' headers, and what its sender sends for its receipt.
pub(super) fn sending_cost(bytes: usize) -> f64 {
    bytes as f64 * 1.01 + 256.0
}

/// Connections for a process that may have so many files open.
fn connections_max(handles: usize) -> usize {
    CONNECTIONS_MAX.min(handles.saturating_sub(HANDLES_KEPT).max(handles / 2)).max(1)
}

#[cfg(test)]
mod tests;
