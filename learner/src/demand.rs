//! When an actor is sent newer weights: not with every version, but when it is about to use them.
//!
//! An actor with a full window makes nothing before one of its trajectories is decided; what is published until then would
//! be encoded, sent and decoded for nothing, once an actor and update. So its weights stream waits until the batcher has
//! put one of its trajectories into a batch. Then it sends the newest version and the one after it, which comes about when
//! the trainer takes the batch and the receipt frees the place. The receipt names the first of them: the actor waits for
//! it, so that it never starts with the weights of its last turn.

use crate::publisher::PublishedWatch;
use impala_common::ids::WeightsVersion;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Notify;

/// One actor's demand for weights; shared by its trajectories' tickets and its weights stream.
#[derive(Debug)]
pub struct WeightsDemand {
    published: PublishedWatch,
    /// Whether only demanded weights are sent. Off for who has sent no trajectory yet, and in lockstep, where the actor waits for
    /// a version that may be published after its receipt.
    is_gated: AtomicBool,
    /// The actor is to hold this version or a newer one.
    version_min: AtomicU64,
    changed: Notify,
}

impl WeightsDemand {
    /// Every version is wanted, until [`WeightsDemand::gate`].
    pub fn new(published: PublishedWatch) -> Self {
        Self { published, is_gated: AtomicBool::new(false), version_min: AtomicU64::new(0), changed: Notify::new() }
    }

    /// From now on weights are sent on demand only.
    pub fn gate(&self) {
        self.is_gated.store(true, Ordering::Release);
    }

    /// From now on every version is wanted.
    pub fn ungate(&self) {
        self.is_gated.store(false, Ordering::Release);
        self.changed.notify_one();
    }

    /// The actor will want the newest weights soon, and the version after them; returns the version of the newest.
    pub fn demand(&self) -> WeightsVersion {
        let newest = self.published.borrow().as_ref().map_or(WeightsVersion(0), |newest| newest.version);
        self.version_min.fetch_max(newest.0.saturating_add(1), Ordering::AcqRel);
        self.changed.notify_one();
        newest
    }

    /// Waits until an actor that holds version `held` wants newer weights.
    pub async fn wanted(&self, held: WeightsVersion) {
        while self.is_gated.load(Ordering::Acquire) && held.0 >= self.version_min.load(Ordering::Acquire) {
            self.changed.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publisher::Published;
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
        let (published, watch) = tokio::sync::watch::channel(None);
        let publish = |version| {
            published.send_replace(Some(Arc::new(Published::new(WeightsVersion(version), vec![0.0]))));
        };
        let demand = WeightsDemand::new(watch);
        publish(4);
        assert!(is_wanted(&demand, 4));
        demand.gate();
        assert!(!is_wanted(&demand, 3));
        assert_eq!(demand.demand(), WeightsVersion(4));
        assert!(is_wanted(&demand, 3) && is_wanted(&demand, 4));
        assert!(!is_wanted(&demand, 5));
        publish(6);
        assert!(!is_wanted(&demand, 5));
        demand.ungate();
        assert!(is_wanted(&demand, 6));
    }
}
