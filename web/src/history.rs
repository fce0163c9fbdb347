//! What a run came to so far, for the curves of a page that is opened later: of bounded length, whatever the run's is.

use crate::snapshot::Snapshot;
use serde::Serialize;

/// Points that are kept; beyond it every second one is dropped. A curve on a screen has no more.
const POINTS_MAX: usize = 1024;

/// Curves over the points, as arrays of the same length.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct History {
    frames: Vec<u64>,
    seconds: Vec<f64>,
    mean_return: Vec<Option<f64>>,
    evaluated: Vec<Option<f64>>,
    frames_per_second: Vec<f64>,
    entropy: Vec<f64>,
    explained_variance: Vec<Option<f64>>,
    loss: Vec<Option<f64>>,
    lag: Vec<f64>,
    #[serde(skip)]
    stride: usize,
    #[serde(skip)]
    skipped: usize,
}

impl History {
    /// Adds a moment, if one is due.
    pub fn record(&mut self, snapshot: &Snapshot) {
        self.skipped += 1;
        if self.skipped < self.stride {
            return;
        }
        self.skipped = 0;
        self.frames.push(snapshot.frames);
        self.seconds.push(snapshot.seconds);
        self.mean_return.push(snapshot.mean_return);
        self.evaluated.push(None);
        self.frames_per_second.push(snapshot.frames_per_second);
        self.entropy.push(snapshot.entropy);
        self.explained_variance.push(snapshot.explained_variance);
        self.loss.push(snapshot.losses.get("total").copied());
        self.lag.push(snapshot.lag_mean);
        self.place_evaluation(snapshot);
        if self.frames.len() > POINTS_MAX {
            self.stride = 2 * self.stride.max(1);
            thin(&mut self.frames);
            thin(&mut self.seconds);
            thin(&mut self.mean_return);
            thin_marks(&mut self.evaluated);
            thin(&mut self.frames_per_second);
            thin(&mut self.entropy);
            thin(&mut self.explained_variance);
            thin(&mut self.loss);
            thin(&mut self.lag);
        }
    }

    /// Puts the newest evaluation where its policy stood, which was some time ago.
    fn place_evaluation(&mut self, snapshot: &Snapshot) {
        let Some(frames) = snapshot.evaluated_frames else { return };
        let place = self.frames.partition_point(|at| *at < frames);
        if let Some(mean) = self.evaluated.get_mut(place) {
            *mean = snapshot.evaluated;
        }
    }
}

/// The same of marks of which none is to be lost: what stood at a place that is dropped stands at the next one.
fn thin_marks(marks: &mut Vec<Option<f64>>) {
    for place in (2..marks.len()).step_by(2) {
        marks[place] = marks[place].or(marks[place - 1]);
    }
    thin(marks);
}

/// Drops every second one.
fn thin<T>(points: &mut Vec<T>) {
    let mut keep = false;
    points.retain(|_| {
        keep = !keep;
        keep
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_evaluation_stands_where_its_policy_stood() {
        let mut history = History::default();
        for frames in (0..60_000).step_by(10) {
            // It takes two thousand frames, and each stays the newest until the next.
            // Sometimes at a place that is dropped when the points are thinned.
            let told = (frames >= 2000).then(|| (frames - 2000) / 7010 * 7010);
            let evaluated = told.map(|at| at as f64);
            history.record(&Snapshot { frames, evaluated, evaluated_frames: told, ..Snapshot::default() });
        }
        let known: Vec<_> =
            history.frames.iter().zip(&history.evaluated).filter_map(|(at, mean)| Some((*at, (*mean)?))).collect();
        assert_eq!(known.len(), 9, "{known:?}");
        assert!(known.iter().all(|(at, of)| (*at as f64 - of).abs() <= 160.0), "{known:?}");
    }

    #[test]
    fn it_stays_bounded_and_its_curves_equally_long() {
        let mut history = History::default();
        for frames in 0..50_000 {
            history.record(&Snapshot { frames, mean_return: Some(frames as f64), ..Snapshot::default() });
        }
        let json = serde_json::to_value(&history).unwrap();
        let lengths: Vec<_> = json.as_object().unwrap().values().map(|curve| curve.as_array().unwrap().len()).collect();
        assert!(lengths.len() == 9 && lengths.iter().all(|len| *len == lengths[0]), "{lengths:?}");
        assert!((POINTS_MAX / 2..=POINTS_MAX).contains(&lengths[0]), "{lengths:?}");
        assert!(history.frames.is_sorted() && *history.frames.last().unwrap() > 49_000);
    }
}
