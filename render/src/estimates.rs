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
