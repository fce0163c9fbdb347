//! What was encoded, decoded again by the library.

use super::*;
use crate::picture::WIDTH;
use crate::samples::{catch, pole};
use crate::theme::{Colour, Theme};
use png::{Decoder, Transformations};
use std::io::Cursor;

const ANIMATION: Animation = Animation { theme: Theme::Dark, width: WIDTH, frames_per_second: 50 };

/// A decoded animation.
struct Decoded {
    size: [u32; 2],
    plays: u32,
    delays: Vec<[u16; 2]>,
    /// What is on the screen at the end.
    screen: Vec<Colour>,
}

fn decode(bytes: &[u8]) -> Decoded {
    let mut decoder = Decoder::new(Cursor::new(bytes));
    decoder.set_transformations(Transformations::EXPAND | Transformations::ALPHA);
    let mut reader = decoder.read_info().unwrap();
    let (info, control) = (reader.info().clone(), reader.info().animation_control.unwrap());
    let mut screen = vec![[0; 3]; (info.width * info.height) as usize];
    let (mut delays, mut buffer) = (Vec::new(), vec![0; reader.output_buffer_size().unwrap()]);
    for _ in 0..control.num_frames {
        let output = reader.next_frame(&mut buffer).unwrap();
        let frame = *reader.info().frame_control().unwrap();
        assert_eq!((output.width, output.height), (frame.width, frame.height));
        delays.push([frame.delay_num, frame.delay_den]);
        for (i, pixel) in buffer[..output.buffer_size()].chunks_exact(4).enumerate() {
            let (row, column) = (i as u32 / frame.width, i as u32 % frame.width);
            if let [red, green, blue, 255] = *pixel {
                screen[((frame.y_offset + row) * info.width + frame.x_offset + column) as usize] = [red, green, blue];
            }
        }
    }
    Decoded { size: [info.width, info.height], plays: control.num_plays, delays, screen }
}

#[test]
fn there_is_a_frame_for_every_moment_at_the_exact_pace_and_the_last_stands() {
    let animation = Animation { frames_per_second: 30, ..ANIMATION };
    let decoded = decode(&encode(&pole(20), animation, &mut |_| {}).unwrap());
    assert_eq!((decoded.size, decoded.plays), ([640, 358], 0));
    assert_eq!(decoded.delays.len(), 21);
    assert!(decoded.delays[..20].iter().all(|delay| *delay == [1, 30]), "{:?}", decoded.delays);
    assert_eq!(decoded.delays[20], [1500, 1000]);
}

#[test]
fn it_shows_the_pictures_of_the_gif() {
    for recording in [pole(60), catch()] {
        let mut frames = Vec::new();
        let decoded = decode(&encode(&recording, ANIMATION, &mut |frame| frames.push(frame)).unwrap());
        assert!(frames.into_iter().eq(1..=recording.moments.len()));
        let last = Pictures::new(&recording, Theme::Dark, WIDTH).draw(recording.moments.len() - 1);
        for (actual, expected) in decoded.screen.iter().zip(last.colours()) {
            let off = actual.iter().zip(expected).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(off <= 64, "{actual:?} for {expected:?}");
        }
    }
}

#[test]
fn it_is_smaller_than_the_gif() {
    let recording = pole(100);
    let png = encode(&recording, ANIMATION, &mut |_| {}).unwrap();
    let gif = crate::gif::encode(&recording, ANIMATION, &mut |_| {}).unwrap();
    assert!(png.len() < gif.len(), "{} bytes against {}", png.len(), gif.len());
}
