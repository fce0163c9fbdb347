//! Ids, versions and counts that two neighbours could swap, each as a type of its own.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Place of an actor in the run, from 0; with the run's seed it decides every random draw of the actor.
    ActorIndex(u32)
}
number! {
    /// Random number that tells one process of an actor from the next.
    Incarnation(u64)
}
number! {
    /// Random number of one registration at a learner: names the actor on its streams, and nobody else can guess it.
    Session(u128)
}
number! {
    /// Position of a trajectory among those that its incarnation produced, from 0.
    Sequence(u64)
}
number! {
    /// Number of updates that went into a set of weights; the initial weights are version 0.
    WeightsVersion(u64)
}

impl WeightsVersion {
    /// Policy lag in updates of weights `self` seen from `current`.
    pub fn lag_behind(self, current: Self) -> u64 {
        current.0.saturating_sub(self.0)
    }
}
