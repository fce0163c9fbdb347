//! `learning_curve.svg`: mean return of the last 100 episodes against frames, with the line from which the task is solved.

use crate::handover::progress::CurvePoint;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (800, 480);

/// Draws the curve.
///
/// # Errors
/// The file cannot be written.
pub fn draw(path: &Path, title: &str, points: &[CurvePoint], solved_return: f64) -> anyhow::Result<()> {
    let returns = points.iter().map(|p| p.mean_return);
    let lowest = returns.clone().fold(solved_return, f64::min).min(0.0);
    let highest = returns.fold(solved_return, f64::max);
    let margin = 0.05 * (highest - lowest).max(1e-3);
    let frames_max = points.last().map_or(1.0, |p| p.frames as f64);

    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .margin_right(36)
        .x_label_area_size(40)
        .y_label_area_size(56)
        .build_cartesian_2d(0.0..frames_max, lowest - margin..highest + margin)?;
    chart
        .configure_mesh()
        .x_desc("environment frames trained")
        .y_desc("mean return of the last 100 episodes")
        .x_label_formatter(&|frames| format!("{frames:.0}"))
        .light_line_style(WHITE)
        .draw()?;
    let goal = [(0.0, solved_return), (frames_max, solved_return)];
    chart
        .draw_series(LineSeries::new(goal, RED.stroke_width(1)))?
        .label(format!("solved: {solved_return}"))
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], RED));
    let curve = points.iter().map(|p| (p.frames as f64, p.mean_return));
    chart
        .draw_series(LineSeries::new(curve, BLUE.stroke_width(2)))?
        .label("mean return")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLUE));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE)
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_is_drawn_also_without_points() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("curve.svg");
        let points: Vec<_> = (0..50).map(|i| CurvePoint { frames: i * 100, mean_return: i as f64 * 10.0 }).collect();
        for points in [&points[..], &[]] {
            draw(&path, "cartpole-v1", points, 475.0).unwrap();
            let svg = std::fs::read_to_string(&path).unwrap();
            assert!(svg.contains("<svg") && svg.contains("solved: 475") && svg.contains("<polyline"));
        }
    }
}
