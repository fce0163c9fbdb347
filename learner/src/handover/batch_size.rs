//! How many trajectories an update takes: a fixed number, or as many as keep the policy lag small with the actors that deliver
//! at the moment. A plain state machine; no clock. The batcher feeds and asks it.
//!
//! An actor has W trajectories on their way at a time, from the reading of its weights to the update that trains on them. With A
//! actors and K trajectories an update there are `A W / K` updates in that time, which is the mean policy lag (Little's law), so
//! `K = A W / lag target` keeps it where it is wanted, whatever the actors' speed.

use impala_common::ids::Incarnation;
use std::collections::{HashMap, HashSet};

/// An actor counts as one that delivers as long as not more trajectories have come since its last than this many rounds of all
/// that do, and [`SPARE`]. One that is slower by far has its share of no lag but its own.
const ROUNDS: usize = 4;
/// So that the order in which few actors happen to come does not matter.
const SPARE: usize = 16;

/// How a batch follows the actors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FollowPlan {
    /// Updates by which trajectories are to be behind, on average.
    pub lag_target: f64,
    /// W
    pub in_flight_max: usize,
    /// Trajectories of a batch that is large enough to learn from, where there are as many.
    pub least: usize,
    /// Bound of the trajectories in a batch, and with it of memory.
    pub most: usize,
}

impl FollowPlan {
    /// K for so many actors that deliver.
    pub fn trajectories(&self, actors: usize) -> usize {
        let under_way = actors.saturating_mul(self.in_flight_max);
        let wanted = (under_way as f64 / self.lag_target).round() as usize;
        // More than are under way would never come.
        wanted.max(self.least).min(under_way).clamp(1, self.most.max(1))
    }
}

/// The size of the next batch.
#[derive(Debug)]
pub enum BatchSize {
    /// So many trajectories.
    Fixed(usize),
    /// As many as the actors make it.
    Follows(Following),
}

/// The actors that deliver, and what follows from their number.
#[derive(Debug)]
pub struct Following {
    plan: FollowPlan,
    /// Of each that delivers, how many trajectories had come with its last one.
    last: HashMap<Incarnation, u64>,
    arrived: u64,
    next_sweep: u64,
    trajectories: usize,
}

impl BatchSize {
    /// One that follows actors, of whom none is here yet.
    pub fn following(plan: FollowPlan) -> Self {
        let trajectories = plan.trajectories(1);
        Self::Follows(Following { plan, last: HashMap::new(), arrived: 0, next_sweep: 1, trajectories })
    }

    /// Trajectories in the next batch.
    pub fn trajectories(&self) -> usize {
        match self {
            Self::Fixed(trajectories) => *trajectories,
            Self::Follows(following) => following.trajectories,
        }
    }

    /// A trajectory of this process has come.
    pub(super) fn arrived(&mut self, incarnation: Incarnation) {
        let Self::Follows(following) = self else { return };
        following.arrived += 1;
        let is_new = following.last.insert(incarnation, following.arrived).is_none();
        if is_new || following.arrived >= following.next_sweep {
            following.sweep();
        }
    }

    /// The process has gone.
    pub(super) fn left(&mut self, incarnation: Incarnation) {
        let Self::Follows(following) = self else { return };
        following.last.remove(&incarnation);
        following.follow();
    }

    /// The trainer has waited long enough for all others than these, of whom so many trajectories are here: the next batch is what
    /// is there.
    pub(super) fn only(&mut self, present: &HashSet<Incarnation>, trajectories: usize) {
        let Self::Follows(following) = self else { return };
        if trajectories == 0 {
            return;
        }
        following.last.retain(|incarnation, _| present.contains(incarnation));
        following.follow();
        following.trajectories = following.trajectories.min(trajectories);
    }
}

impl Following {
    /// Forgets those that have not come for too long: once a round, so that it costs nothing for each trajectory.
    fn sweep(&mut self) {
        let (arrived, round) = (self.arrived, self.last.len() * self.plan.in_flight_max);
        let long_ago = (ROUNDS * round + SPARE) as u64;
        self.last.retain(|_, last| arrived - *last <= long_ago);
        self.next_sweep = arrived + self.last.len() as u64;
        self.follow();
    }

    fn follow(&mut self) {
        self.trajectories = self.plan.trajectories(self.last.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: FollowPlan = FollowPlan { lag_target: 4.0, in_flight_max: 1, least: 1, most: 32 };

    fn rounds(size: &mut BatchSize, actors: std::ops::Range<u64>, count: usize) {
        for _ in 0..count {
            actors.clone().for_each(|actor| size.arrived(Incarnation(actor)));
        }
    }

    #[test]
    fn a_batch_holds_what_keeps_the_lag_at_its_target_within_bounds() {
        let of = |plan: FollowPlan| [1, 2, 4, 8, 16, 64, 128, 1000].map(|actors| plan.trajectories(actors));
        assert_eq!(of(PLAN), [1, 1, 1, 2, 4, 16, 32, 32]);
        assert_eq!(of(FollowPlan { lag_target: 0.5, ..PLAN }), [1, 2, 4, 8, 16, 32, 32, 32]);
        assert_eq!(of(FollowPlan { in_flight_max: 4, ..PLAN })[..4], [1, 2, 4, 8]);
        // Small trajectories, as many of them as there are.
        assert_eq!(of(FollowPlan { least: 8, ..PLAN }), [1, 2, 4, 8, 8, 16, 32, 32]);
        assert_eq!(of(FollowPlan { least: 8, most: 0, ..PLAN })[..4], [1, 1, 1, 1]);
    }

    #[test]
    fn it_grows_with_actors_and_shrinks_when_they_leave() {
        let mut size = BatchSize::following(PLAN);
        assert_eq!(size.trajectories(), 1);
        rounds(&mut size, 0..64, 1);
        assert_eq!(size.trajectories(), 16);
        (8..64).for_each(|actor| size.left(Incarnation(actor)));
        assert_eq!(size.trajectories(), 2);
        size.left(Incarnation(99));
        (0..8).for_each(|actor| size.left(Incarnation(actor)));
        assert_eq!(size.trajectories(), 1);
    }

    #[test]
    fn actors_that_fell_silent_are_forgotten_after_some_rounds_and_at_once_when_they_are_waited_for_in_vain() {
        let mut size = BatchSize::following(PLAN);
        rounds(&mut size, 0..64, 2);
        // Those that still come make it smaller: in four of the old rounds at the latest.
        rounds(&mut size, 0..8, 4 * 64 / 8 + 2 + 8);
        assert_eq!(size.trajectories(), 2);
        rounds(&mut size, 0..64, 1);
        assert_eq!(size.trajectories(), 16);
        size.only(&[Incarnation(3)].into(), 1);
        assert_eq!(size.trajectories(), 1);
        // Whoever comes again counts again.
        rounds(&mut size, 0..64, 1);
        assert_eq!(size.trajectories(), 16);
    }

    #[test]
    fn a_batch_that_waits_no_longer_is_what_is_there_also_where_actors_may_have_more_under_way() {
        let mut size = BatchSize::following(FollowPlan { in_flight_max: 2, least: 8, ..PLAN });
        rounds(&mut size, 0..2, 4);
        assert_eq!(size.trajectories(), 4);
        // One of the two stands still after its first; three are here.
        size.only(&[Incarnation(0), Incarnation(1)].into(), 3);
        assert_eq!(size.trajectories(), 3);
        // Whoever comes again counts again; nobody is forgotten where nobody is here: all may merely be at work.
        rounds(&mut size, 0..2, 4);
        size.only(&HashSet::new(), 0);
        assert_eq!(size.trajectories(), 4);
    }

    #[test]
    fn an_actor_that_is_slower_by_far_is_not_waited_for() {
        let mut size = BatchSize::following(PLAN);
        for _ in 0..3 {
            rounds(&mut size, 100..160, 1);
            rounds(&mut size, 0..4, 200);
            assert_eq!(size.trajectories(), 1);
        }
    }
}
