//! An episode played in a terminal, at its pace, on the screen that programs such as editors use: what was there before comes back
//! at the end.
//!
//! It writes escape sequences that every terminal of the last decades knows. The terminal's size, the clock and whoever
//! interrupts are the caller's.

mod screen;
mod view;

use crate::picture::HOLD;
use crate::record::Recording;
use crate::theme::Theme;
use screen::Screen;
use std::io::{self, Write};
use std::time::Duration;

/// How many colours a terminal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// A byte each of red, green and blue.
    Full,
    /// The palette of 256 that nearly all have.
    Palette,
}

/// How an episode is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Play {
    /// Its colours.
    pub theme: Theme,
    /// The pace, 1 or more. Where a terminal cannot follow, frames are left out.
    pub frames_per_second: u32,
    /// The terminal's colours.
    pub depth: Depth,
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Played {
    /// It was seen to the end.
    Whole,
    /// The caller stopped it.
    Stopped,
}

/// Plays it once. `size` tells columns and rows, now; `wait` returns when so much time has passed since the first frame, with
/// the time that has really passed, or none to stop.
///
/// # Errors
/// The terminal cannot be written.
pub fn play(
    recording: &Recording,
    play: Play,
    output: &mut dyn Write,
    size: &dyn Fn() -> (u16, u16),
    wait: &mut dyn FnMut(Duration) -> Option<Duration>,
) -> io::Result<Played> {
    let mut stage = Stage::enter(output)?;
    let played = show(recording, play, stage.output, size, wait);
    stage.leave().and(played)
}

fn show(
    recording: &Recording,
    play: Play,
    output: &mut dyn Write,
    size: &dyn Fn() -> (u16, u16),
    wait: &mut dyn FnMut(Duration) -> Option<Duration>,
) -> io::Result<Played> {
    let frames_per_second = f64::from(play.frames_per_second);
    let last = recording.moments.len() - 1;
    let mut screen = Screen::new(size(), play.depth);
    let mut passed = Duration::ZERO;
    loop {
        screen.resize(size());
        let index = last.min((passed.as_secs_f64() * frames_per_second) as usize);
        view::draw(recording, index, play.theme, &mut screen);
        screen.show(output)?;
        let until = match index == last {
            true => passed + HOLD,
            // A little later than its time, so that rounding does not bring a frame twice.
            false => Duration::from_secs_f64((index + 1) as f64 / frames_per_second) + Duration::from_micros(1),
        };
        match wait(until) {
            None => return Ok(Played::Stopped),
            Some(_) if index == last => return Ok(Played::Whole),
            Some(now) => passed = now,
        }
    }
}

/// A terminal that was taken over, and is given back in whatever way the player ends.
struct Stage<'a> {
    output: &'a mut dyn Write,
    is_entered: bool,
}

impl<'a> Stage<'a> {
    /// The other screen, without a cursor.
    fn enter(output: &'a mut dyn Write) -> io::Result<Self> {
        output.write_all(b"\x1b[?1049h\x1b[?25l\x1b[2J")?;
        Ok(Self { output, is_entered: true })
    }

    fn leave(&mut self) -> io::Result<()> {
        self.is_entered = false;
        self.output.write_all(b"\x1b[0m\x1b[?25h\x1b[?1049l")?;
        self.output.flush()
    }
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        if self.is_entered {
            // Only a panic comes here: there is nobody left to tell that the terminal is gone.
            let _ = self.leave();
        }
    }
}

#[cfg(test)]
mod tests;
