//! When an actor is sent newer weights: not with every version, but when it is about to use them.
//!
//! An actor with a full window makes nothing before one of its trajectories is decided; what is published until then would
//! be sent and decoded for nothing, once an actor and update. So its weights stream waits until the batcher has put one of
//! its trajectories into a batch, and again until that batch is taken for training; each time it sends the newest version
//! and the one after it. The receipt names the version that was newest the first time: the actor waits for it, so that it
//! never starts with the weights of its last turn.

use crate::handover::weights::PublishedWatch;
use impala_common::ids::WeightsVersion;
use tokio::sync::watch;

/// One actor's demand for weights; shared by its trajectories' tickets and its weights streams.
#[derive(Debug)]
pub struct WeightsDemand {
    published: PublishedWatch,
    wanted: watch::Sender<Wanted>,
}

/// Which weights are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// Every version: by who has sent no trajectory yet, and in lockstep, where the actor waits for a version that may be
    /// published after its receipt.
    All,
    /// This version or a newer one.
    From(WeightsVersion),
}

impl WeightsDemand {
    /// Every version is wanted, until [`WeightsDemand::gate`].
    pub fn new(published: PublishedWatch) -> Self {
        Self { published, wanted: watch::channel(Wanted::All).0 }
    }

    /// From now on weights are sent on demand only.
    pub fn gate(&self) {
        self.wanted.send_if_modified(|wanted| {
            let is_ungated = *wanted == Wanted::All;
            if is_ungated {
                *wanted = Wanted::From(WeightsVersion(0));
            }
            is_ungated
        });
    }

    /// From now on every version is wanted.
    pub fn ungate(&self) {
        self.wanted.send_replace(Wanted::All);
    }

    /// The actor will want the newest weights soon, and the version after them, and in any case `oldest` or newer ones;
    /// returns the version of the newest.
    pub fn demand(&self, oldest: WeightsVersion) -> WeightsVersion {
        let newest = self.published.borrow().as_ref().map_or(WeightsVersion(0), |newest| newest.version);
        let next = WeightsVersion(newest.0.saturating_add(1)).max(oldest);
        self.wanted.send_if_modified(|wanted| match wanted {
            Wanted::From(version) if *version < next => {
                *version = next;
                true
            }
            _ => false,
        });
        newest
    }

    /// Waits until an actor that holds version `held` wants newer weights.
    pub async fn wanted(&self, held: WeightsVersion) {
        let wants_newer = |wanted: &Wanted| match wanted {
            Wanted::All => true,
            Wanted::From(version) => held < *version,
        };
        // The sender is this object's own.
        let _ = self.wanted.subscribe().wait_for(wants_newer).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::weights::Published;
    use std::future::Future;
    use std::pin::pin;
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    fn is_wanted(demand: &WeightsDemand, held: u64) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        pin!(demand.wanted(WeightsVersion(held))).poll(&mut context) == Poll::Ready(())
    }

    #[test]
    fn a_gated_actor_wants_weights_until_it_holds_newer_ones_than_at_the_demand() {
        let (published, watch) = watch::channel(None);
        let publish = |version| {
            published.send_replace(Some(Arc::new(Published::new(WeightsVersion(version), vec![0.0]))));
        };
        let demand = WeightsDemand::new(watch);
        publish(4);
        assert!(is_wanted(&demand, 4));
        demand.gate();
        assert!(!is_wanted(&demand, 3));
        assert_eq!(demand.demand(WeightsVersion(0)), WeightsVersion(4));
        assert!(is_wanted(&demand, 3) && is_wanted(&demand, 4));
        assert!(!is_wanted(&demand, 5));
        publish(6);
        assert!(!is_wanted(&demand, 5));
        // A publisher that is behind may publish something that is too old still.
        assert_eq!(demand.demand(WeightsVersion(9)), WeightsVersion(6));
        assert!(is_wanted(&demand, 7) && is_wanted(&demand, 8));
        assert!(!is_wanted(&demand, 9));
        demand.ungate();
        assert!(is_wanted(&demand, 6));
    }
}
