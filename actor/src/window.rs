//! The window between rollout and learner: how many trajectories may be under way, and how new the next must be.

use impala_common::ids::WeightsVersion;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Semaphore;

/// Places for trajectories without a receipt; taken by the rollout, opened by the link.
#[derive(Debug)]
pub struct Window {
    places: Semaphore,
    version_min: AtomicU64,
}

impl Window {
    /// A window with so many free places.
    pub fn new(places: usize) -> Self {
        Self { places: Semaphore::new(places), version_min: AtomicU64::new(0) }
    }

    /// Frees places.
    pub fn open(&self, places: usize) {
        self.places.add_permits(places);
    }

    /// Frees a place for a trajectory that is to be made with this version or a newer one.
    pub fn open_for(&self, version_min: WeightsVersion) {
        self.version_min.fetch_max(version_min.0, Ordering::Relaxed);
        self.open(1);
    }

    /// Waits for a free place and takes it; tells the oldest version that may make the next trajectory.
    pub async fn take(&self) -> WeightsVersion {
        self.places.acquire().await.expect("the window is never closed").forget();
        WeightsVersion(self.version_min.load(Ordering::Relaxed))
    }
}
