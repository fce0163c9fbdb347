//! How a board of Breakout looks: the field, the bricks that stand, the ball with its trail, the paddle. A cell is a unit wide.

use super::{Breakout, Cell, SIDE};
use crate::scene::{Paint, Scene, Shape};

/// Around the board.
const MARGIN: f32 = 0.25;
/// Between two bricks.
const GAP: f32 = 0.1;
const BRICK_HEIGHT: f32 = 0.6;
const BALL_RADIUS: f32 = 0.3;
const TRAIL_WIDTH: f32 = 0.16;
/// Of the paddle, which lies in the middle of its cell.
const PADDLE_HEIGHT: f32 = 0.3;

/// The scene of a game.
pub(super) fn draw(game: &Breakout) -> Scene {
    let side = SIDE as f32;
    let mut scene = Scene::new(side + 2.0 * MARGIN, side + 2.0 * MARGIN);
    let field = [side, side];
    scene.add(Shape::Rectangle { corner: [MARGIN, MARGIN], size: field, radius: 0.2, paint: Paint::Range });
    // The height that bricks and paddle have in the middle of their cells.
    let upright = |cell: Cell, height: f32| [centre(cell)[0] - (1.0 - GAP) / 2.0, centre(cell)[1] - height / 2.0];
    for brick in game.bricks() {
        let (corner, size) = (upright(brick, BRICK_HEIGHT), [1.0 - GAP, BRICK_HEIGHT]);
        scene.add(Shape::Rectangle { corner, size, radius: 0.1, paint: Paint::Limb });
    }
    let paddle = Cell { row: SIDE - 1, column: game.paddle };
    let (corner, size) = (upright(paddle, PADDLE_HEIGHT), [1.0 - GAP, PADDLE_HEIGHT]);
    scene.add(Shape::Rectangle { corner, size, radius: 0.1, paint: Paint::Body });
    let (from, to) = (centre(game.trail), centre(game.ball));
    scene.add(Shape::Line { from, to, width: TRAIL_WIDTH, paint: Paint::Ground });
    scene.add(Shape::Circle { centre: to, radius: BALL_RADIUS, paint: Paint::Target });
    scene
}

/// The middle of a cell.
fn centre(cell: Cell) -> [f32; 2] {
    [MARGIN + cell.column as f32 + 0.5, MARGIN + cell.row as f32 + 0.5]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::breakout::{WALL_ROWS, WALL_TOP};

    #[test]
    fn everything_is_in_its_cell() {
        let (ball, trail) = (Cell { row: 5, column: 3 }, Cell { row: 4, column: 2 });
        let mut game = Breakout { ball, trail, paddle: 7, ..Breakout::default() };
        game.wall[1] = 1 << 8;
        let scene = draw(&game);
        let cell = |[x, y]: [f32; 2]| [x - MARGIN, y - MARGIN].map(|x| x.floor() as usize);
        let [_, brick, paddle, way, ball] = scene.shapes() else { panic!("{:?}", scene.shapes()) };
        let Shape::Rectangle { corner, paint: Paint::Limb, .. } = brick else { panic!("{brick:?}") };
        assert_eq!(cell(*corner), [8, WALL_TOP + 1]);
        let Shape::Rectangle { corner, paint: Paint::Body, .. } = paddle else { panic!("{paddle:?}") };
        assert_eq!(cell(*corner), [7, SIDE - 1]);
        let Shape::Line { from, to, .. } = way else { panic!("{way:?}") };
        assert_eq!((cell(*from), cell(*to)), ([2, 4], [3, 5]));
        let Shape::Circle { centre, paint: Paint::Target, .. } = ball else { panic!("{ball:?}") };
        assert_eq!(cell(*centre), [3, 5]);
    }

    #[test]
    fn a_whole_wall_has_thirty_bricks() {
        let game = Breakout { wall: [super::super::WHOLE_ROW; WALL_ROWS], ..Breakout::default() };
        let bricks = draw(&game);
        let is_brick = |shape: &&Shape| matches!(shape, Shape::Rectangle { paint: Paint::Limb, .. });
        assert_eq!(bricks.shapes().iter().filter(is_brick).count(), 30);
    }
}
