//! Timing of something that can be done again and again.

use std::time::{Duration, Instant};

/// Share of the measuring time that is spent before it, until caches and branch predictors know the work.
const WARM_UP: f64 = 0.2;

/// Does `work` for about so many seconds and gives what it does in one second, where one call does `units`.
pub fn rate(seconds: f64, units: usize, mut work: impl FnMut()) -> f64 {
    repeat(seconds * WARM_UP, &mut work);
    let (calls, timed) = repeat(seconds, &mut work);
    calls as f64 * units as f64 / timed.as_secs_f64()
}

/// Calls for so many seconds, at least once.
fn repeat(seconds: f64, work: &mut impl FnMut()) -> (u64, Duration) {
    let (started, mut calls) = (Instant::now(), 0);
    loop {
        work();
        calls += 1;
        let elapsed = started.elapsed();
        if elapsed.as_secs_f64() >= seconds {
            return (calls, elapsed);
        }
    }
}
