//! How a cart-pole looks, in metres and to scale: cart, pole and axle have the sizes that gymnasium draws; wheels are added. The
//! track ends at the limits of an episode, and a fan from the axle shows how far the pole may lean.

use super::{ANGLE_MAX, LENGTH, POSITION_MAX};
use crate::scene::{Paint, Scene, Shape};

/// The plane; a cart at a limit and its leaning pole are still on it.
const SIZE: [f32; 2] = [5.6, 1.8];
/// From the plane's upper edge to the track.
const TRACK: f32 = 1.5;
/// Width and height.
const CART: [f32; 2] = [0.4, 0.24];
/// From the track to the lower edge of the cart.
const CLEARANCE: f32 = 0.05;
/// Of the wheels, whose centres are at the cart's lower edge.
const WHEEL_RADIUS: f32 = 0.05;
/// From the cart's middle to that of each wheel.
const WHEELS_APART: f32 = 0.12;
/// From the cart's upper edge down to the axle.
const AXLE_DEPTH: f32 = 0.06;
const POLE_WIDTH: f32 = 0.08;
/// Edges of the fan's arc: more would not be seen.
const FAN_EDGES: u8 = 8;

/// The scene of a cart there with a pole that leans so many rad from upright, to the right if it is above 0.
pub(super) fn draw(position: f64, angle: f64) -> Scene {
    let mut scene = Scene::new(SIZE[0], SIZE[1]);
    let middle = SIZE[0] / 2.0;
    let (x, bottom) = (middle + position as f32, TRACK - CLEARANCE);
    let axle = [x, bottom - CART[1] + AXLE_DEPTH];
    let tip = |angle: f64| {
        let length = 2.0 * LENGTH;
        [axle[0] + (length * angle.sin()) as f32, axle[1] - (length * angle.cos()) as f32]
    };

    let turns = (0..=FAN_EDGES).map(|i| ANGLE_MAX * (2.0 * f64::from(i) / f64::from(FAN_EDGES) - 1.0));
    let points = std::iter::once(axle).chain(turns.map(tip)).collect();
    scene.add(Shape::Polygon { points, paint: Paint::Range });

    let end = POSITION_MAX as f32;
    let (from, to) = ([middle - end, TRACK], [middle + end, TRACK]);
    scene.add(Shape::Line { from, to, width: 0.03, paint: Paint::Ground });
    // A mark each metre, so that movement is seen.
    for metre in [-2.0, -1.0, 0.0, 1.0, 2.0] {
        let x = middle + metre;
        scene.add(Shape::Line { from: [x, TRACK], to: [x, TRACK + 0.07], width: 0.02, paint: Paint::Ground });
    }
    for x in [middle - end, middle + end] {
        scene.add(Shape::Line { from: [x, TRACK - 0.14], to: [x, TRACK + 0.14], width: 0.04, paint: Paint::Bound });
    }

    let corner = [x - CART[0] / 2.0, bottom - CART[1]];
    scene.add(Shape::Rectangle { corner, size: CART, radius: 0.04, paint: Paint::Body });
    for side in [-WHEELS_APART, WHEELS_APART] {
        scene.add(Shape::Circle { centre: [x + side, bottom], radius: WHEEL_RADIUS, paint: Paint::Ground });
    }
    scene.add(Shape::Line { from: axle, to: tip(angle), width: POLE_WIDTH, paint: Paint::Limb });
    scene.add(Shape::Circle { centre: axle, radius: POLE_WIDTH / 2.0, paint: Paint::Joint });
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the pole ends, from the axle.
    fn pole(scene: &Scene) -> [f32; 2] {
        let pole = scene.shapes().iter().find_map(|shape| match shape {
            Shape::Line { from, to, paint: Paint::Limb, .. } => Some([to[0] - from[0], to[1] - from[1]]),
            _ => None,
        });
        pole.unwrap()
    }

    /// The middle of the cart, across.
    fn cart(scene: &Scene) -> f32 {
        let cart = scene.shapes().iter().find_map(|shape| match shape {
            Shape::Rectangle { corner, size, paint: Paint::Body, .. } => Some(corner[0] + size[0] / 2.0),
            _ => None,
        });
        cart.unwrap()
    }

    fn assert_near(actual: [f32; 2], expected: [f64; 2]) {
        let near = |a: f32, b: f64| (f64::from(a) - b).abs() < 2e-4;
        assert!(near(actual[0], expected[0]) && near(actual[1], expected[1]), "{actual:?} for {expected:?}");
    }

    #[test]
    fn an_upright_pole_in_the_middle_points_straight_up() {
        let scene = draw(0.0, 0.0);
        assert_near(pole(&scene), [0.0, -1.0]);
        assert!((cart(&scene) - 2.8).abs() < 1e-4);
    }

    #[test]
    fn a_positive_angle_leans_to_the_right_and_a_positive_position_stands_there() {
        let scene = draw(1.5, 0.2);
        assert_near(pole(&scene), [0.2_f64.sin(), -(0.2_f64.cos())]);
        assert!((cart(&scene) - 4.3).abs() < 1e-4);
        assert_near(pole(&draw(-1.5, -0.1)), [-(0.1_f64.sin()), -(0.1_f64.cos())]);
    }

    #[test]
    fn the_limits_of_position_and_angle_are_drawn_where_an_episode_ends() {
        let scene = draw(POSITION_MAX, ANGLE_MAX);
        let bounds = scene.shapes().iter().filter_map(|shape| match shape {
            Shape::Line { from, paint: Paint::Bound, .. } => Some(from[0]),
            _ => None,
        });
        assert_eq!(bounds.map(|x| ((x - 2.8) * 1e3).round()).collect::<Vec<_>>(), [-2400.0, 2400.0]);
        let fan = scene.shapes().iter().find_map(|shape| match shape {
            Shape::Polygon { points, paint: Paint::Range } => Some(points),
            _ => None,
        });
        let (fan, lean) = (fan.unwrap(), pole(&scene));
        assert_near([fan.last().unwrap()[0] - fan[0][0], fan.last().unwrap()[1] - fan[0][1]], lean.map(f64::from));
    }

    #[test]
    fn everything_is_on_the_plane_at_the_limits() {
        for side in [-1.0, 1.0] {
            let scene = draw(side * POSITION_MAX, side * ANGLE_MAX);
            for shape in scene.shapes() {
                let points = match shape {
                    Shape::Rectangle { corner, size, .. } | Shape::Picture { corner, size, .. } => {
                        vec![*corner, [corner[0] + size[0], corner[1] + size[1]]]
                    }
                    Shape::Line { from, to, .. } => vec![*from, *to],
                    Shape::Circle { centre, .. } => vec![*centre],
                    Shape::Polygon { points, .. } => points.clone(),
                };
                let inside = |[x, y]: [f32; 2]| (0.0..=SIZE[0]).contains(&x) && (0.0..=SIZE[1]).contains(&y);
                assert!(points.into_iter().all(inside), "{shape:?}");
            }
        }
    }
}
