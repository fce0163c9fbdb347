//! A curve over the frames trained, of bounded length.

use serde::{Deserialize, Serialize};

/// Points that are kept; beyond it every second one is dropped.
const POINTS_MAX: usize = 4096;

/// A point of a learning curve.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Frames trained.
    pub frames: u64,
    /// Mean return: of the newest 100 episodes that count (of as many as there are, at first), or of an evaluation.
    pub mean_return: f64,
}

/// Points in the order of their frames; the longer it is, the further they are apart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Curve {
    /// The points.
    pub points: Vec<CurvePoint>,
    /// Of so many that are recorded one is kept; 0 is 1.
    pub(super) stride: u64,
    pub(super) skipped: u64,
}

impl Curve {
    /// Adds a point, if one is due.
    pub(super) fn record(&mut self, point: impl FnOnce() -> Option<CurvePoint>) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.points.extend(point());
        if self.points.len() > POINTS_MAX {
            let mut keep = false;
            self.points.retain(|_| {
                keep = !keep;
                keep
            });
            self.stride = 2 * self.stride.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_bounded_and_reaches_to_the_end() {
        let mut curve = Curve::default();
        for frames in 0..20_000 {
            curve.record(|| Some(CurvePoint { frames, mean_return: 10.0 }));
        }
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&curve.points.len()), "{}", curve.points.len());
        assert!(curve.points.last().unwrap().frames > 19_900);
        assert!(curve.points.is_sorted_by_key(|point| point.frames));
    }
}
