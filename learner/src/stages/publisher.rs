//! The publisher thread: newest weights become snapshots that all actors share. The trainer never waits for it, and a slow
//! actor skips versions.

use crate::handover::weights::{Base, Published, WantedEncodings, WeightsSlot};
use std::sync::Arc;
use tokio::sync::watch;

/// Versions whose words are kept as bases of deltas: an actor that is up to so many versions behind gets a delta.
const BASES: usize = 4;

/// Endpoints of the publisher.
#[derive(Debug)]
pub struct Publisher {
    /// Where the trainer leaves weights.
    pub slot: WeightsSlot,
    /// To the subscribers.
    pub published: watch::Sender<Option<Arc<Published>>>,
    /// Encodings that actors have asked for; those are made here, ahead of the subscribers.
    pub wanted: Arc<WantedEncodings>,
}

impl Publisher {
    /// Works until the slot is closed.
    pub fn run(self) {
        let mut bases: Vec<Base> = Vec::new();
        while let Some((version, parameters)) = self.slot.take() {
            let published = Published::new(version, parameters).with_bases(bases.clone());
            let held = bases.last().map(|base| base.version);
            for encoding in self.wanted.list() {
                published.snapshot(encoding, held);
            }
            bases.push(published.as_base());
            bases.drain(..bases.len().saturating_sub(BASES));
            self.published.send_replace(Some(Arc::new(published)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handover::weights::PublishedWatch;
    use impala_common::ids::WeightsVersion;
    use impala_common::snapshot::{Decoder, Encoding};

    fn v(version: u64) -> WeightsVersion {
        WeightsVersion(version)
    }

    /// A running publisher that has been asked for `f16-delta`.
    fn publisher() -> (WeightsSlot, PublishedWatch, std::thread::JoinHandle<()>) {
        let (sender, watch) = watch::channel(None);
        let publisher = Publisher { slot: WeightsSlot::default(), published: sender, wanted: Arc::default() };
        publisher.wanted.add(Encoding::F16Delta);
        let slot = publisher.slot.clone();
        let thread = std::thread::Builder::new().name("publisher".into()).spawn(|| publisher.run()).unwrap();
        (slot, watch, thread)
    }

    async fn wait_for(watch: &mut PublishedWatch, version: u64) -> Arc<Published> {
        let reached = |p: &Option<Arc<Published>>| p.as_ref().is_some_and(|p| p.version == v(version));
        watch.wait_for(reached).await.unwrap().clone().unwrap()
    }

    #[tokio::test]
    async fn holders_of_a_known_base_get_a_delta_and_others_everything() {
        let (slot, mut watch, thread) = publisher();
        let mut decoder = Decoder::new(3);
        slot.put(v(0), &[1.0, 2.0, 3.0]);
        let first = wait_for(&mut watch, 0).await.snapshot(Encoding::F16Delta, None);
        assert_eq!(first.base, None);
        decoder.decode(&first).unwrap();
        slot.put(v(1), &[1.5, 2.5, 3.5]);
        let published = wait_for(&mut watch, 1).await;
        let delta = published.snapshot(Encoding::F16Delta, Some(v(0)));
        assert_eq!(delta.base, Some(v(0)));
        assert_eq!(decoder.decode(&delta).unwrap(), [1.5, 2.5, 3.5]);
        assert_eq!(published.snapshot(Encoding::F16Delta, Some(v(77))).base, None);
        assert_eq!(published.snapshot(Encoding::F32Delta, Some(v(0))).base, None);
        assert_eq!(published.snapshot(Encoding::F16, Some(v(0))).base, None);
        assert!(Arc::ptr_eq(&delta, &published.snapshot(Encoding::F16Delta, Some(v(0)))));
        slot.close();
        thread.join().unwrap();
    }
}
