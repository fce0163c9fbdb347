//! An episode as an animated PNG: the pictures of the GIF, smaller, with times that are exact. Browsers show it; what does not
//! know the format shows the first frame.

use crate::indexed::{self, Palette, UNCHANGED};
use crate::picture::{Animation, HOLD, Pictures};
use crate::record::Recording;

use png::{BitDepth, BlendOp, ColorType, Compression, DisposeOp, Encoder, EncodingError, Filter};

/// Encodes it, to be repeated for ever. `progress` is told the frames that were made, after each.
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
    let [width, height] = pictures.size();
    let mut bytes = Vec::new();
    let mut encoder = Encoder::new(&mut bytes, width, height);
    encoder.set_color(ColorType::Indexed);
    encoder.set_depth(BitDepth::Eight);
    encoder.set_palette(palette.bytes());
    let mut opacities = vec![u8::MAX; usize::from(UNCHANGED) + 1];
    opacities[usize::from(UNCHANGED)] = 0;
    encoder.set_trns(opacities);
    encoder.set_compression(Compression::High);
    // Indices next to each other have nothing to do with each other: there is nothing to predict. After the compression,
    // which has filters of its own.
    encoder.set_filter(Filter::NoFilter);
    encoder.set_animated(u32::try_from(count).unwrap_or(u32::MAX), 0)?;
    encoder.set_frame_delay(1, u16::try_from(frames_per_second).unwrap_or(u16::MAX))?;
    encoder.set_blend_op(BlendOp::Over)?;
    encoder.set_dispose_op(DisposeOp::None)?;
    let mut writer = encoder.write_header()?;
    indexed::for_each_patch(&pictures, count, &mut palette, |i, patch| {
        // The last frame's place and this one's size together need not lie in the picture, which is refused.
        writer.reset_frame_position()?;
        writer.set_frame_dimension(patch.width.into(), patch.height.into())?;
        writer.set_frame_position(patch.left.into(), patch.top.into())?;
        if i + 1 == count {
            writer.set_frame_delay(u16::try_from(HOLD.as_millis()).expect("a moment"), 1000)?;
        }
        progress(i + 1);
        writer.write_image_data(&patch.indices)
    })?;
    writer.finish()?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
