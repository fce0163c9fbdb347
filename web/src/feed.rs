//! Between a run and the pages that show it. The run leaves what it tells, whether or not anybody looks; whoever looks gets the newest. A
//! slow reader misses what came between, and holds up nobody.

use crate::history::History;
use crate::snapshot::{About, Actor, Frame, Snapshot};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;

/// The newest of something, as JSON; nothing before the first.
pub(crate) type Newest = watch::Receiver<Option<Arc<str>>>;

/// Both sides have a copy.
#[derive(Clone, Debug)]
pub struct Feed {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    about: Mutex<Arc<str>>,
    snapshot: watch::Sender<Option<Arc<str>>>,
    frame: watch::Sender<Option<Arc<str>>>,
    /// The last snapshot, when no other follows.
    end: watch::Sender<Option<Arc<str>>>,
    history: Mutex<History>,
    fleet: Mutex<Arc<[Actor]>>,
    watchers: AtomicUsize,
}

/// Somebody who looks, until it is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    shared: Arc<Shared>,
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Feed {
    /// Of a run that has told nothing yet.
    pub fn new() -> Self {
        let about = Mutex::new(json(&About::default()));
        let [snapshot, frame, end] = [(); 3].map(|()| watch::channel(None).0);
        let (history, fleet, watchers) = (Mutex::default(), Mutex::new([].into()), AtomicUsize::new(0));
        Self { shared: Arc::new(Shared { about, snapshot, frame, end, history, fleet, watchers }) }
    }

    /// What does not change from now on.
    pub fn introduce(&self, about: &About) {
        *lock(&self.shared.about) = json(about);
    }

    /// The run at this moment.
    pub fn tell(&self, snapshot: &Snapshot) {
        lock(&self.shared.history).record(snapshot);
        self.shared.snapshot.send_replace(Some(json(snapshot)));
    }

    /// The run's actors at this moment; worth gathering where somebody looks.
    pub fn tell_fleet(&self, fleet: Vec<Actor>) {
        *lock(&self.shared.fleet) = fleet.into();
    }

    /// A moment of an episode; worth playing where somebody looks.
    pub fn show(&self, frame: &Frame<'_>) {
        self.shared.frame.send_replace(Some(json(frame)));
    }

    /// What was told last is how the run ended.
    pub fn end(&self) {
        let last = self.shared.snapshot.borrow().clone();
        self.shared.end.send_replace(last);
    }

    /// Whether somebody looks.
    pub fn is_watched(&self) -> bool {
        self.shared.watchers.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn about(&self) -> Arc<str> {
        lock(&self.shared.about).clone()
    }

    pub(crate) fn history(&self) -> History {
        lock(&self.shared.history).clone()
    }

    pub(crate) fn fleet(&self) -> Arc<[Actor]> {
        lock(&self.shared.fleet).clone()
    }

    /// Begins to look: at snapshots, at moments of episodes, and for the end.
    pub(crate) fn watch(&self) -> (Watcher, [Newest; 3]) {
        self.shared.watchers.fetch_add(1, Ordering::Relaxed);
        let watcher = Watcher { shared: self.shared.clone() };
        let Shared { snapshot, frame, end, .. } = &*self.shared;
        (watcher, [snapshot, frame, end].map(watch::Sender::subscribe))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.watchers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Numbers that are none become null.
fn json(told: &impl serde::Serialize) -> Arc<str> {
    serde_json::to_string(told).expect("plain fields are JSON").into()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder panics")
}
