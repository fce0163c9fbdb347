//! Guards against hanging: no test depends on how long anything takes, but none waits for ever.

use std::future::Future;
use std::time::Duration;

/// The longest wait for one event.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Waits for what a test expects next.
///
/// # Panics
/// If it does not come.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let outcome = tokio::time::timeout(PATIENCE, future).await;
    outcome.unwrap_or_else(|_| panic!("{what}: nothing came within {PATIENCE:?}"))
}
