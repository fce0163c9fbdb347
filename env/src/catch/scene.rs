//! How a board of Catch looks: a field of cells, the ball, and the paddle at the bottom. A cell is a unit wide.

use super::{Board, COLUMNS, ROWS};
use crate::scene::{Paint, Scene, Shape};

/// Around the board.
const MARGIN: f32 = 0.25;
/// Between two cells.
const GAP: f32 = 0.08;
const BALL_RADIUS: f32 = 0.28;
/// Of the paddle, which lies at the bottom of its cell: a ball that is caught rests on it.
const PADDLE_HEIGHT: f32 = 0.2;

/// The scene of a board.
pub(super) fn draw(board: Board) -> Scene {
    let mut scene = Scene::new(COLUMNS as f32 + 2.0 * MARGIN, ROWS as f32 + 2.0 * MARGIN);
    let corner = |row: usize, column: usize| [MARGIN + column as f32, MARGIN + row as f32];
    let side = 1.0 - GAP;
    for (row, column) in (0..ROWS).flat_map(|row| (0..COLUMNS).map(move |column| (row, column))) {
        let corner = corner(row, column).map(|x| x + GAP / 2.0);
        scene.add(Shape::Rectangle { corner, size: [side, side], radius: 0.1, paint: Paint::Range });
    }
    let [x, y] = corner(ROWS - 1, board.paddle_column);
    let paddle = [x + GAP / 2.0, y + 1.0 - GAP / 2.0 - PADDLE_HEIGHT];
    scene.add(Shape::Rectangle { corner: paddle, size: [side, PADDLE_HEIGHT], radius: 0.1, paint: Paint::Body });
    let [x, y] = corner(board.ball_row, board.ball_column);
    let centre = [x + 0.5, y + 1.0 - GAP / 2.0 - PADDLE_HEIGHT - BALL_RADIUS];
    scene.add(Shape::Circle { centre, radius: BALL_RADIUS, paint: Paint::Target });
    scene
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ball_and_the_paddle_are_in_their_cells() {
        let scene = draw(Board { ball_row: 3, ball_column: 4, paddle_column: 1 });
        assert_eq!(scene.size(), [5.5, 10.5]);
        let (cells, pieces) = scene.shapes().split_at(ROWS * COLUMNS);
        assert!(cells.iter().all(|cell| matches!(cell, Shape::Rectangle { paint: Paint::Range, .. })));
        let [paddle, ball] = pieces else { panic!("{pieces:?}") };
        let Shape::Circle { centre, paint: Paint::Target, .. } = ball else { panic!("{ball:?}") };
        assert_eq!(centre.map(|x| (x - MARGIN).floor()), [4.0, 3.0]);
        let Shape::Rectangle { corner, paint: Paint::Body, .. } = paddle else { panic!("{paddle:?}") };
        assert_eq!(corner.map(|x| (x - MARGIN).floor()), [1.0, 9.0]);
    }

    #[test]
    fn a_ball_that_is_caught_rests_on_the_paddle() {
        let scene = draw(Board { ball_row: ROWS - 1, ball_column: 2, paddle_column: 2 });
        let [.., Shape::Rectangle { corner, .. }, Shape::Circle { centre, radius, .. }] = scene.shapes() else {
            panic!()
        };
        assert!((centre[1] + radius - corner[1]).abs() < 1e-3);
    }
}
