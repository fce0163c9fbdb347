//! A grid of characters with colours. What is shown is written once: a frame costs as many bytes as it has changes.

use super::Depth;
use crate::theme::{Colour, distance};
use std::cmp::Reverse;
use std::io::{self, Write};

/// One character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) glyph: char,
    pub(super) fore: Colour,
    pub(super) back: Colour,
}

impl Cell {
    /// Nothing on a ground.
    pub(super) fn blank(back: Colour) -> Self {
        // The colour of a letter that is not there is not to make a difference.
        Self { glyph: ' ', fore: back, back }
    }

    /// Four pixels: the upper left one, the upper right one, and the two below. A character has two colours, so the pixels are
    /// divided between the two that differ most.
    pub(super) fn quadrants(pixels: [Colour; 4]) -> Self {
        let pairs = (0..4).flat_map(|a| (a + 1..4).map(move |b| (pixels[a], pixels[b])));
        let Some((first, second)) = pairs.min_by_key(|(a, b)| Reverse(distance(*a, *b))) else {
            return Self::blank(pixels[0]);
        };
        if first == second {
            return Self::blank(first);
        }
        let is_back = pixels.map(|pixel| distance(pixel, first) <= distance(pixel, second));
        let quadrants = (0..4).filter(|i| !is_back[*i]).map(|i| 1 << i).sum::<usize>();
        let mean = |wanted: bool| {
            let those = || pixels.iter().zip(is_back).filter(|(_, is_back)| *is_back == wanted).map(|(pixel, _)| pixel);
            let count = those().count().max(1);
            std::array::from_fn(|part| (those().map(|pixel| usize::from(pixel[part])).sum::<usize>() / count) as u8)
        };
        Self { glyph: QUADRANTS[quadrants], fore: mean(false), back: mean(true) }
    }
}

/// By the quadrants that are filled: 1 for the upper left one, 2 for the upper right one, 4 and 8 for those below.
const QUADRANTS: [char; 16] = [' ', '▘', '▝', '▀', '▖', '▌', '▞', '▛', '▗', '▚', '▐', '▜', '▄', '▙', '▟', '█'];

/// What is on a terminal, and what is to be there next.
pub(super) struct Screen {
    columns: usize,
    rows: usize,
    depth: Depth,
    next: Vec<Cell>,
    /// None where it is not known what is there.
    shown: Vec<Option<Cell>>,
}

impl Screen {
    /// One of which nothing is known.
    pub(super) fn new(size: (u16, u16), depth: Depth) -> Self {
        let mut screen = Self { columns: 0, rows: 0, depth, next: Vec::new(), shown: Vec::new() };
        screen.resize(size);
        screen
    }

    /// The terminal has this size now: what it does with its content when that changes, each decides for itself.
    pub(super) fn resize(&mut self, (columns, rows): (u16, u16)) {
        let (columns, rows) = (usize::from(columns), usize::from(rows));
        if (columns, rows) != (self.columns, self.rows) {
            (self.columns, self.rows) = (columns, rows);
            self.next = vec![Cell::blank([0; 3]); columns * rows];
            self.shown = vec![None; columns * rows];
        }
    }

    /// Columns and rows.
    pub(super) fn size(&self) -> (usize, usize) {
        (self.columns, self.rows)
    }

    /// Empties it.
    pub(super) fn clear(&mut self, ground: Colour) {
        self.next.fill(Cell::blank(ground));
    }

    /// Puts a character into its place, if there is such a place.
    pub(super) fn put(&mut self, row: usize, column: usize, cell: Cell) {
        if row < self.rows && column < self.columns {
            self.next[row * self.columns + column] = cell;
        }
    }

    /// Writes what is not there yet.
    pub(super) fn show(&mut self, output: &mut dyn Write) -> io::Result<()> {
        let mut text = String::new();
        // The colours and the place that the terminal has from what was written before.
        let (mut colours, mut cursor) = (None, None);
        for (place, cell) in self.next.iter().enumerate() {
            if self.shown[place] == Some(*cell) {
                continue;
            }
            if cursor != Some(place) {
                let (row, column) = (place / self.columns + 1, place % self.columns + 1);
                text.push_str(&format!("\x1b[{row};{column}H"));
            }
            if colours != Some((cell.fore, cell.back)) {
                text.push_str(&self.colours(cell));
                colours = Some((cell.fore, cell.back));
            }
            text.push(cell.glyph);
            self.shown[place] = Some(*cell);
            // After a row's last character terminals differ about where they are.
            cursor = Some(place + 1).filter(|next| next % self.columns != 0);
        }
        if text.is_empty() {
            return Ok(());
        }
        // Terminals that know it show the whole frame at once; others ignore it.
        write!(output, "\x1b[?2026h{text}\x1b[?2026l")?;
        output.flush()
    }

    fn colours(&self, cell: &Cell) -> String {
        match self.depth {
            Depth::Full => {
                let ([r, g, b], [br, bg, bb]) = (cell.fore, cell.back);
                format!("\x1b[38;2;{r};{g};{b};48;2;{br};{bg};{bb}m")
            }
            Depth::Palette => format!("\x1b[38;5;{};48;5;{}m", in_palette(cell.fore), in_palette(cell.back)),
        }
    }
}

/// The nearest of the 240 colours that terminals with 256 have in common: a cube of 6 levels, and greys.
fn in_palette(colour: Colour) -> u8 {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let nearest = |x: u8| (0_u8..).zip(LEVELS).min_by_key(|(_, level)| level.abs_diff(x)).unwrap_or_default();
    let [(red, r), (green, g), (blue, b)] = colour.map(nearest);
    let in_cube = (distance([r, g, b], colour), 16 + 36 * red + 6 * green + blue);
    let greys = (0..24_u8).map(|step| (distance([8 + 10 * step; 3], colour), 232 + step));
    greys.chain([in_cube]).min().map_or(0, |(_, index)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(screen: &mut Screen) -> String {
        let mut bytes = Vec::new();
        screen.show(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn what_is_there_is_not_written_again() {
        let mut screen = Screen::new((3, 2), Depth::Full);
        screen.clear([1, 2, 3]);
        let all = "\x1b[?2026h\x1b[1;1H\x1b[38;2;1;2;3;48;2;1;2;3m   \x1b[2;1H   \x1b[?2026l";
        assert_eq!(shown(&mut screen), all);
        assert_eq!(shown(&mut screen), "");
        screen.put(1, 2, Cell { glyph: 'x', fore: [9; 3], back: [1, 2, 3] });
        screen.put(7, 7, Cell::blank([0; 3]));
        assert_eq!(shown(&mut screen), "\x1b[?2026h\x1b[2;3H\x1b[38;2;9;9;9;48;2;1;2;3mx\x1b[?2026l");
        screen.resize((3, 1));
        screen.clear([1, 2, 3]);
        assert_eq!(shown(&mut screen).matches(' ').count(), 3, "a terminal that changed is written anew");
    }

    #[test]
    fn four_pixels_become_two_colours_in_the_places_that_have_them() {
        let (a, b) = ([0; 3], [200; 3]);
        for (pixels, glyph) in [([a, b, a, b], '▐'), ([a, a, b, a], '▖'), ([b, a, a, b], '▞'), ([a, b, b, b], '▟')]
        {
            let cell = Cell::quadrants(pixels);
            assert_eq!((cell.glyph, cell.back, cell.fore), (glyph, pixels[0], if pixels[0] == a { b } else { a }));
        }
        assert_eq!(Cell::quadrants([b; 4]), Cell::blank(b));
        let blended = Cell::quadrants([a, [20; 3], b, b]);
        assert_eq!((blended.glyph, blended.back, blended.fore), ('▄', [10; 3], b));
    }

    #[test]
    fn colours_become_the_nearest_of_the_palette() {
        assert_eq!([[0, 0, 0], [255, 255, 255], [255, 0, 0], [128, 128, 128]].map(in_palette), [16, 231, 196, 244]);
        let mut screen = Screen::new((1, 1), Depth::Palette);
        screen.put(0, 0, Cell::quadrants([[255, 0, 0], [255, 0, 0], [0; 3], [0; 3]]));
        assert!(shown(&mut screen).contains("\x1b[38;5;16;48;5;196m▄"));
    }
}
