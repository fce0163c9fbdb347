//! What was encoded, decoded again by the library.

use super::*;
use crate::picture::WIDTH;
use crate::samples::{catch, pole};
use crate::theme::{Colour, Theme};
use gif::{ColorOutput, DecodeOptions};

const ANIMATION: Animation = Animation { theme: Theme::Light, width: WIDTH, frames_per_second: 50 };

/// A decoded animation.
struct Decoded {
    size: [u16; 2],
    repeat: Repeat,
    delays: Vec<u16>,
    /// What is on the screen at the end.
    screen: Vec<Colour>,
}

fn decode(bytes: &[u8]) -> Decoded {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::RGBA);
    let mut decoder = options.read_info(bytes).unwrap();
    let size = [decoder.width(), decoder.height()];
    let (mut delays, mut screen) = (Vec::new(), vec![[0; 3]; usize::from(size[0]) * usize::from(size[1])]);
    while let Some(frame) = decoder.read_next_frame().unwrap() {
        delays.push(frame.delay);
        for (i, pixel) in frame.buffer.chunks_exact(4).enumerate() {
            let (row, column) = (i / usize::from(frame.width), i % usize::from(frame.width));
            if let [red, green, blue, 255] = *pixel {
                let place = (usize::from(frame.top) + row) * usize::from(size[0]) + usize::from(frame.left) + column;
                screen[place] = [red, green, blue];
            }
        }
    }
    Decoded { size, repeat: decoder.repeat(), delays, screen }
}

#[test]
fn there_is_a_frame_for_every_moment_at_the_pace_and_the_last_stands() {
    let decoded = decode(&encode(&pole(20), ANIMATION, &mut |_| {}).unwrap());
    assert_eq!((decoded.size, decoded.repeat), ([640, 358], Repeat::Infinite));
    assert_eq!(decoded.delays.len(), 21);
    assert_eq!(decoded.delays[..20], [2; 20], "50 frames a second");
    assert_eq!(decoded.delays[20], 150);
}

#[test]
fn the_patches_add_up_to_the_last_picture() {
    for recording in [pole(60), catch()] {
        let decoded = decode(&encode(&recording, ANIMATION, &mut |_| {}).unwrap());
        let pictures = Pictures::new(&recording, Theme::Light, WIDTH);
        let last = pictures.draw(recording.moments.len() - 1);
        let (mut same, mut count) = (0, 0);
        for (actual, expected) in decoded.screen.iter().zip(last.colours()) {
            let off = actual.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            // Blends at edges are replaced by the nearest of few colours.
            assert!(off <= 64, "{actual:?} for {expected:?}");
            (same, count) = (same + usize::from(off == 0), count + 1);
        }
        assert!(same as f32 > 0.97 * count as f32, "{same} of {count}");
    }
}

#[test]
fn a_whole_cart_pole_is_below_a_megabyte_and_the_same_each_time() {
    let recording = pole(500);
    let bytes = encode(&recording, ANIMATION, &mut |_| {}).unwrap();
    assert!(bytes.len() < 1_000_000, "{} bytes", bytes.len());
    assert!(bytes == encode(&recording, ANIMATION, &mut |_| {}).unwrap());
}

#[test]
fn a_pace_that_hundredths_of_a_second_cannot_tell_is_right_in_the_mean() {
    let delays: Vec<u16> = (0..30).map(|frame| delay(frame, 30)).collect();
    assert_eq!((delays[..3].to_vec(), delays.iter().sum::<u16>()), (vec![3, 4, 3], 100));
    assert_eq!([delay(0, 1), delay(7, 50), delay(3, 4)], [100, 2, 25]);
}
