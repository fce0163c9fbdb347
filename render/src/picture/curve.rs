//! The curve of the value estimates: all of it faint, up to now in colour, and where now is.

use crate::estimates::Estimates;
use crate::raster::{Align, Area, Canvas};
use crate::record::Recording;
use crate::theme::{Colour, Role, Theme};
use crate::words;

/// Room for the scale on the right, in units of the layout.
const SCALE_WIDTH: f32 = 46.0;

/// The curve in pixels.
pub(super) struct Curve {
    area: Area,
    unit: f32,
    /// Moments with an estimate that is a number, in their order, and where they lie; of many in one column of pixels those that are
    /// seen.
    points: Vec<(usize, [f32; 2])>,
    /// The ends of its scale; none where there is no point.
    scale: Option<[f32; 2]>,
}

impl Curve {
    /// The curve of an episode in an area.
    pub(super) fn new(recording: &Recording, area: Area, unit: f32) -> Self {
        let Estimates { shares, scale } = Estimates::of(recording);
        let (width, last) = (area.width - SCALE_WIDTH * unit, (shares.len() - 1).max(1));
        let place = |(i, share): (usize, Option<f32>)| {
            let along = i as f32 / last as f32;
            share.map(|share| (i, [area.x + along * width, area.y + (1.0 - share) * area.height]))
        };
        let points: Vec<_> = shares.into_iter().enumerate().filter_map(place).collect();
        Self { area, unit, points: thinned(&points), scale }
    }

    /// The whole curve, faint, with its scale.
    pub(super) fn draw_base(&self, canvas: &mut Canvas, theme: Theme) {
        self.line(canvas, self.points.len(), theme.role(Role::Rule));
        let Some([lower, upper]) = self.scale else { return };
        let size = 11.0 * self.unit;
        let mut label = |value, y| {
            // So that the middle of the digits is at the height of the value.
            let place = [self.area.x + self.area.width, y + 0.36 * size];
            canvas.text(&words::estimate(value), place, size, Align::Right, theme.role(Role::Muted));
        };
        label(upper, self.area.y);
        if upper > lower {
            label(lower, self.area.y + self.area.height);
        }
    }

    /// The part up to a moment, and a dot there.
    pub(super) fn draw_until(&self, canvas: &mut Canvas, moment: usize, colour: Colour) {
        let count = self.points.partition_point(|(i, _)| *i <= moment);
        self.line(canvas, count, colour);
        if let Some((_, now)) = self.points[..count].last() {
            canvas.dot(*now, 4.0 * self.unit, colour);
        }
    }

    fn line(&self, canvas: &mut Canvas, count: usize, colour: Colour) {
        let points: Vec<_> = self.points[..count].iter().map(|(_, point)| *point).collect();
        canvas.polyline(&points, 2.0 * self.unit, colour);
    }
}

/// The first, the last, the highest and the lowest point of every column of pixels: each frame draws the whole curve, and the next
/// after a hundred thousand steps is to take no longer than the first.
fn thinned(points: &[(usize, [f32; 2])]) -> Vec<(usize, [f32; 2])> {
    let column = |point: &(usize, [f32; 2])| point.1[0].floor();
    let mut kept = Vec::new();
    for those in points.chunk_by(|a, b| column(a) == column(b)) {
        let by_height = |a: &&(usize, [f32; 2]), b: &&(usize, [f32; 2])| a.1[1].total_cmp(&b.1[1]);
        let seen = [those.first(), those.iter().min_by(by_height), those.iter().max_by(by_height), those.last()];
        let before = kept.len();
        kept.extend(seen.into_iter().flatten().copied());
        kept[before..].sort_unstable_by_key(|(moment, _)| *moment);
    }
    kept.dedup_by_key(|(moment, _)| *moment);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_points_in_a_column_those_that_are_seen_are_kept() {
        let points: Vec<_> = (0..100_000).map(|i| (i, [i as f32 / 1000.0, ((i * 7 + 500) % 1000) as f32])).collect();
        let kept = thinned(&points);
        assert_eq!(kept.len(), 400);
        assert!(kept.is_sorted_by_key(|(moment, _)| *moment) && kept.iter().all(|point| points[point.0] == *point));
        let heights: Vec<f32> = kept[..4].iter().map(|(_, [_, y])| *y).collect();
        assert!(heights.contains(&0.0) && heights.contains(&999.0), "{heights:?}");
        assert_eq!(thinned(&points[..1]), points[..1]);
        assert_eq!(thinned(&[]), []);
    }
}
