//! `learning_curve.svg`: mean return of the last 100 episodes against frames, with the line from which the task is solved. It is
//! read by people, in the run's directory and in the project's README.

use crate::handover::progress::CurvePoint;
use plotters::prelude::*;

const SIZE: (u32, u32) = (800, 360);

/// The picture has no background and is read on a light page as on a dark one: every colour stands out from both.
const INK: RGBColor = RGBColor(125, 133, 144);
const CURVE: RGBColor = RGBColor(47, 129, 247);
const GOAL: RGBColor = RGBColor(219, 109, 40);

/// The curve as the text of an SVG file.
///
/// # Errors
/// The library cannot draw it.
pub fn draw(title: &str, points: &[CurvePoint], solved_return: f64) -> anyhow::Result<String> {
    let returns = points.iter().map(|p| p.mean_return);
    let lowest = returns.clone().fold(solved_return, f64::min).min(0.0);
    let highest = returns.fold(solved_return, f64::max);
    let margin = 0.08 * (highest - lowest).max(1e-3);
    let frames_max = points.last().map_or(1.0, |p| p.frames as f64);
    let decimals = if highest - lowest > 10.0 { 0 } else { 1 };
    let text = |size: u32| ("sans-serif", size).into_font().color(&INK);

    let mut svg = String::new();
    let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&root)
        .caption(title, text(20))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(48)
        .y_label_area_size(60)
        .build_cartesian_2d(0.0..frames_max, lowest - margin..highest + margin)?;
    chart
        .configure_mesh()
        .x_desc("environment frames trained")
        .y_desc("mean return of the last 100 episodes")
        .x_label_formatter(&|frames| grouped(*frames))
        .y_label_formatter(&|mean_return| format!("{mean_return:.decimals$}"))
        .y_labels(6)
        .axis_style(INK)
        .label_style(text(14))
        .axis_desc_style(text(15))
        .bold_line_style(INK.mix(0.25))
        .light_line_style(TRANSPARENT)
        .max_light_lines(1)
        .draw()?;
    let goal = [(0.0, solved_return), (frames_max, solved_return)];
    chart.draw_series(LineSeries::new(goal, GOAL.stroke_width(2)))?;
    let curve = points.iter().map(|p| (p.frames as f64, p.mean_return));
    chart.draw_series(LineSeries::new(curve, CURVE.stroke_width(3)))?;
    let label = ("sans-serif", 15).into_font().color(&GOAL);
    let place = (frames_max * 0.01, solved_return - 0.25 * margin);
    chart.draw_series([Text::new(format!("solved: {solved_return}"), place, label)])?;
    root.present()?;
    // They write their end when they are dropped.
    drop((chart, root));
    Ok(svg)
}

/// A whole number with a space between groups of three digits.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let group = |(i, digit): (usize, char)| {
        let gap = i > 0 && (digits.len() - i).is_multiple_of(3);
        gap.then_some('\u{a0}').into_iter().chain([digit])
    };
    digits.chars().enumerate().flat_map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_drawn_also_without_points() {
        let points: Vec<_> = (0..50).map(|i| CurvePoint { frames: i * 100, mean_return: i as f64 * 10.0 }).collect();
        for points in [&points[..], &[]] {
            let svg = draw("cartpole-v1", points, 475.0).unwrap();
            assert!(
                svg.contains("<svg")
                    && svg.trim_end().ends_with("</svg>")
                    && svg.contains("solved: 475")
                    && svg.contains("<polyline")
            );
        }
    }

    #[test]
    fn frames_are_grouped_by_thousands() {
        assert_eq!(
            [0.0, 999.0, 84_720.0, 2_000_000.0].map(grouped),
            ["0", "999", "84\u{a0}720", "2\u{a0}000\u{a0}000"]
        );
    }
}
