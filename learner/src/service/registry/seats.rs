//! Who holds which place in the run: a plain state machine that is told the time. Registering takes the same time however many
//! actors there are, as long as a place is free.

use super::Member;
use impala_common::ids::{ActorIndex, Incarnation, Session};
use rand::RngExt;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// Time that a registered actor has to open its stream before its index may go to another.
pub(super) const RESERVATION: Duration = Duration::from_secs(10);
/// Names whose index is remembered for their return; later ones get any free index.
const NAMES_MAX: usize = 1 << 16;

/// The places of a run.
#[derive(Debug)]
pub(super) struct Seats {
    sessions: HashMap<Session, Seat>,
    by_index: HashMap<ActorIndex, Session>,
    by_incarnation: HashMap<Incarnation, Session>,
    names: HashMap<String, ActorIndex>,
    /// Indices below `unused_from` that nobody holds.
    freed: BTreeSet<u32>,
    /// From here on nobody holds an index but who wished for it.
    unused_from: u32,
    /// Sessions without a stream, in the order in which their reservations run out; some have one by now, or are gone.
    reservations: VecDeque<(Instant, Session)>,
}

#[derive(Debug)]
struct Seat {
    member: Member,
    is_connected: bool,
    /// It has sent something.
    is_at_work: bool,
    /// Cancelled when the session ends.
    over: CancellationToken,
    /// Cancelled when its stream of weights is to end: one at a time.
    watch: CancellationToken,
}

/// Why there is no place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoSeat {
    /// Somebody with this name holds the wanted index.
    Taken { holder: String },
    /// The wanted index, or one of all, is kept for somebody who has registered and sent nothing yet.
    Reserved,
    /// Every index is held.
    Full,
}

impl Seats {
    /// Nobody is here.
    pub(super) fn new() -> Self {
        Self {
            sessions: HashMap::new(),
            by_index: HashMap::new(),
            by_incarnation: HashMap::new(),
            names: HashMap::new(),
            freed: BTreeSet::new(),
            unused_from: 0,
            reservations: VecDeque::new(),
        }
    }

    /// Seats an actor, with its index filled in: the wanted one; else the one that its name had before; else the lowest free
    /// one below `bound`. The same process may have been here before: its old session is over.
    ///
    /// # Errors
    /// The wanted index, or every one, is held by somebody else.
    pub(super) fn seat(
        &mut self,
        member: Member,
        wanted: Option<ActorIndex>,
        bound: u32,
        now: Instant,
    ) -> Result<(Session, ActorIndex), NoSeat> {
        self.expire(now);
        if let Some(old) = self.by_incarnation.get(&member.incarnation).copied() {
            self.remove(old);
        }
        let actor_index = self.choose(&member.name, wanted, bound)?;
        let session = Session(rand::rng().random());
        if self.names.len() < NAMES_MAX || self.names.contains_key(&member.name) {
            self.names.insert(member.name.clone(), actor_index);
        }
        self.freed.remove(&actor_index.0);
        self.by_index.insert(actor_index, session);
        self.by_incarnation.insert(member.incarnation, session);
        let (over, member) = (CancellationToken::new(), Member { actor_index, ..member });
        let watch = over.child_token();
        self.sessions.insert(session, Seat { member, is_connected: false, is_at_work: false, over, watch });
        self.reservations.push_back((now + RESERVATION, session));
        Ok((session, actor_index))
    }

    /// A stream of weights is opened for this session; one that it has ends. Gives what tells its end.
    pub(super) fn watch(&mut self, session: Session) -> Option<(&Member, CancellationToken)> {
        let seat = self.sessions.get_mut(&session)?;
        std::mem::replace(&mut seat.watch, seat.over.child_token()).cancel();
        Some((&seat.member, seat.watch.clone()))
    }

    /// Everybody with an open stream.
    pub(super) fn connected(&self) -> impl Iterator<Item = &Member> {
        self.sessions.values().filter(|seat| seat.is_connected).map(|seat| &seat.member)
    }

    /// Everybody with an open stream who has sent nothing.
    pub(super) fn idle(&self) -> impl Iterator<Item = &Member> {
        self.sessions.values().filter(|seat| seat.is_connected && !seat.is_at_work).map(|seat| &seat.member)
    }

    /// It has sent something.
    pub(super) fn works(&mut self, session: Session) {
        self.sessions.get_mut(&session).into_iter().for_each(|seat| seat.is_at_work = true);
    }

    /// Its stream is open; nothing if the session is unknown or has one already. Gives what tells its end, too.
    pub(super) fn connect(&mut self, session: Session) -> Option<(&Member, CancellationToken)> {
        let seat = self.sessions.get_mut(&session).filter(|seat| !seat.is_connected)?;
        seat.is_connected = true;
        Some((&seat.member, seat.over.clone()))
    }

    /// The session is over; its index is free for others. It may be gone already, if the same process has registered anew.
    pub(super) fn remove(&mut self, session: Session) {
        let Some(Seat { member: Member { actor_index, incarnation, .. }, over, .. }) = self.sessions.remove(&session)
        else {
            return;
        };
        over.cancel();
        self.by_index.remove(&actor_index);
        self.by_incarnation.remove(&incarnation);
        if actor_index.0 < self.unused_from {
            self.freed.insert(actor_index.0);
        }
    }

    /// Frees the places of those that did not come in time.
    fn expire(&mut self, now: Instant) {
        while let Some((_, session)) = self.reservations.pop_front_if(|(until, _)| *until <= now) {
            if self.sessions.get(&session).is_some_and(|seat| !seat.is_connected) {
                self.remove(session);
            }
        }
    }

    fn choose(&mut self, name: &str, wanted: Option<ActorIndex>, bound: u32) -> Result<ActorIndex, NoSeat> {
        let holder = |index: &ActorIndex| self.by_index.get(index).and_then(|session| self.sessions.get(session));
        if let Some(index) = wanted {
            return match holder(&index) {
                Some(seat) if seat.is_at_work => Err(NoSeat::Taken { holder: seat.member.name.clone() }),
                Some(_) => Err(NoSeat::Reserved),
                None => Ok(index),
            };
        }
        if let Some(before) = self.names.get(name).filter(|index| holder(index).is_none()) {
            return Ok(*before);
        }
        if let Some(lowest) = self.freed.first() {
            return Ok(ActorIndex(*lowest));
        }
        // Each index is passed once in the life of a run.
        while self.by_index.contains_key(&ActorIndex(self.unused_from)) {
            self.unused_from += 1;
        }
        if self.unused_from >= bound {
            let is_reserved = self.sessions.values().any(|seat| !seat.is_at_work);
            return Err(if is_reserved { NoSeat::Reserved } else { NoSeat::Full });
        }
        self.unused_from += 1;
        Ok(ActorIndex(self.unused_from - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::weights::Delivery;
    use impala_common::snapshot::Encoding;

    fn member(name: &str, incarnation: u64) -> Member {
        Member {
            actor_index: ActorIndex(0),
            incarnation: Incarnation(incarnation),
            name: name.into(),
            delivery: Delivery { encoding: Encoding::F32, is_stored: false, with_receipts: true },
            evaluates: false,
            tally: std::sync::Arc::default(),
        }
    }

    /// Seats somebody who takes any index below 4.
    fn seat(seats: &mut Seats, name: &str, incarnation: u64, now: Instant) -> Result<(Session, u32), NoSeat> {
        let seated = seats.seat(member(name, incarnation), None, 4, now);
        seated.map(|(session, index)| (session, index.0))
    }

    #[test]
    fn a_reservation_runs_out_and_an_open_stream_does_not() {
        let mut seats = Seats::new();
        let start = Instant::now();
        let (late, _) = seat(&mut seats, "late", 1, start).unwrap();
        let (live, _) = seat(&mut seats, "live", 2, start).unwrap();
        assert_eq!(seats.connect(live).unwrap().0.name, "live");
        let just_before = start + RESERVATION.saturating_sub(Duration::from_millis(1));
        assert_eq!(seat(&mut seats, "third", 3, just_before).unwrap().1, 2);
        assert!(seats.watch(late).is_some());
        let wanted = |seats: &mut Seats, index, now| seats.seat(member("x", 4), Some(ActorIndex(index)), 4, now);
        assert_eq!(wanted(&mut seats, 0, just_before), Err(NoSeat::Reserved));
        assert!(wanted(&mut seats, 0, start + RESERVATION).is_ok());
        assert!(seats.watch(late).is_none());
        assert!(seats.connect(late).is_none());
        assert_eq!(wanted(&mut seats, 1, start + 9 * RESERVATION), Err(NoSeat::Reserved));
        seats.works(live);
        assert_eq!(wanted(&mut seats, 1, start + 9 * RESERVATION), Err(NoSeat::Taken { holder: "live".into() }));
    }

    #[test]
    fn freed_and_wished_for_indices_are_neither_lost_nor_given_twice() {
        let mut seats = Seats::new();
        let now = Instant::now();
        let (wish, _) = seats.seat(member("wish", 1), Some(ActorIndex(1)), 4, now).unwrap();
        let mut sessions: Vec<_> = (2..5).map(|n| seat(&mut seats, &n.to_string(), n, now).unwrap()).collect();
        assert_eq!(sessions.iter().map(|(_, index)| *index).collect::<Vec<_>>(), [0, 2, 3]);
        assert_eq!(seat(&mut seats, "more", 9, now), Err(NoSeat::Reserved));
        seats.remove(wish);
        seats.remove(sessions.remove(1).0);
        assert_eq!(seat(&mut seats, "a", 10, now).unwrap().1, 1);
        assert_eq!(seat(&mut seats, "b", 11, now).unwrap().1, 2);
        assert_eq!(seat(&mut seats, "c", 12, now), Err(NoSeat::Reserved));
        // A process that is back leaves its old place first.
        assert_eq!(seat(&mut seats, "b", 11, now).unwrap().1, 2);
        assert_eq!(seats.sessions.len(), 4);
    }

    #[test]
    fn an_index_above_all_others_is_free_again_when_its_holder_leaves() {
        let mut seats = Seats::new();
        let now = Instant::now();
        let (top, _) = seats.seat(member("top", 1), Some(ActorIndex(3)), 4, now).unwrap();
        seats.remove(top);
        let indices: Vec<_> = (2..6).map(|n| seat(&mut seats, &n.to_string(), n, now).unwrap().1).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
    }

    #[test]
    fn a_session_has_one_stream_of_weights_and_all_of_it_ends_with_the_session() {
        let mut seats = Seats::new();
        let now = Instant::now();
        let (session, _) = seat(&mut seats, "a", 1, now).unwrap();
        let (_, stream) = seats.connect(session).unwrap();
        let (_, first) = seats.watch(session).unwrap();
        let (_, second) = seats.watch(session).unwrap();
        assert_eq!([&stream, &first, &second].map(CancellationToken::is_cancelled), [false, true, false]);
        // The same process registers anew.
        let (again, _) = seat(&mut seats, "a", 1, now).unwrap();
        assert!(stream.is_cancelled() && second.is_cancelled() && again != session);
        assert!(seats.watch(session).is_none());
    }

    #[test]
    fn a_place_that_is_only_reserved_is_worth_another_try() {
        let mut seats = Seats::new();
        let now = Instant::now();
        let sessions: Vec<_> = (1..5).map(|n| seat(&mut seats, &n.to_string(), n, now).unwrap().0).collect();
        assert_eq!(seat(&mut seats, "replacement", 9, now), Err(NoSeat::Reserved));
        for session in &sessions {
            seats.connect(*session).unwrap();
        }
        let [first, others @ ..] = &sessions[..] else { panic!("four") };
        others.iter().for_each(|session| seats.works(*session));
        // It has sent nothing: when it goes, its place is another's.
        assert_eq!(seat(&mut seats, "replacement", 9, now), Err(NoSeat::Reserved));
        seats.works(*first);
        assert_eq!(seat(&mut seats, "one too many", 9, now), Err(NoSeat::Full));
    }
}
