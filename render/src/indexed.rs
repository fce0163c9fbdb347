//! Pictures in one palette, of which each after the first tells only what has changed: what both animation formats hold.

use crate::picture::Pictures;
use crate::raster::Canvas;
use crate::theme::{Colour, distance};
use std::collections::HashMap;

/// The index of what stays as it was. The most frequent one, and low ones make short codes.
pub(crate) const UNCHANGED: u8 = 0;
/// Colours besides [`UNCHANGED`]: with 63 a file is a tenth larger and looks the same.
const COLOURS_MAX: usize = 31;
/// Colours that are nearer to each other are one (sum of the squares of the differences): the blends at edges then become a few
/// steps for each pair of colours, instead of many for the most frequent pair and none for others.
const APART: u32 = 24 * 24;
/// Pictures from which the palette is taken.
const SAMPLES: usize = 32;

/// The colours by index; [`UNCHANGED`] has one that is never seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Palette {
    colours: Vec<Colour>,
    /// Every colour that was looked up.
    nearest: HashMap<Colour, u8>,
}

/// A part of a picture, laid over the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) left: u16,
    pub(crate) top: u16,
    pub(crate) width: u16,
    pub(crate) height: u16,
    /// `[height, width]`
    pub(crate) indices: Vec<u8>,
}

impl Palette {
    /// The most frequent colours of an episode's pictures.
    pub(crate) fn of(pictures: &Pictures<'_>, count: usize) -> Self {
        let mut counts = HashMap::<Colour, u64>::new();
        let samples = SAMPLES.min(count);
        for sample in 0..samples {
            for colour in pictures.draw(sample * (count - 1) / (samples - 1).max(1)).colours() {
                *counts.entry(colour).or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        // The colour too, so that equal counts have an order and equal episodes are equal files.
        counts.sort_unstable_by_key(|(colour, count)| (std::cmp::Reverse(*count), *colour));
        let mut colours = vec![[0; 3]];
        for (colour, _) in counts {
            let is_new = colours[1..].iter().all(|other| distance(*other, colour) >= APART);
            if is_new && colours.len() <= COLOURS_MAX {
                colours.push(colour);
            }
        }
        Self { colours, nearest: HashMap::new() }
    }

    /// Red, green and blue of each index, one after the other.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.colours.concat()
    }

    fn index(&mut self, colour: Colour) -> u8 {
        let colours = &self.colours;
        *self.nearest.entry(colour).or_insert_with(|| {
            let real = (UNCHANGED + 1..=u8::MAX).zip(&colours[1..]);
            real.min_by_key(|(_, other)| distance(**other, colour)).map_or(UNCHANGED, |(index, _)| index)
        })
    }

    fn indices(&mut self, canvas: &Canvas) -> Vec<u8> {
        // Most pixels are like the one before them, and looking up would take more time than drawing.
        let mut last = ([0; 3], UNCHANGED);
        let index = canvas.colours().map(|colour| {
            if colour != last.0 || last.1 == UNCHANGED {
                last = (colour, self.index(colour));
            }
            last.1
        });
        index.collect()
    }
}

/// Calls `write` with the patch of every picture in turn: the first is whole, later ones hold what has changed.
///
/// # Errors
/// Those of `write`.
pub(crate) fn for_each_patch<E>(
    pictures: &Pictures<'_>,
    count: usize,
    palette: &mut Palette,
    mut write: impl FnMut(usize, Patch) -> Result<(), E>,
) -> Result<(), E> {
    let [width, height] = pictures.size().map(|side| u16::try_from(side).expect("pictures are at most 1920 wide"));
    let mut before = Vec::new();
    for i in 0..count {
        let now = palette.indices(&pictures.draw(i));
        let patch = match i {
            0 => Patch { left: 0, top: 0, width, height, indices: now.clone() },
            _ => difference(&before, &now, width),
        };
        before = now;
        write(i, patch)?;
    }
    Ok(())
}

/// The smallest patch that makes one picture of another. Where nothing has changed it is one pixel that leaves what is there:
/// formats have no empty ones.
fn difference(before: &[u8], now: &[u8], width: u16) -> Patch {
    let row_len = usize::from(width);
    let rows: Vec<_> = before.chunks_exact(row_len).zip(now.chunks_exact(row_len)).collect();
    let is_changed = |(before, now): &(&[u8], &[u8])| before != now;
    let Some(top) = rows.iter().position(is_changed) else {
        return Patch { left: 0, top: 0, width: 1, height: 1, indices: vec![UNCHANGED] };
    };
    let bottom = rows.iter().rposition(is_changed).unwrap_or(top);
    let changed = rows[top..=bottom].iter().filter(|row| is_changed(row));
    let (mut left, mut right) = (row_len, 0);
    for (before, now) in changed {
        let differs = |(a, b): (&u8, &u8)| a != b;
        let pairs = || before.iter().zip(*now);
        left = left.min(pairs().position(differs).unwrap_or(row_len));
        right = right.max(pairs().rposition(differs).unwrap_or(0));
    }
    let patched = rows[top..=bottom].iter().flat_map(|(before, now)| {
        let pairs = before[left..=right].iter().zip(&now[left..=right]);
        pairs.map(|(before, now)| if before == now { UNCHANGED } else { *now })
    });
    let short = |x: usize| u16::try_from(x).expect("a part is not larger than the whole");
    Patch {
        left: short(left),
        top: short(top),
        width: short(right - left + 1),
        height: short(bottom - top + 1),
        indices: patched.collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_as_small_as_what_has_changed_and_leaves_the_rest() {
        let before = vec![1; 5 * 4];
        let mut now = before.clone();
        (now[5 + 2], now[2 * 5 + 4]) = (3, 4);
        let patch = difference(&before, &now, 5);
        assert_eq!((patch.left, patch.top, patch.width, patch.height), (2, 1, 3, 2));
        assert_eq!(patch.indices, [3, UNCHANGED, UNCHANGED, UNCHANGED, UNCHANGED, 4]);
        let nothing = difference(&now, &now, 5);
        assert_eq!((nothing.width, nothing.height, nothing.indices), (1, 1, vec![UNCHANGED]));
    }

    #[test]
    fn a_colour_that_the_palette_lacks_is_the_nearest_and_never_the_unchanged_one() {
        let mut palette = Palette { colours: vec![[0; 3], [250, 0, 0], [0, 250, 0]], nearest: HashMap::new() };
        assert_eq!([[255, 9, 0], [0, 0, 0], [10, 240, 0]].map(|colour| palette.index(colour)), [1, 1, 2]);
        assert_eq!(palette.bytes(), [0, 0, 0, 250, 0, 0, 0, 250, 0]);
    }
}
