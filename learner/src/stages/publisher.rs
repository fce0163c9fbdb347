//! The publisher thread of large networks: the newest weights become snapshots that all actors share. The trainer never waits
//! for it, and a slow actor skips versions. Small networks have none: their trainer publishes by itself.

use crate::handover::weights::{Delivery, Publications, WantedEncodings, WeightsSlot};
use impala_common::ids::WeightsVersion;
use std::sync::Arc;

/// Endpoints of the publisher.
#[derive(Debug)]
pub struct Publisher {
    /// Where the trainer leaves weights.
    pub slot: WeightsSlot,
    /// To whoever sends weights.
    pub publications: Publications,
    /// Encodings that connected actors use; those are made here, ahead of the subscribers.
    pub wanted: Arc<WantedEncodings>,
}

impl Publisher {
    /// Works until the slot is closed.
    pub fn run(mut self) {
        let mut held: Option<WeightsVersion> = None;
        while let Some((version, parameters)) = self.slot.take() {
            let published = self.publications.prepare(version, parameters);
            for encoding in self.wanted.list() {
                published.snapshot(Delivery { encoding, is_stored: false, with_receipts: true }, held);
            }
            self.publications.publish(published);
            held = Some(version);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::snapshot::Encoding;
    use tokio::sync::watch;

    #[test]
    fn what_was_left_is_published_before_the_end() {
        let (sender, newest) = watch::channel(None);
        let publications = Publications::new(sender, 0);
        let publisher = Publisher { slot: WeightsSlot::default(), publications, wanted: Arc::default() };
        let _actor = publisher.wanted.want(Encoding::F16Delta);
        publisher.slot.put(WeightsVersion(3), &[1.0, 2.0]);
        publisher.slot.close();
        publisher.run();
        assert_eq!(newest.borrow().as_ref().map(|newest| newest.version), Some(WeightsVersion(3)));
    }
}
