//! Pictures that environments have drawn, from files to pixels.

use std::io::Cursor;
use tiny_skia::{IntSize, Pixmap};

/// More pixels than any picture that an environment gives.
const PIXELS_MAX: usize = 1 << 25;

/// The pixels of a PNG file, opaque; nothing if it is none.
pub(super) fn decode(file: &[u8]) -> Option<Pixmap> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().ok()?;
    let size = reader.output_buffer_size().filter(|size| *size <= 4 * PIXELS_MAX)?;
    let mut samples = vec![0; size];
    let info = reader.next_frame(&mut samples).ok()?;
    let samples = &samples[..info.buffer_size()];
    let pixels = match info.color_type {
        png::ColorType::Rgb => samples.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], u8::MAX]).collect(),
        png::ColorType::Rgba => samples.chunks_exact(4).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], u8::MAX]).collect(),
        png::ColorType::Grayscale => samples.iter().flat_map(|grey| [*grey, *grey, *grey, u8::MAX]).collect(),
        png::ColorType::GrayscaleAlpha | png::ColorType::Indexed => return None,
    };
    Pixmap::from_vec(pixels, IntSize::from_wh(info.width, info.height)?)
}
