//! What is written to a terminal, with a clock that tests move.

use super::*;
use crate::samples::{catch, pole};

const PLAY: Play = Play { theme: Theme::Dark, frames_per_second: 50, depth: Depth::Full };

/// Plays in a terminal of this size; `clock` makes of the time that is waited for the time that it is then.
fn played(
    recording: &Recording,
    size: (u16, u16),
    clock: &mut dyn FnMut(Duration) -> Option<Duration>,
) -> (Played, String) {
    let mut output = Vec::new();
    let played = play(recording, PLAY, &mut output, &|| size, clock).unwrap();
    (played, String::from_utf8(output).unwrap())
}

/// How often the whole frame is shown.
fn frames(output: &str) -> usize {
    output.matches("\x1b[?2026h").count()
}

#[test]
fn every_moment_is_shown_at_its_time_and_the_last_stands() {
    let mut times = Vec::new();
    let recording = pole(10);
    let (played, output) = played(&recording, (80, 24), &mut |until| {
        times.push(until.as_millis());
        Some(until)
    });
    assert_eq!((played, frames(&output)), (Played::Whole, 11));
    assert_eq!(times, [20, 40, 60, 80, 100, 120, 140, 160, 180, 200, 1700]);
    for text in ["cartpole-v1, greedy, seed 1", "step", "return", "left", "▐", "cut here"] {
        assert!(output.contains(text), "{text}");
    }
}

#[test]
fn a_terminal_that_cannot_follow_misses_frames_and_no_time() {
    let (played, output) = played(&pole(10), (80, 24), &mut |until| Some(until + Duration::from_millis(50)));
    assert_eq!(played, Played::Whole);
    assert!((3..=5).contains(&frames(&output)), "{}", frames(&output));
}

#[test]
fn whoever_stops_it_gets_the_terminal_back() {
    let (played, output) = played(&pole(10), (80, 24), &mut |_| None);
    assert_eq!((played, frames(&output)), (Played::Stopped, 1));
    assert!(output.starts_with("\x1b[?1049h\x1b[?25l") && output.ends_with("\x1b[0m\x1b[?25h\x1b[?1049l"));
}

#[test]
fn a_terminal_of_any_size_is_played_in() {
    for recording in [pole(3), catch()] {
        for size in [(0, 0), (1, 1), (10, 3), (80, 6), (80, 7), (300, 100)] {
            assert_eq!(played(&recording, size, &mut Some).0, Played::Whole, "{size:?}");
        }
    }
}

#[test]
fn a_terminal_that_goes_away_is_an_error() {
    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = play(&pole(3), PLAY, &mut Gone, &|| (80, 24), &mut Some).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}
