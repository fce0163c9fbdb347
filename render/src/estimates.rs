//! The value estimates of an episode as a curve, for whatever draws one: from 0 for the lower end of its scale to 1 for the upper.

use crate::record::Recording;

/// The scale spans at least this part of the largest estimate's size: what wavers by less is to look as steady as it is.
const SPAN_MIN: f32 = 0.2;

/// The curve.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Estimates {
    /// For each moment its place on the scale; none where there is no estimate that is a number, as at the end.
    pub(crate) shares: Vec<Option<f32>>,
    /// The ends of the scale, the lower one first; none where there is no number.
    pub(crate) scale: Option<[f32; 2]>,
}

impl Estimates {
    /// Of one episode.
    pub(crate) fn of(recording: &Recording) -> Self {
        let views = recording.moments.iter().map(|moment| moment.view.as_ref());
        let values: Vec<_> = views.map(|view| view.map(|view| view.value).filter(|x| x.is_finite())).collect();
        let range = values.iter().flatten().fold(None, |range: Option<[f32; 2]>, value| {
            let [least, largest] = range.unwrap_or([*value; 2]);
            Some([least.min(*value), largest.max(*value)])
        });
        let scale = range.map(widened);
        let [lower, upper] = scale.unwrap_or_default();
        let share = |value: f32| match upper > lower {
            // In halves: the difference of two finite numbers may be none.
            true => (value / 2.0 - lower / 2.0) / (upper / 2.0 - lower / 2.0),
            false => 0.5,
        };
        Self { shares: values.into_iter().map(|value| value.map(share)).collect(), scale }
    }
}

/// The least and the largest, apart from each other enough for a scale.
fn widened([least, largest]: [f32; 2]) -> [f32; 2] {
    let missing = SPAN_MIN * least.abs().max(largest.abs()) - (largest / 2.0 - least / 2.0) * 2.0;
    let more = missing.max(0.0) / 2.0;
    [(least - more).max(f32::MIN), (largest + more).min(f32::MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::pole;

    /// The curve of an episode with these estimates, and none at its end.
    fn of(values: [f32; 3]) -> Estimates {
        let mut recording = pole(3);
        for (moment, value) in recording.moments.iter_mut().zip(values) {
            moment.view.as_mut().unwrap().value = value;
        }
        let estimates = Estimates::of(&recording);
        assert_eq!((estimates.shares.len(), estimates.shares[3]), (4, None));
        estimates
    }

    #[test]
    fn estimates_lie_between_the_least_and_the_largest() {
        let estimates = of([0.0, 10.0, 5.0]);
        assert_eq!(estimates.scale, Some([0.0, 10.0]));
        assert_eq!(estimates.shares[..3], [Some(0.0), Some(1.0), Some(0.5)]);
    }

    #[test]
    fn what_hardly_wavers_looks_steady() {
        assert_eq!(of([10.0; 3]).scale, Some([9.0, 11.0]));
        let shares = of([9.95, 10.0, 9.97]).shares;
        assert!(shares[..3].iter().all(|share| (share.unwrap() - 0.5).abs() < 0.02), "{shares:?}");
        assert_eq!(of([0.0; 3]).shares[..3], [Some(0.5); 3]);
    }

    #[test]
    fn numbers_of_any_size_and_none_have_a_place_or_none() {
        assert_eq!(of([f32::MIN, f32::MAX, f32::NAN]).shares[..3], [Some(0.0), Some(1.0), None]);
        assert_eq!(of([f32::MAX; 3]).shares[..3].iter().flatten().filter(|share| share.is_finite()).count(), 3);
        assert_eq!(of([f32::INFINITY; 3]), Estimates { shares: vec![None; 4], scale: None });
    }
}
