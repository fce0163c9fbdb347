//! Weights on their way from the trainer to the actors: the outlet where the trainer leaves the newest, and a published
//! version with the snapshots that are made of it, once each, for all who want them.

use impala_common::ids::WeightsVersion;
use impala_common::snapshot::{Encoding, NumberFormat, Snapshot, Words, encode, store};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// How one actor is sent its weights; settled when it registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Number format, and whether as deltas.
    pub encoding: Encoding,
    /// As they are, without compression: for actors so near that compressing takes longer than sending.
    pub is_stored: bool,
    /// With its receipts; by a stream of their own otherwise.
    pub with_receipts: bool,
}

/// The rounded words of one version, in each number format that was asked for: of the version itself, and later of a base.
type SharedWords = Arc<Mutex<HashMap<NumberFormat, Arc<Words>>>>;

/// An earlier version that actors may hold.
#[derive(Clone, Debug)]
struct Base {
    version: WeightsVersion,
    words: SharedWords,
}

/// One published version; its snapshots are encoded once each, on first demand, and shared.
#[derive(Debug)]
pub struct Published {
    /// The version.
    pub version: WeightsVersion,
    parameters: Vec<f32>,
    /// Of them, those at the end that are not rounded.
    exact: usize,
    bases: Vec<Base>,
    words: SharedWords,
    snapshots: Mutex<HashMap<SnapshotKind, Arc<Snapshot>>>,
}

/// What a message with a snapshot takes besides the payload, bytes; compression that fails adds less.
const SNAPSHOT_OVERHEAD: usize = 256;

/// What tells the snapshots of one version apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct SnapshotKind {
    format: NumberFormat,
    is_stored: bool,
    base: Option<WeightsVersion>,
}

impl Published {
    /// A version that no delta can start from yet, of whose parameters none is exact.
    pub fn new(version: WeightsVersion, parameters: Vec<f32>) -> Self {
        let (words, snapshots) = (SharedWords::default(), Mutex::default());
        Self { version, parameters, exact: 0, bases: Vec::new(), words, snapshots }
    }

    /// The snapshot for an actor that holds version `held`: a delta where the encoding is one and the base is still known,
    /// else in full. Encodes on the first call for each kind, so it may take milliseconds for a large network.
    pub fn snapshot(&self, delivery: Delivery, held: Option<WeightsVersion>) -> Arc<Snapshot> {
        let Delivery { encoding, is_stored, .. } = delivery;
        let format = encoding.format();
        let may_be_delta = encoding.is_delta() && !is_stored;
        let base = self.bases.iter().find(|base| may_be_delta && Some(base.version) == held);
        let base = base.and_then(|base| Some((base.version, lock(&base.words).get(&format)?.clone())));
        let kind = SnapshotKind { format, is_stored, base: base.as_ref().map(|(version, _)| *version) };
        // Held while encoding: whoever wants the same snapshot waits for it instead of making it again.
        let mut snapshots = lock(&self.snapshots);
        let snapshot = snapshots.entry(kind).or_insert_with(|| {
            let words = self.words(format);
            Arc::new(match (&base, is_stored) {
                (_, true) => store(self.version, &words),
                (base, false) => encode(self.version, &words, base.as_ref().map(|(v, words)| (*v, words.as_ref()))),
            })
        });
        snapshot.clone()
    }

    fn words(&self, format: NumberFormat) -> Arc<Words> {
        let mut words = lock(&self.words);
        words.entry(format).or_insert_with(|| Arc::new(Words::round(format, &self.parameters, self.exact))).clone()
    }

    /// Most bytes that a message with it takes.
    pub fn bytes_max(&self, delivery: Delivery) -> usize {
        let rounded = (self.parameters.len() - self.exact) * delivery.encoding.format().word_len();
        rounded + self.exact * size_of::<f32>() + SNAPSHOT_OVERHEAD
    }

    /// Number of parameters.
    pub fn parameter_count(&self) -> usize {
        self.parameters.len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("encoding does not panic")
}

/// Versions whose words are kept as bases of deltas: an actor that is up to so many versions behind gets a delta.
const BASES: usize = 4;

/// The versions of a run, one after the other: each knows the few before it as bases of deltas.
#[derive(Debug)]
pub struct Publications {
    /// To whoever sends weights; none after the end.
    newest: Option<watch::Sender<Option<Arc<Published>>>>,
    exact: usize,
    bases: Vec<Base>,
}

impl Publications {
    /// Nothing is published yet; the last `exact` parameters of every version are not rounded.
    pub fn new(newest: watch::Sender<Option<Arc<Published>>>, exact: usize) -> Self {
        Self { newest: Some(newest), exact, bases: Vec::new() }
    }

    /// The version that [`Publications::publish`] is to make known.
    pub fn prepare(&self, version: WeightsVersion, parameters: Vec<f32>) -> Published {
        Published { bases: self.bases.clone(), exact: self.exact, ..Published::new(version, parameters) }
    }

    /// Makes a version known.
    pub fn publish(&mut self, published: Published) {
        self.bases.push(Base { version: published.version, words: published.words.clone() });
        self.bases.drain(..self.bases.len().saturating_sub(BASES));
        if let Some(newest) = &self.newest {
            newest.send_replace(Some(Arc::new(published)));
        }
    }

    /// Ends every stream of weights.
    pub fn close(&mut self) {
        self.newest = None;
    }
}

/// Networks of up to so many parameters are published by the trainer itself, encoded and decoded where they are needed, and
/// stored as they are for actors of this machine: all of that takes less than waking another thread for it, or little more.
pub const SMALL_NETWORK_MAX: usize = 1 << 16;

/// Where the trainer leaves its weights.
#[derive(Clone, Debug)]
pub enum WeightsOutlet {
    /// They are published on the spot.
    Direct(Arc<Mutex<Publications>>),
    /// The publisher's thread takes the newest.
    Slot(WeightsSlot),
}

impl WeightsOutlet {
    /// Leaves weights to be published.
    pub fn put(&self, version: WeightsVersion, parameters: &[f32]) {
        match self {
            Self::Slot(slot) => slot.put(version, parameters),
            Self::Direct(publications) => {
                let mut publications = lock(publications);
                let published = publications.prepare(version, parameters.to_vec());
                publications.publish(published);
            }
        }
    }

    /// No more weights come.
    pub fn close(&self) {
        match self {
            Self::Slot(slot) => slot.close(),
            Self::Direct(publications) => lock(publications).close(),
        }
    }
}

/// What subscribers watch: the newest version, once there is one.
pub type PublishedWatch = watch::Receiver<Option<Arc<Published>>>;

/// The encodings that connected actors use.
#[derive(Debug, Default)]
pub struct WantedEncodings([AtomicUsize; Encoding::ALL.len()]);

impl WantedEncodings {
    /// An actor uses `encoding` as long as what is returned lives.
    pub fn want(self: &Arc<Self>, encoding: Encoding) -> Wanted {
        self.count(encoding).fetch_add(1, Ordering::Relaxed);
        Wanted { encodings: self.clone(), encoding }
    }

    /// The encodings in use.
    pub fn list(&self) -> impl Iterator<Item = Encoding> + '_ {
        Encoding::ALL.into_iter().filter(|encoding| self.count(*encoding).load(Ordering::Relaxed) > 0)
    }

    fn count(&self, encoding: Encoding) -> &AtomicUsize {
        let known = Encoding::ALL.iter().zip(&self.0).find(|(known, _)| **known == encoding);
        known.expect("every encoding has a place").1
    }
}

/// That an actor uses an encoding.
#[derive(Debug)]
pub struct Wanted {
    encodings: Arc<WantedEncodings>,
    encoding: Encoding,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.encodings.count(self.encoding).fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use impala_common::snapshot::Decoder;

    #[test]
    fn the_slot_keeps_the_newest_and_closes_after_it() {
        let slot = WeightsSlot::default();
        slot.put(WeightsVersion(1), &[1.0]);
        slot.put(WeightsVersion(2), &[2.0]);
        slot.close();
        assert_eq!(slot.take(), Some((WeightsVersion(2), vec![2.0])));
        assert_eq!(slot.take(), None);
    }

    #[test]
    fn holders_of_a_known_base_get_a_delta_and_others_everything() {
        let (sender, newest) = watch::channel(None);
        let publications = Arc::new(Mutex::new(Publications::new(sender, 0)));
        let outlet = WeightsOutlet::Direct(publications);
        let delivery = |encoding| Delivery { encoding, is_stored: false, with_receipts: true };
        let published = || newest.borrow().clone().unwrap();
        let v = WeightsVersion;
        let mut decoder = Decoder::new(3);
        outlet.put(v(0), &[1.0, 2.0, 3.0]);
        let old = published();
        outlet.put(v(1), &[1.5, 2.5, 3.5]);
        // Encoded after it was followed by another version, and a base all the same.
        let first = old.snapshot(delivery(Encoding::F16Delta), None);
        assert_eq!(first.base, None);
        decoder.decode(&first).unwrap();
        let delta = published().snapshot(delivery(Encoding::F16Delta), Some(v(0)));
        assert_eq!(delta.base, Some(v(0)));
        assert_eq!(decoder.decode(&delta).unwrap(), [1.5, 2.5, 3.5]);
        for (encoding, held) in [(Encoding::F16Delta, 77), (Encoding::F32Delta, 0), (Encoding::F16, 0)] {
            assert_eq!(published().snapshot(delivery(encoding), Some(v(held))).base, None);
        }
        assert!(Arc::ptr_eq(&delta, &published().snapshot(delivery(Encoding::F16Delta), Some(v(0)))));
        let stored = Delivery { is_stored: true, ..delivery(Encoding::F16Delta) };
        let stored = published().snapshot(stored, Some(v(0)));
        assert_eq!((stored.base, stored.payload.len()), (None, 6));
        outlet.close();
        assert!(newest.has_changed().is_err(), "the streams have ended");
    }

    #[test]
    fn an_encoding_is_made_ahead_as_long_as_somebody_uses_it() {
        let wanted = Arc::new(WantedEncodings::default());
        let list = || wanted.list().collect::<Vec<_>>();
        let (one, other) = (wanted.want(Encoding::F16Delta), wanted.want(Encoding::F16Delta));
        let full = wanted.want(Encoding::F32);
        assert_eq!(list(), [Encoding::F32, Encoding::F16Delta]);
        drop((one, full));
        assert_eq!(list(), [Encoding::F16Delta]);
        drop(other);
        assert_eq!(list(), []);
    }
}
