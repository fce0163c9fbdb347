use super::*;
use crate::{StepBuffer, rngs};
use std::cmp::Ordering;

/// What scripts/make-breakout-traces.py writes: whole episodes of MinAtar.
#[derive(Deserialize)]
struct Trace {
    episodes: Vec<Episode>,
}

#[derive(Deserialize)]
struct Episode {
    /// 0 if the ball starts in the first column, 1 if in the last.
    start: usize,
    /// A digit for each frame.
    actions: String,
    rewards: String,
    /// Row and column of the ball, two digits a frame.
    balls: String,
    /// Bricks that stand after each frame.
    bricks: Vec<usize>,
    /// A checksum of all that is seen in all frames.
    seen: u32,
    terminated: bool,
}

fn digits(text: &str) -> Vec<usize> {
    text.bytes().map(|digit| usize::from(digit - b'0')).collect()
}

/// Goes on with FNV-1a over the indices of what is set, as the script does.
fn checksum(hash: u32, observation: &[u8]) -> u32 {
    let set = (0_u32..).zip(observation).filter(|(_, byte)| **byte == u8::MAX).map(|(i, _)| i);
    set.fold(hash, |hash, i| (hash ^ i).wrapping_mul(0x0100_0193))
}

fn game(start: usize) -> Breakout {
    let mut game = Breakout::default();
    let mut rng = rngs(1, 0, 1).remove(0);
    while game.ball.column != start * (SIDE - 1) || game.wall == [0; WALL_ROWS] {
        game.reset(&mut rng);
    }
    game
}

#[test]
fn every_recorded_frame_of_minatar_is_reproduced() {
    let trace: Trace = serde_json::from_str(include_str!("../../tests/data/breakout-traces.json")).unwrap();
    let (mut broken, mut walls) = (0, 0);
    for (e, episode) in trace.episodes.iter().enumerate() {
        let (mut game, mut seen) = (game(episode.start), 0x811c_9dc5);
        let mut rng = rngs(1, 0, 1).remove(0);
        let (actions, rewards, balls) = (digits(&episode.actions), digits(&episode.rewards), digits(&episode.balls));
        for (t, action) in actions.iter().enumerate() {
            let place = format!("frame {t} of episode {e}");
            let (reward, outcome) = game.step(ArrayRef::U8(&[*action as u8]), &mut rng);
            assert_eq!(reward, rewards[t] as f32, "{place}");
            let ball = Cell { row: balls[2 * t], column: balls[2 * t + 1] };
            assert_eq!((game.ball, game.bricks().count()), (ball, episode.bricks[t]), "{place}");
            let mut observation = [1; SIDE * SIDE * CHANNELS];
            game.observe(ArrayMut::U8(&mut observation));
            seen = checksum(seen, &observation);
            let is_last = episode.terminated && t + 1 == actions.len();
            assert_eq!(outcome == Outcome::Terminated, is_last, "{place}");
            broken += rewards[t];
            walls += usize::from(t > 0 && episode.bricks[t] > episode.bricks[t - 1]);
        }
        assert_eq!(seen, episode.seen, "episode {e}");
    }
    assert!(broken > 100 && walls > 0, "{broken} bricks broken, {walls} walls built anew");
}

#[test]
fn the_ball_starts_on_either_side_equally_often() {
    let mut rng = rngs(5, 0, 1).remove(0);
    let mut game = Breakout::default();
    let starts = (0..10_000).filter(|_| {
        game.reset(&mut rng);
        assert_eq!((game.ball.row, game.goes_down, game.paddle), (3, true, 4));
        assert!(game.goes_right == (game.ball.column == 0) && game.ball.column % 9 == 0);
        game.goes_right
    });
    // Five standard deviations of a binomial count.
    assert!(starts.count().abs_diff(5000) < 250);
}

#[test]
fn the_paddle_stays_on_the_board() {
    let mut game = game(0);
    let columns = [1, 1, 1, 1, 1, 0, 2, 2].map(|action| {
        game.move_paddle(action);
        game.paddle
    });
    assert_eq!(columns, [3, 2, 1, 0, 0, 0, 1, 2]);
    game.paddle = SIDE - 1;
    game.move_paddle(2);
    assert_eq!(game.paddle, SIDE - 1);
}

#[test]
fn an_episode_is_cut_at_the_limit_and_shows_its_end() {
    let kind = &kinds().unwrap()[0];
    let mut environments = kind.make(rngs(1, 0, 1));
    let mut buffer = StepBuffer::new(kind.spec(), 1);
    buffer.observe(&*environments);
    let follow = |seen: &[u8]| {
        let (cells, _) = seen.as_chunks::<CHANNELS>();
        let column = |channel: usize| cells.iter().position(|cell| cell[channel] > 0).unwrap() % SIDE;
        match column(1).cmp(&column(0)) {
            Ordering::Equal => 0,
            Ordering::Less => 1,
            Ordering::Greater => 2,
        }
    };
    let mut lengths = Vec::new();
    let mut length = 0;
    for _ in 0..3 * FRAMES_MAX {
        let action = follow(buffer.observations.view().u8());
        buffer.step(&mut *environments, ArrayRef::U8(&[action]));
        length += 1;
        if buffer.outcomes[0] != Outcome::Continues {
            let is_cut = buffer.outcomes[0] == Outcome::Truncated;
            assert_eq!(buffer.final_observations.len(), if is_cut { SIDE * SIDE * CHANNELS } else { 0 });
            assert_eq!(is_cut, length == FRAMES_MAX);
            lengths.push(length);
            length = 0;
        }
    }
    assert!(lengths.contains(&FRAMES_MAX), "{lengths:?}");
}

#[test]
fn states_that_no_frame_leads_to_are_refused() {
    let own = game(0);
    assert!(own.accepts(&game(1)));
    for damage in [
        |game: &mut Breakout| game.ball.row = SIDE - 1,
        |game: &mut Breakout| game.ball.column = SIDE,
        |game: &mut Breakout| game.trail.row = SIDE,
        |game: &mut Breakout| game.paddle = SIDE,
        |game: &mut Breakout| game.wall[2] = WHOLE_ROW + 1,
    ] {
        let mut saved = own.clone();
        damage(&mut saved);
        assert!(!own.accepts(&saved), "{saved:?}");
    }
}
