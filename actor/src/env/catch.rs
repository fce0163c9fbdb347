//! bsuite's Catch: a ball falls one row a step down a board of 10 rows and 5 columns, a paddle in the last row moves
//! sideways. The order is bsuite's: the paddle moves, the ball falls, then the episode may end.

use super::{Step, VectorEnvironment};
use impala_common::seed::Rng;
use impala_common::trajectory::Outcome;
use rand::RngExt;

const ROWS: usize = 10;
const COLUMNS: usize = 5;

/// N boards.
pub(super) struct Catch {
    boards: Vec<Board>,
    rngs: Vec<Rng>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Board {
    ball_row: usize,
    ball_column: usize,
    paddle_column: usize,
}

impl Catch {
    /// One board for each random source.
    pub(super) fn new(mut rngs: Vec<Rng>) -> Self {
        let boards = rngs.iter_mut().map(Board::new).collect();
        Self { boards, rngs }
    }
}

impl VectorEnvironment for Catch {
    fn environments(&self) -> usize {
        self.boards.len()
    }

    fn observe(&self, observations: &mut [f32]) {
        for (board, row) in self.boards.iter().zip(observations.chunks_exact_mut(ROWS * COLUMNS)) {
            board.observe(row);
        }
    }

    fn step(&mut self, actions: &[u8], step: Step<'_>) {
        for (i, row) in step.observations.chunks_exact_mut(ROWS * COLUMNS).enumerate() {
            let board = &mut self.boards[i];
            board.advance(actions[i]);
            (step.rewards[i], step.outcomes[i]) = match board.caught() {
                None => (0.0, Outcome::Continues),
                Some(true) => (1.0, Outcome::Terminated),
                Some(false) => (-1.0, Outcome::Terminated),
            };
            if step.outcomes[i] == Outcome::Terminated {
                *board = Board::new(&mut self.rngs[i]);
            }
            board.observe(row);
        }
    }
}

impl Board {
    fn new(rng: &mut Rng) -> Self {
        Self { ball_row: 0, ball_column: rng.random_range(0..COLUMNS), paddle_column: COLUMNS / 2 }
    }

    /// Action 0 moves the paddle left, 1 leaves it, 2 moves it right.
    fn advance(&mut self, action: u8) {
        self.paddle_column = (self.paddle_column + usize::from(action)).saturating_sub(1).min(COLUMNS - 1);
        self.ball_row += 1;
    }

    /// Whether the paddle met the ball; nothing while it falls.
    fn caught(self) -> Option<bool> {
        (self.ball_row == ROWS - 1).then_some(self.ball_column == self.paddle_column)
    }

    fn observe(self, row: &mut [f32]) {
        row.fill(0.0);
        row[self.ball_row * COLUMNS + self.ball_column] = 1.0;
        row[(ROWS - 1) * COLUMNS + self.paddle_column] = 1.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::rngs;

    /// Plays one episode from its first observation with actions chosen by column of ball and paddle.
    fn play(environment: &mut Catch, choose: fn(usize, usize) -> u8) -> (f32, u32) {
        let (mut rewards, mut outcomes) = ([0.0], [Outcome::Continues]);
        let mut observations = [0.0; ROWS * COLUMNS];
        let mut length = 0;
        while outcomes[0] == Outcome::Continues {
            assert_eq!(rewards, [0.0], "no reward before the last row");
            let Board { ball_row, ball_column, paddle_column } = environment.boards[0];
            environment.observe(&mut observations);
            assert_eq!(observations[ball_row * COLUMNS + ball_column], 1.0);
            assert_eq!(observations[(ROWS - 1) * COLUMNS + paddle_column], 1.0);
            assert_eq!(observations.iter().sum::<f32>(), 2.0);
            let step = Step {
                observations: &mut observations,
                rewards: &mut rewards,
                outcomes: &mut outcomes,
                final_observations: &mut Vec::new(),
            };
            environment.step(&[choose(ball_column, paddle_column)], step);
            length += 1;
        }
        assert_eq!(outcomes, [Outcome::Terminated]);
        let Board { ball_row, paddle_column, .. } = environment.boards[0];
        assert_eq!((ball_row, paddle_column), (0, 2), "the next episode has begun");
        (rewards[0], length)
    }

    #[test]
    fn following_the_ball_catches_it_and_fleeing_misses_it() {
        let mut environment = Catch::new(rngs(1, 0, 1));
        for _ in 0..50 {
            let follow = |ball: usize, paddle: usize| 1 + u8::from(ball > paddle) - u8::from(ball < paddle);
            assert_eq!(play(&mut environment, follow), (1.0, 9));
            let flee = |ball: usize, _: usize| if ball < 2 { 2 } else { 0 };
            assert_eq!(play(&mut environment, flee), (-1.0, 9));
        }
    }

    #[test]
    fn the_paddle_stays_on_the_board() {
        let mut board = Board { ball_row: 0, ball_column: 0, paddle_column: 2 };
        let columns = [0, 0, 0, 2, 2, 2, 2, 2, 1].map(|action| {
            board.advance(action);
            board.paddle_column
        });
        assert_eq!(columns, [1, 0, 0, 1, 2, 3, 4, 4, 4]);
    }

    #[test]
    fn balls_start_in_every_column_equally_often() {
        let boards = Catch::new(rngs(3, 1, 10_000)).boards;
        let mut counts = [0_u32; COLUMNS];
        boards.iter().for_each(|board| counts[board.ball_column] += 1);
        // Five standard deviations of a binomial count around 2000.
        assert!(counts.iter().all(|count| count.abs_diff(2000) < 200), "{counts:?}");
    }
}
