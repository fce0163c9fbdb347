//! How an acrobot looks: two links, their joints, and the line that the free end must come above. In metres and to scale.

use super::{GOAL_HEIGHT, LENGTH};
use crate::scene::{Paint, Scene, Shape};

/// The plane is a square around the upper joint that both links fit into, whatever their angles.
const SIZE: f32 = 4.6;
const LINK_WIDTH: f32 = 0.2;
/// Of the discs at the joints and at the free end.
const JOINT_RADIUS: f32 = 0.1;

/// The scene of these angles, rad: that of the first link from hanging down, to the right if it is above 0, and that of the second
/// from the first.
pub(super) fn draw([angle_1, angle_2, ..]: [f64; 4]) -> Scene {
    let mut scene = Scene::new(SIZE, SIZE);
    let below = |[x, y]: [f32; 2], angle: f64| {
        let (sin, cos) = angle.sin_cos();
        [x + (LENGTH * sin) as f32, y + (LENGTH * cos) as f32]
    };
    let hip = [SIZE / 2.0; 2];
    let elbow = below(hip, angle_1);
    let hand = below(elbow, angle_1 + angle_2);

    let goal = hip[1] - GOAL_HEIGHT as f32;
    let above = [SIZE, goal];
    scene.add(Shape::Rectangle { corner: [0.0, 0.0], size: above, radius: 0.0, paint: Paint::Range });
    scene.add(Shape::Line { from: [0.0, goal], to: [SIZE, goal], width: 0.04, paint: Paint::Target });
    scene.add(Shape::Line { from: hip, to: elbow, width: LINK_WIDTH, paint: Paint::Body });
    scene.add(Shape::Line { from: elbow, to: hand, width: LINK_WIDTH, paint: Paint::Limb });
    for centre in [hip, elbow] {
        scene.add(Shape::Circle { centre, radius: JOINT_RADIUS, paint: Paint::Joint });
    }
    scene
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::f64::consts::{FRAC_PI_2, PI};

    /// Where both links end.
    fn ends(scene: &Scene) -> [[f32; 2]; 2] {
        let end_of = |wanted: Paint| {
            let mut lines = scene.shapes().iter().filter_map(|shape| match shape {
                Shape::Line { to, paint, .. } if *paint == wanted => Some(*to),
                _ => None,
            });
            lines.next().unwrap()
        };
        [end_of(Paint::Body), end_of(Paint::Limb)]
    }

    #[test]
    fn links_hang_down_at_rest_and_turn_with_their_angles() {
        for (angles, elbow, hand) in [
            ([0.0, 0.0], [2.3, 3.3], [2.3, 4.3]),
            ([FRAC_PI_2, 0.0], [3.3, 2.3], [4.3, 2.3]),
            ([FRAC_PI_2, FRAC_PI_2], [3.3, 2.3], [3.3, 1.3]),
            ([PI, 0.0], [2.3, 1.3], [2.3, 0.3]),
        ] {
            let scene = draw([angles[0], angles[1], 0.0, 0.0]);
            for (end, expected) in ends(&scene).into_iter().zip([elbow, hand]) {
                let near = (0..2).all(|k| (end[k] - expected[k]).abs() < 1e-3);
                assert!(near, "{angles:?}: {end:?}, expected {expected:?}");
            }
        }
    }

    #[test]
    fn the_free_end_is_above_the_line_where_an_episode_ends() {
        let goal = |scene: &Scene| {
            let line = scene.shapes().iter().find_map(|shape| match shape {
                Shape::Line { from, paint: Paint::Target, .. } => Some(from[1]),
                _ => None,
            });
            line.unwrap()
        };
        for (numbers, is_above) in [([PI, 0.1, 0.0, 0.0], true), ([2.0, 0.0, 0.0, 0.0], false)] {
            let scene = draw(numbers);
            assert_eq!(ends(&scene)[1][1] < goal(&scene), is_above);
            assert_eq!(super::super::height(numbers) > GOAL_HEIGHT, is_above);
        }
    }
}
