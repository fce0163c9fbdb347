//! How a pendulum looks: the rod on its axle, and an arrow around the axle for the torque, the longer the stronger. In metres and to
//! scale.

use super::{LENGTH, TORQUE_MAX};
use crate::scene::{Paint, Scene, Shape};
use std::f64::consts::PI;

/// The plane is a square around the axle that the rod fits into, whatever its angle.
const SIZE: f32 = 2.6;
const ROD_WIDTH: f32 = 0.2;
const AXLE_RADIUS: f32 = 0.05;
/// Of the arrow's arc.
const ARROW_RADIUS: f64 = 0.3;
const ARROW_WIDTH: f32 = 0.03;
/// Of the arrow's tip, to each side and ahead.
const TIP: f64 = 0.07;
/// What the arc of the greatest torque spans, rad; that of a lesser one spans less in proportion.
const ARROW_SPAN: f64 = 1.5 * PI;
/// A torque that cannot be told from none, as a part of the greatest.
const TORQUE_SHOWN_MIN: f64 = 0.02;
/// Straight pieces of the arc: more would not be seen.
const ARROW_EDGES: u8 = 16;

/// The scene of a pendulum that stands so many rad from upright, to the left if it is above 0, and of the torque that brought it there,
/// N m, to the left if it is above 0.
pub(super) fn draw(angle: f64, torque: f64) -> Scene {
    let mut scene = Scene::new(SIZE, SIZE);
    let axle = [SIZE / 2.0; 2];
    // Where it is to be.
    let above = seen(0.0, LENGTH);
    scene.add(Shape::Line { from: axle, to: above, width: ROD_WIDTH, paint: Paint::Range });
    scene.add(Shape::Line { from: axle, to: seen(angle, LENGTH), width: ROD_WIDTH, paint: Paint::Body });
    if torque.abs() >= TORQUE_SHOWN_MIN * TORQUE_MAX {
        add_arrow(&mut scene, torque / TORQUE_MAX);
    }
    scene.add(Shape::Circle { centre: axle, radius: AXLE_RADIUS, paint: Paint::Joint });
    scene
}

/// An arc that begins below the axle and leads the way of the torque, which is given as a part of the greatest.
fn add_arrow(scene: &mut Scene, part: f64) {
    let at = |edge: u8| PI + part * ARROW_SPAN * f64::from(edge) / f64::from(ARROW_EDGES);
    for edge in 0..ARROW_EDGES {
        let (from, to) = (seen(at(edge), ARROW_RADIUS), seen(at(edge + 1), ARROW_RADIUS));
        scene.add(Shape::Line { from, to, width: ARROW_WIDTH, paint: Paint::Target });
    }
    let end = at(ARROW_EDGES);
    let ahead = end + part.signum() * TIP * 1.6 / ARROW_RADIUS;
    let points = vec![seen(end, ARROW_RADIUS - TIP), seen(ahead, ARROW_RADIUS), seen(end, ARROW_RADIUS + TIP)];
    scene.add(Shape::Polygon { points, paint: Paint::Target });
}

/// The point at that angle from upright, to the left if it is above 0, and that distance from the axle.
fn seen(angle: f64, distance: f64) -> [f32; 2] {
    let middle = SIZE / 2.0;
    [middle - (distance * angle.sin()) as f32, middle - (distance * angle.cos()) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::FRAC_PI_2;

    /// Where the rod ends.
    fn rod_end(scene: &Scene) -> [f32; 2] {
        let mut rods = scene.shapes().iter().filter_map(|shape| match shape {
            Shape::Line { to, paint: Paint::Body, .. } => Some(*to),
            _ => None,
        });
        rods.next().unwrap()
    }

    /// The corners of the arrow's tip, if there is an arrow: inner, foremost, outer.
    fn tip(scene: &Scene) -> Option<Vec<[f32; 2]>> {
        scene.shapes().iter().find_map(|shape| match shape {
            Shape::Polygon { points, paint: Paint::Target } => Some(points.clone()),
            _ => None,
        })
    }

    #[test]
    fn the_rod_points_up_at_0_and_to_the_left_at_a_quarter_turn() {
        for (angle, expected) in
            [(0.0, [1.3, 0.3]), (FRAC_PI_2, [0.3, 1.3]), (PI, [1.3, 2.3]), (-FRAC_PI_2, [2.3, 1.3])]
        {
            let end = rod_end(&draw(angle, 0.0));
            assert!((0..2).all(|k| (end[k] - expected[k]).abs() < 1e-3), "{angle}: {end:?}, expected {expected:?}");
        }
    }

    #[test]
    fn an_arrow_turns_the_way_of_the_torque_and_there_is_none_without() {
        assert_eq!(tip(&draw(0.5, 0.0)), None);
        // From below the axle a weak torque to the left, as seen above the axle, leads to the right.
        for (torque, side) in [(0.5, 1.0), (-0.5, -1.0)] {
            let points = tip(&draw(0.5, torque)).unwrap();
            assert!((points[1][0] - SIZE / 2.0) * side > 0.0, "torque {torque}: {points:?}");
        }
        // The strongest leads three quarters of a turn, from below to the side.
        let [inner, _, outer] = tip(&draw(0.5, TORQUE_MAX)).unwrap()[..] else { panic!("a tip has three corners") };
        assert!((inner[1] - SIZE / 2.0).abs() < 1e-3 && inner[0] > outer[0], "{inner:?} {outer:?}");
    }
}
