//! The trajectory account: nothing is lost silently.
//!
//! At any time `produced = trained + refused + lost in transit + in flight`. A trajectory is known by its
//! actor's incarnation and its sequence. The learner learns of one when it arrives, when a later one of the same incarnation shows a gap, when the
//! actor registers again, or from its farewell. What an actor had produced but not delivered when it was killed is never
//! heard of: at most `in_flight_max + 1` trajectories.

pub use impala_common::account::{Account, COUNT_MAX, Disposition};
use impala_common::ids::{Incarnation, Sequence};
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};

/// Most trajectories that an incarnation may claim: at a million a second they take nine years. Bounds what a peer that
/// lies about its count can do to the account.
pub const PRODUCED_MAX: u64 = 1 << 48;

/// Most trajectories that can be missing between two that came: a few windows of them get lost with each connection.
const GAP_MAX: u64 = 1 << 20;

/// A count that cannot be, as it would be one of trajectories that came twice, or that nobody has heard of.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{count}, expected {expected} to {}", expected + GAP_MAX)]
pub struct Miscounted {
    count: u64,
    expected: u64,
}

/// Keeps the account; shared by the service's tasks and the trainer.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    account: Account,
    /// The next sequence of each incarnation that has been heard of.
    next: HashMap<Incarnation, u64>,
    /// Those in the order in which they were heard of first; some have left by now.
    known: VecDeque<Incarnation>,
}

/// Incarnations that are remembered, more than there can be actors: the first that were heard of are forgotten for later ones. One of
/// those that is still at work goes on; a gap that it leaves then is not counted as lost.
const KNOWN_MAX: usize = 1 << 17;

impl Ledger {
    /// Goes on with a checkpoint's account. What was in flight then is lost: no learner of this run will decide it.
    pub fn resumed(account: Account) -> Self {
        let lost = account.lost.saturating_add(account.in_flight());
        let account = Account { lost, ..account };
        Self { state: Mutex::new(State { account, ..State::default() }) }
    }

    /// An incarnation registers, having produced `produced` so far. If it is new here, its past was another learner's; so it is if it
    /// has produced far more than it had.
    pub fn register(&self, incarnation: Incarnation, produced: Sequence) {
        let mut state = self.lock();
        state.know(incarnation, produced.0);
        if state.catch_up(incarnation, produced.0).is_err_and(|miscounted| produced.0 > miscounted.expected) {
            state.next.insert(incarnation, produced.0);
        }
    }

    /// A trajectory arrives; those skipped before it are lost.
    ///
    /// # Errors
    /// Its sequence has been seen or passed already, or leaves out more than can be; the account is unchanged.
    pub fn arrive(&self, incarnation: Incarnation, sequence: Sequence) -> Result<(), Miscounted> {
        let mut state = self.lock();
        // One that is not known any more has nothing to make up for.
        state.know(incarnation, sequence.0);
        state.catch_up(incarnation, sequence.0)?;
        state.account.produced += 1;
        state.next.insert(incarnation, sequence.0 + 1);
        Ok(())
    }

    /// The sequence of an incarnation's next trajectory.
    pub fn expected(&self, incarnation: Incarnation) -> Sequence {
        Sequence(self.lock().next.get(&incarnation).copied().unwrap_or(0))
    }

    /// An arrived trajectory is decided.
    pub fn settle(&self, disposition: Disposition) {
        *self.lock().account.count_mut(disposition) += 1;
    }

    /// An incarnation leaves, having produced `produced` in all.
    ///
    /// # Errors
    /// It cannot have produced so many; the account is unchanged.
    pub fn farewell(&self, incarnation: Incarnation, produced: Sequence) -> Result<(), Miscounted> {
        let mut state = self.lock();
        state.know(incarnation, produced.0);
        state.catch_up(incarnation, produced.0)?;
        // Should it come back, it tells how many it has produced by then.
        state.next.remove(&incarnation);
        Ok(())
    }

    /// The account now.
    pub fn account(&self) -> Account {
        self.lock().account
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of the ledger panics")
    }
}

impl State {
    /// The next sequence of an incarnation, which is `next` where it is not known yet.
    fn know(&mut self, incarnation: Incarnation, next: u64) -> u64 {
        if let Some(known) = self.next.get(&incarnation) {
            return *known;
        }
        if self.known.len() >= KNOWN_MAX
            && let Some(oldest) = self.known.pop_front()
        {
            self.next.remove(&oldest);
        }
        self.known.push_back(incarnation);
        self.next.insert(incarnation, next);
        next
    }

    /// Counts what lies between the next expected sequence and `produced` as produced and lost. Peers that lie about their counts must
    /// not be able to make ours one that no checkpoint can have.
    fn catch_up(&mut self, incarnation: Incarnation, produced: u64) -> Result<(), Miscounted> {
        let next = self.next.entry(incarnation).or_insert(0);
        let miscounted = Miscounted { count: produced, expected: *next };
        let gap = produced.checked_sub(*next).filter(|gap| *gap <= GAP_MAX).ok_or(miscounted)?;
        *next += gap;
        let gap = gap.min((COUNT_MAX / 2).saturating_sub(self.account.produced));
        self.account.produced += gap;
        self.account.lost += gap;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Incarnation = Incarnation(10);

    #[test]
    fn gaps_are_lost_and_the_account_closes() {
        let ledger = Ledger::default();
        ledger.register(FIRST, Sequence(0));
        ledger.arrive(FIRST, Sequence(0)).unwrap();
        ledger.arrive(FIRST, Sequence(3)).unwrap();
        assert_eq!(ledger.account(), Account { produced: 4, lost: 2, ..Account::default() });
        assert_eq!(ledger.account().in_flight(), 2);
        ledger.settle(Disposition::Trained);
        ledger.settle(Disposition::Stale);
        ledger.farewell(FIRST, Sequence(6)).unwrap();
        let account = ledger.account();
        assert_eq!(account, Account { produced: 6, trained: 1, refused_stale: 1, lost: 4, ..Account::default() });
        assert_eq!(account.in_flight(), 0);
    }

    #[test]
    fn an_incarnation_that_registers_again_shows_what_was_lost() {
        let ledger = Ledger::default();
        ledger.register(FIRST, Sequence(0));
        ledger.arrive(FIRST, Sequence(0)).unwrap();
        ledger.register(FIRST, Sequence(2));
        assert_eq!(ledger.account().lost, 1);
        // What an actor did for an earlier learner is not this run's.
        ledger.register(Incarnation(11), Sequence(500));
        ledger.arrive(Incarnation(11), Sequence(500)).unwrap();
        assert_eq!(ledger.account().produced, 3);
    }

    #[test]
    fn counts_that_cannot_be_change_nothing() {
        let ledger = Ledger::default();
        ledger.register(FIRST, Sequence(0));
        ledger.arrive(FIRST, Sequence(0)).unwrap();
        let before = ledger.account();
        assert!(ledger.arrive(FIRST, Sequence(GAP_MAX + 2)).is_err());
        assert!(ledger.farewell(FIRST, Sequence(PRODUCED_MAX)).is_err());
        let error = ledger.farewell(FIRST, Sequence(0)).unwrap_err().to_string();
        assert_eq!(error, "0, expected 1 to 1048577");
        // It was with another learner meanwhile, for years.
        ledger.register(FIRST, Sequence(PRODUCED_MAX));
        assert_eq!(ledger.account(), before);
        ledger.arrive(FIRST, Sequence(PRODUCED_MAX)).unwrap();
        assert_eq!(ledger.account().produced, 2);
    }

    #[test]
    fn no_peer_makes_an_account_that_a_checkpoint_cannot_have() {
        let account = Account { produced: COUNT_MAX / 2 - 5, trained: 7, ..Account::default() };
        let ledger = Ledger::resumed(account);
        for incarnation in 0..10 {
            ledger.register(Incarnation(incarnation), Sequence(0));
            ledger.farewell(Incarnation(incarnation), Sequence(GAP_MAX)).unwrap();
        }
        let account = ledger.account();
        assert_eq!(account.produced, COUNT_MAX / 2);
        account.validate().unwrap();
    }

    #[test]
    fn a_resumed_account_closes_over_what_was_in_flight() {
        let before = Account { produced: 10, trained: 6, refused_stale: 1, lost: 1, ..Account::default() };
        let ledger = Ledger::resumed(before);
        assert_eq!(ledger.account(), Account { lost: 3, ..before });
        assert_eq!(ledger.account().in_flight(), 0);
        // An actor that survived its learner is new here.
        ledger.register(FIRST, Sequence(40));
        ledger.arrive(FIRST, Sequence(41)).unwrap();
        assert_eq!(ledger.account(), Account { produced: 12, lost: 4, ..before });
    }

    #[test]
    fn a_repeated_trajectory_is_refused() {
        let ledger = Ledger::default();
        ledger.arrive(FIRST, Sequence(4)).unwrap();
        assert!(ledger.arrive(FIRST, Sequence(4)).is_err());
        assert!(ledger.arrive(FIRST, Sequence(u64::MAX)).is_err());
        // What one made before that is not known here is not held against it.
        assert_eq!(ledger.account(), Account { produced: 1, ..Account::default() });
    }

    #[test]
    fn invented_incarnations_are_forgotten() {
        let ledger = Ledger::default();
        for incarnation in 0..KNOWN_MAX as u64 + 100 {
            ledger.register(Incarnation(incarnation), Sequence(7));
        }
        let known = |state: &State| (state.next.len(), state.known.len());
        assert_eq!(known(&ledger.lock()), (KNOWN_MAX, KNOWN_MAX));
        assert_eq!(ledger.expected(Incarnation(KNOWN_MAX as u64)), Sequence(7));
        // One that was forgotten and is there all the same goes on, without a gap.
        ledger.arrive(Incarnation(3), Sequence(12)).unwrap();
        assert_eq!(ledger.account(), Account { produced: 1, ..Account::default() });
    }

    #[test]
    fn one_that_is_back_after_its_farewell_goes_on_where_it_was() {
        let ledger = Ledger::default();
        ledger.register(FIRST, Sequence(0));
        ledger.arrive(FIRST, Sequence(0)).unwrap();
        ledger.farewell(FIRST, Sequence(1)).unwrap();
        ledger.arrive(FIRST, Sequence(1)).unwrap();
        assert_eq!(ledger.account(), Account { produced: 2, ..Account::default() });
    }
}
