//! The publisher thread: newest weights become snapshots that all actors share. The trainer never waits for it, and a slow
//! actor skips versions.

use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Encoding, NumberFormat, Snapshot, Words, encode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

/// Versions whose words are kept as bases of deltas: an actor that is up to so many versions behind gets a delta.
const BASES: usize = 4;

/// The trainer's side: leaves the newest weights and goes on.
#[derive(Clone, Debug, Default)]
pub struct WeightsSlot {
    shared: Arc<(Mutex<Slot>, Condvar)>,
}

#[derive(Debug, Default)]
struct Slot {
    newest: Option<(WeightsVersion, Vec<f32>)>,
    is_closed: bool,
}

impl WeightsSlot {
    /// Leaves weights for the publisher; replaces those that it has not taken yet.
    pub fn put(&self, version: WeightsVersion, parameters: &[f32]) {
        let mut slot = self.lock();
        match &mut slot.newest {
            Some((old, memory)) => {
                *old = version;
                memory.copy_from_slice(parameters);
            }
            empty => *empty = Some((version, parameters.to_vec())),
        }
        drop(slot);
        self.shared.1.notify_one();
    }

    /// Ends the publisher once it has published what was left.
    pub fn close(&self) {
        self.lock().is_closed = true;
        self.shared.1.notify_one();
    }

    /// Waits for weights; `None` after the end.
    fn take(&self) -> Option<(WeightsVersion, Vec<f32>)> {
        let has_nothing = |slot: &mut Slot| slot.newest.is_none() && !slot.is_closed;
        let slot = self.lock();
        let mut slot = self.shared.1.wait_while(slot, has_nothing).expect("no holder of the slot panics");
        slot.newest.take()
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        self.shared.0.lock().expect("no holder of the slot panics")
    }
}

/// An earlier version that actors may hold.
#[derive(Clone, Debug)]
struct Base {
    version: WeightsVersion,
    /// In each number format that was asked for.
    words: Vec<Arc<Words>>,
}

/// One published version; its snapshots are encoded once each and shared.
#[derive(Debug)]
pub struct Published {
    /// The version.
    pub version: WeightsVersion,
    parameters: Vec<f32>,
    bases: Vec<Base>,
    made: Mutex<Made>,
}

#[derive(Debug, Default)]
struct Made {
    words: HashMap<NumberFormat, Arc<Words>>,
    snapshots: HashMap<(NumberFormat, Option<WeightsVersion>), Arc<Snapshot>>,
}

impl Published {
    /// A version that no delta can start from yet.
    pub fn new(version: WeightsVersion, parameters: Vec<f32>) -> Self {
        Self { version, parameters, bases: Vec::new(), made: Mutex::default() }
    }

    /// The snapshot for an actor that holds version `held`: a delta where the encoding is one and the base is still known,
    /// else in full. Encodes on the first call for each kind, so it may take milliseconds for a large network.
    pub fn snapshot(&self, encoding: Encoding, held: Option<WeightsVersion>) -> Arc<Snapshot> {
        let format = encoding.format();
        let held = self.bases.iter().find(|base| Some(base.version) == held).filter(|_| encoding.is_delta());
        let base =
            held.and_then(|base| Some((base.version, base.words.iter().find(|words| words.format() == format)?)));
        let key = (format, base.map(|(version, _)| version));
        // Held while encoding: whoever wants the same snapshot waits for it instead of making it again.
        let mut made = self.made.lock().expect("encoding does not panic");
        if let Some(snapshot) = made.snapshots.get(&key) {
            return snapshot.clone();
        }
        let words =
            made.words.entry(format).or_insert_with(|| Arc::new(Words::round(format, &self.parameters))).clone();
        let base = base.map(|(version, words)| (version, words.as_ref()));
        let snapshot = Arc::new(encode(self.version, &words, base));
        made.snapshots.insert(key, snapshot.clone());
        snapshot
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }

    fn words(&self) -> Vec<Arc<Words>> {
        self.made.lock().expect("encoding does not panic").words.values().cloned().collect()
    }
}

/// What subscribers watch: the newest version, once there is one.
pub type PublishedWatch = watch::Receiver<Option<Arc<Published>>>;

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
            let published = Published { bases: bases.clone(), ..Published::new(version, parameters) };
            let held = bases.last().map(|base| base.version);
            for encoding in self.wanted.list() {
                published.snapshot(encoding, held);
            }
            bases.push(Base { version, words: published.words() });
            bases.drain(..bases.len().saturating_sub(BASES));
            self.published.send_replace(Some(Arc::new(published)));
        }
    }
}

/// Set of encodings that the actors of this run use.
#[derive(Debug, Default)]
pub struct WantedEncodings([AtomicBool; Encoding::ALL.len()]);

impl WantedEncodings {
    /// An actor uses `encoding`.
    pub fn add(&self, encoding: Encoding) {
        let known = Encoding::ALL.iter().zip(&self.0).find(|(e, _)| **e == encoding);
        known.expect("every encoding has a place").1.store(true, Ordering::Relaxed);
    }

    fn list(&self) -> impl Iterator<Item = Encoding> + '_ {
        let wanted = Encoding::ALL.into_iter().zip(&self.0);
        wanted.filter(|(_, wanted)| wanted.load(Ordering::Relaxed)).map(|(encoding, _)| encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::snapshot::Decoder;

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

    #[test]
    fn the_slot_keeps_the_newest_and_closes_after_it() {
        let slot = WeightsSlot::default();
        slot.put(v(1), &[1.0]);
        slot.put(v(2), &[2.0]);
        slot.close();
        assert_eq!(slot.take(), Some((v(2), vec![2.0])));
        assert_eq!(slot.take(), None);
    }
}
