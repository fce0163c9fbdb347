//! Learning curves as pictures: mean returns against frames or seconds, with the line from which the task is solved. People read them in
//! the run's directory (`learning_curve.svg`), in the project's README, and where runs are compared.

use crate::handover::progress::CurvePoint;
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 360);

/// The picture has no background and is read on a light page as on a dark one: every colour stands out from both.
const INK: RGBColor = RGBColor(125, 133, 144);
const GOAL: RGBColor = RGBColor(219, 109, 40);
/// Of the curves, in their order, then from the first again.
const CURVES: [RGBColor; 7] = [
    RGBColor(47, 129, 247),
    RGBColor(46, 160, 67),
    RGBColor(163, 113, 247),
    RGBColor(227, 98, 160),
    RGBColor(191, 135, 0),
    RGBColor(0, 160, 160),
    RGBColor(248, 81, 73),
];

/// One curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What it is, for the legend.
    pub label: String,
    /// From left to right, all within [`DRAWN_MAX`].
    points: Vec<(f64, f64)>,
    /// Whether each point is marked: there are few, and between them is nothing known.
    is_marked: bool,
}

/// Beyond this, on either side of 0, nothing is drawn: differences would leave the range of numbers, and no axis has such marks.
const DRAWN_MAX: f64 = 1e15;

impl Series {
    /// Of these points, from left to right; what cannot be drawn is left out.
    pub fn new(label: &str, points: impl Iterator<Item = (f64, f64)>, is_marked: bool) -> Self {
        let can_be_drawn = |(x, y): &(f64, f64)| x.abs() <= DRAWN_MAX && y.abs() <= DRAWN_MAX;
        Self { label: label.to_owned(), points: points.filter(can_be_drawn).collect(), is_marked }
    }

    /// Of these points, over frames.
    pub fn over_frames(label: &str, points: &[CurvePoint], is_marked: bool) -> Self {
        Self::new(label, points.iter().map(|point| (point.frames as f64, point.mean_return)), is_marked)
    }
}

/// A picture of curves.
#[derive(Clone, Debug)]
pub struct Chart<'a> {
    /// Stands above.
    pub title: &'a str,
    /// What the horizontal axis counts.
    pub over: &'a str,
    /// The curves; one alone needs no legend.
    pub series: &'a [Series],
    /// Mean return from which the task is solved.
    pub goal: Option<f64>,
}

impl Chart<'_> {
    /// The text of an SVG file. Curves may have no points.
    ///
    /// # Errors
    /// The library cannot draw it.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut svg = String::new();
        self.draw(&SVGBackend::with_string(&mut svg, SIZE).into_drawing_area())?;
        Ok(svg)
    }

    /// Draws it; whatever is drawn writes its end when it is dropped.
    fn draw(&self, root: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>) -> anyhow::Result<()> {
        let Self { title, over, series, .. } = *self;
        let goal = self.drawn_goal();
        let (right, lowest, highest) = self.extent();
        let margin = 0.08 * (highest - lowest).max(1e-3);
        let decimals = if highest - lowest > 10.0 { 0 } else { 1 };
        let text = |size: u32| ("sans-serif", size).into_font().color(&INK);
        let mut chart = ChartBuilder::on(root)
            .caption(title, text(20))
            .margin(12)
            .margin_right(36)
            .x_label_area_size(48)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..right, lowest - margin..highest + margin)?;
        let places = if right > 20.0 { 0 } else { 2 };
        chart
            .configure_mesh()
            .x_desc(over)
            .y_desc("mean return")
            .x_label_formatter(&|value| grouped(*value, places))
            .y_label_formatter(&|mean_return| format!("{mean_return:.decimals$}"))
            .y_labels(6)
            .axis_style(INK)
            .label_style(text(14))
            .axis_desc_style(text(15))
            .bold_line_style(INK.mix(0.25))
            .light_line_style(TRANSPARENT)
            .max_light_lines(1)
            .draw()?;
        if let Some(goal) = goal {
            chart.draw_series(LineSeries::new([(0.0, goal), (right, goal)], GOAL.stroke_width(2)))?;
            let label = ("sans-serif", 15).into_font().color(&GOAL);
            chart.draw_series([Text::new(format!("solved: {goal}"), (right * 0.01, goal - 0.25 * margin), label)])?;
        }
        for (series, colour) in series.iter().zip(CURVES.into_iter().cycle()) {
            let line = LineSeries::new(series.points.iter().copied(), colour.stroke_width(3));
            let drawn = chart.draw_series(line)?;
            drawn
                .label(&series.label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(3)));
            if series.is_marked {
                chart.draw_series(series.points.iter().map(|point| Circle::new(*point, 3, colour.filled())))?;
            }
        }
        if series.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::LowerRight)
                .label_font(text(14))
                .border_style(TRANSPARENT)
                .draw()?;
        }
        root.present()?;
        Ok(())
    }

    fn drawn_goal(&self) -> Option<f64> {
        self.goal.filter(|goal| goal.abs() <= DRAWN_MAX)
    }

    /// The right end, and the lowest and the highest return.
    fn extent(&self) -> (f64, f64, f64) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let returns = || points().map(|(_, mean_return)| *mean_return).chain(self.drawn_goal());
        let right = points().map(|(at, _)| *at).fold(0.0, f64::max);
        let (lowest, highest) = (returns().fold(0.0, f64::min), returns().fold(f64::NEG_INFINITY, f64::max));
        // An axis needs a length.
        (if right > 0.0 { right } else { 1.0 }, lowest, if highest > lowest { highest } else { lowest + 1.0 })
    }
}

/// A number with a space between groups of three digits before the point.
fn grouped(number: f64, places: usize) -> String {
    let text = format!("{number:.places$}");
    let (digits, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let group = |(i, digit): (usize, char)| {
        let gap = i > 0 && (digits.len() - i).is_multiple_of(3);
        gap.then_some('\u{a0}').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(group).chain(rest.chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(series: &[Series], goal: Option<f64>) -> String {
        Chart { title: "cartpole-v1", over: "frames", series, goal }.svg().unwrap()
    }

    fn rising(label: &str, count: u64, is_marked: bool) -> Series {
        let points: Vec<_> = (0..count).map(|i| CurvePoint { frames: i * 100, mean_return: i as f64 * 10.0 }).collect();
        Series::over_frames(label, &points, is_marked)
    }

    #[test]
    fn a_curve_is_drawn_also_without_points() {
        for count in [50, 1, 0] {
            let svg = svg(&[rising("training", count, false)], Some(475.0));
            assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
            assert!(svg.contains("solved: 475") && svg.contains("<polyline") && !svg.contains("training"), "{svg}");
        }
        assert!(!svg(&[], None).contains("solved"));
    }

    #[test]
    fn numbers_that_no_axis_can_have_are_left_out() {
        let points =
            [(1.0, f64::INFINITY), (2.0, 1e308), (f64::INFINITY, 1.0), (4.0, f64::NAN), (5.0, -1e308), (6.0, 9.5)];
        let series = Series::new("odd", points.into_iter(), true);
        assert_eq!(series.points, [(6.0, 9.5)]);
        assert!(!svg(&[series], Some(f64::INFINITY)).contains("solved"));
    }

    #[test]
    fn several_have_a_legend_and_those_of_few_points_have_marks() {
        let svg = svg(&[rising("training", 50, false), rising("evaluated", 3, true)], Some(475.0));
        assert!(svg.contains("training") && svg.contains("evaluated") && svg.matches("<circle").count() == 3, "{svg}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let texts = [(0.0, 0), (999.0, 0), (84_720.0, 0), (2_000_000.0, 0), (1234.5, 2)].map(|(x, n)| grouped(x, n));
        assert_eq!(texts, ["0", "999", "84\u{a0}720", "2\u{a0}000\u{a0}000", "1\u{a0}234.50"]);
    }
}
