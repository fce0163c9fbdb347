//! How a mountain car looks: the valley, the car on its slope, the flag at the goal. In metres and to scale; the heights are those
//! that gymnasium draws.

use super::{POSITION_MAX, POSITION_MIN, WAVE};
use crate::scene::{Paint, Scene, Shape};

/// The plane; above the higher hill there is room for the flag.
const SIZE: [f32; 2] = [1.8, 1.35];
/// Straight pieces that the ground is drawn in: its bends are not seen.
const GROUND_EDGES: u8 = 60;
const GROUND_WIDTH: f32 = 0.012;
/// Of the car's body, along the slope and across it.
const CAR: [f32; 2] = [0.12, 0.05];
const WHEEL_RADIUS: f32 = 0.022;
/// From the car's middle to that of each wheel.
const WHEELS_APART: f32 = 0.035;
const POLE_HEIGHT: f32 = 0.15;
/// Along the pole and across it.
const FLAG: [f32; 2] = [0.05, 0.08];

/// The scene of a car there, whose goal is there, m.
pub(super) fn draw(position: f64, goal: f64) -> Scene {
    let mut scene = Scene::new(SIZE[0], SIZE[1]);
    let at = |edge: u8| POSITION_MIN + (POSITION_MAX - POSITION_MIN) * f64::from(edge) / f64::from(GROUND_EDGES);
    let surface: Vec<_> = (0..=GROUND_EDGES).map(|edge| ground(at(edge))).collect();
    let corners = [[SIZE[0], SIZE[1]], [0.0, SIZE[1]]];
    let points = surface.iter().copied().chain(corners).collect();
    scene.add(Shape::Polygon { points, paint: Paint::Range });
    for edge in surface.windows(2) {
        scene.add(Shape::Line { from: edge[0], to: edge[1], width: GROUND_WIDTH, paint: Paint::Ground });
    }

    let foot = ground(goal);
    let top = [foot[0], foot[1] - POLE_HEIGHT];
    scene.add(Shape::Line { from: foot, to: top, width: 0.012, paint: Paint::Joint });
    let points = vec![top, [top[0] + FLAG[1], top[1] + FLAG[0] / 2.0], [top[0], top[1] + FLAG[0]]];
    scene.add(Shape::Polygon { points, paint: Paint::Target });

    let along = direction(position);
    let across = [along[1], -along[0]];
    let middle = ground(position);
    let from_middle = |forward: f32, up: f32| [0, 1].map(|k| middle[k] + forward * along[k] + up * across[k]);
    let (half, bottom) = (CAR[0] / 2.0, WHEEL_RADIUS);
    let corners = [(-half, bottom), (half, bottom), (half * 0.7, bottom + CAR[1]), (-half * 0.7, bottom + CAR[1])];
    let points = corners.map(|(forward, up)| from_middle(forward, up)).into();
    scene.add(Shape::Polygon { points, paint: Paint::Body });
    for side in [-WHEELS_APART, WHEELS_APART] {
        scene.add(Shape::Circle { centre: from_middle(side, WHEEL_RADIUS), radius: WHEEL_RADIUS, paint: Paint::Limb });
    }
    scene
}

/// The point of the ground at a position, m.
fn ground(position: f64) -> [f32; 2] {
    let height = 0.45 * (WAVE * position).sin() + 0.55;
    [(position - POSITION_MIN) as f32, SIZE[1] - height as f32]
}

/// The way that a car there drives to the right, of length 1.
fn direction(position: f64) -> [f32; 2] {
    let slope = 0.45 * WAVE * (WAVE * position).cos();
    let length = slope.hypot(1.0);
    [(1.0 / length) as f32, (-slope / length) as f32]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mountain_car::GOAL_DISCRETE;

    /// The corners of the first polygon of this paint.
    fn corners(scene: &Scene, wanted: Paint) -> Vec<[f32; 2]> {
        let mut polygons = scene.shapes().iter().filter_map(|shape| match shape {
            Shape::Polygon { points, paint } if *paint == wanted => Some(points.clone()),
            _ => None,
        });
        polygons.next().unwrap()
    }

    #[test]
    fn the_car_stands_on_the_ground_and_leans_with_it() {
        for position in [POSITION_MIN, -0.5, 0.0, POSITION_MAX] {
            let car = corners(&draw(position, GOAL_DISCRETE), Paint::Body);
            let middle = [0, 1].map(|k| (car[0][k] + car[1][k]) / 2.0);
            let above = ground(position);
            let distance = (middle[0] - above[0]).hypot(middle[1] - above[1]);
            assert!((distance - WHEEL_RADIUS).abs() < 1e-3, "{position}: {distance} above the ground");
            assert!(middle[1] < above[1], "{position}: below the ground");
            // On the left hill it leans down to the right, on the right one up.
            let rise = car[0][1] - car[1][1];
            let expected = CAR[0] * -direction(position)[1];
            assert!((rise - expected).abs() < 1e-3, "{position}: rises by {rise}, expected {expected}");
        }
    }

    #[test]
    fn the_flag_is_where_an_episode_ends_and_on_the_plane() {
        let flag = corners(&draw(-0.5, GOAL_DISCRETE), Paint::Target);
        assert!((f64::from(flag[0][0]) - (GOAL_DISCRETE - POSITION_MIN)).abs() < 1e-3);
        assert!(flag.iter().flatten().all(|x| *x > 0.0) && flag.iter().all(|[x, _]| *x < SIZE[0]));
    }
}
