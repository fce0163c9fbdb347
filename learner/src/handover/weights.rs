//! Weights on their way from the trainer to the actors: the slot in which the trainer leaves the newest, and a published
//! version with the snapshots that are made of it, once each, for all who want them.

use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Encoding, NumberFormat, Snapshot, Words, encode};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use tokio::sync::watch;

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
    pub fn take(&self) -> Option<(WeightsVersion, Vec<f32>)> {
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
pub struct Base {
    /// The version.
    pub version: WeightsVersion,
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

    /// The same version, of which an actor that holds one of `bases` gets the difference.
    #[must_use]
    pub fn with_bases(self, bases: Vec<Base>) -> Self {
        Self { bases, ..self }
    }

    /// This version as a base of later ones, in the number formats that it was asked for so far.
    pub fn as_base(&self) -> Base {
        let words = self.made.lock().expect("encoding does not panic").words.values().cloned().collect();
        Base { version: self.version, words }
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
}

/// What subscribers watch: the newest version, once there is one.
pub type PublishedWatch = watch::Receiver<Option<Arc<Published>>>;

/// Set of encodings that the actors of this run use.
#[derive(Debug, Default)]
pub struct WantedEncodings([AtomicBool; Encoding::ALL.len()]);

impl WantedEncodings {
    /// An actor uses `encoding`.
    pub fn add(&self, encoding: Encoding) {
        let known = Encoding::ALL.iter().zip(&self.0).find(|(e, _)| **e == encoding);
        known.expect("every encoding has a place").1.store(true, Ordering::Relaxed);
    }

    /// The encodings in use.
    pub fn list(&self) -> impl Iterator<Item = Encoding> + '_ {
        let wanted = Encoding::ALL.into_iter().zip(&self.0);
        wanted.filter(|(_, wanted)| wanted.load(Ordering::Relaxed)).map(|(encoding, _)| encoding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_keeps_the_newest_and_closes_after_it() {
        let slot = WeightsSlot::default();
        slot.put(WeightsVersion(1), &[1.0]);
        slot.put(WeightsVersion(2), &[2.0]);
        slot.close();
        assert_eq!(slot.take(), Some((WeightsVersion(2), vec![2.0])));
        assert_eq!(slot.take(), None);
    }
}
