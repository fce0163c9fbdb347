//! An episode as an animated GIF: shown wherever pictures are, in the least colours.

use crate::indexed::{self, Palette, UNCHANGED};
use crate::picture::{Animation, HOLD, Pictures};
use crate::record::Recording;

pub use gif::EncodingError;
use gif::{DisposalMethod, Encoder, Frame, Repeat};

/// Encodes it, to be repeated for ever. A format that counts time in hundredths of a second: delays are rounded so that the pace is
/// right in the mean. `progress` is told the frames that were made, after each.
///
/// # Errors
/// The format refuses it: a bug.
pub fn encode(
    recording: &Recording,
    animation: Animation,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<u8>, EncodingError> {
    let Animation { theme, width, frames_per_second } = animation;
    let pictures = Pictures::new(recording, theme, width);
    let count = recording.moments.len();
    let mut palette = Palette::of(&pictures, count);
    let [width, height] = pictures.size().map(|side| u16::try_from(side).expect("pictures are at most 1920 wide"));
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height, &palette.bytes())?;
    encoder.set_repeat(Repeat::Infinite)?;
    indexed::for_each_patch(&pictures, count, &mut palette, |i, patch| {
        let delay = match i + 1 == count {
            true => u16::try_from(HOLD.as_millis() / 10).expect("a moment"),
            false => delay(i, frames_per_second),
        };
        progress(i + 1);
        encoder.write_frame(&Frame {
            delay,
            dispose: DisposalMethod::Keep,
            transparent: Some(UNCHANGED),
            needs_user_input: false,
            top: patch.top,
            left: patch.left,
            width: patch.width,
            height: patch.height,
            interlaced: false,
            palette: None,
            buffer: patch.indices.into(),
        })
    })?;
    drop(encoder);
    Ok(bytes)
}

/// Hundredths of a second that a frame is shown.
fn delay(frame: usize, frames_per_second: u32) -> u16 {
    let until = |frames: usize| (100.0 * frames as f64 / f64::from(frames_per_second)).round();
    (until(frame + 1) - until(frame)) as u16
}

#[cfg(test)]
mod tests;
