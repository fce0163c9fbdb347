//! Text as outlines. The font is a part of Roboto, with the letters that names and numbers are made of.

use std::sync::LazyLock;
use tiny_skia::{Path, PathBuilder};
use ttf_parser::{Face, OutlineBuilder};

/// See fonts/README.md for where it comes from.
static FONT: LazyLock<Face<'static>> = LazyLock::new(|| {
    Face::parse(include_bytes!("../../fonts/roboto-medium-ascii.ttf"), 0).expect("the font of this crate is whole")
});

/// Which point of a text is where it is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Align {
    /// Its beginning.
    Left,
    /// Its end.
    Right,
}

/// The outline of a line of text; none if it has only spaces.
pub(super) fn outline(text: &str, [x, y]: [f32; 2], size: f32, align: Align) -> Option<Path> {
    let scale = size / f32::from(FONT.units_per_em());
    let start = match align {
        Align::Left => x,
        Align::Right => x - width(text, size),
    };
    let mut pen = Pen { path: PathBuilder::new(), x: start, y, scale };
    for character in text.chars() {
        // Glyph 0 is the box of unknown characters.
        let glyph = FONT.glyph_index(character).unwrap_or_default();
        FONT.outline_glyph(glyph, &mut pen);
        pen.x += scale * f32::from(FONT.glyph_hor_advance(glyph).unwrap_or_default());
    }
    pen.path.finish()
}

/// As much of a text's beginning as is no longer than so many pixels.
pub(crate) fn fitting(text: &str, size: f32, room: f32) -> &str {
    let ends = text.char_indices().map(|(start, character)| start + character.len_utf8());
    ends.take_while(|end| width(&text[..*end], size) <= room).last().map_or("", |end| &text[..end])
}

/// How long a text is, pixels.
pub(crate) fn width(text: &str, size: f32) -> f32 {
    let advance = |character| FONT.glyph_hor_advance(FONT.glyph_index(character).unwrap_or_default());
    let units: f32 = text.chars().map(|character| f32::from(advance(character).unwrap_or_default())).sum();
    units * size / f32::from(FONT.units_per_em())
}

/// Draws glyphs, whose units count upwards, into a path, whose pixels count downwards.
struct Pen {
    path: PathBuilder,
    x: f32,
    y: f32,
    scale: f32,
}

impl Pen {
    fn place(&self, x: f32, y: f32) -> (f32, f32) {
        (self.x + self.scale * x, self.y - self.scale * y)
    }
}

impl OutlineBuilder for Pen {
    fn move_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.move_to(x, y);
    }

    fn line_to(&mut self, x: f32, y: f32) {
        let (x, y) = self.place(x, y);
        self.path.line_to(x, y);
    }

    fn quad_to(&mut self, x1: f32, y1: f32, x: f32, y: f32) {
        let ((x1, y1), (x, y)) = (self.place(x1, y1), self.place(x, y));
        self.path.quad_to(x1, y1, x, y);
    }

    fn curve_to(&mut self, x1: f32, y1: f32, x2: f32, y2: f32, x: f32, y: f32) {
        let ((x1, y1), (x2, y2), (x, y)) = (self.place(x1, y1), self.place(x2, y2), self.place(x, y));
        self.path.cubic_to(x1, y1, x2, y2, x, y);
    }

    fn close(&mut self) {
        self.path.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_font_has_every_character_of_names_and_numbers() {
        let missing: String =
            (' '..='~').filter(|character| FONT.glyph_index(*character).is_none_or(|glyph| glyph.0 == 0)).collect();
        assert_eq!(missing, "");
    }

    #[test]
    fn a_text_without_room_is_cut_between_characters() {
        let (text, size) = ("größer", 20.0);
        assert_eq!(fitting(text, size, width(text, size)), text);
        assert_eq!(fitting(text, size, width("größ", size) + 1.0), "größ");
        assert_eq!([fitting(text, size, 1.0), fitting(text, size, f32::NAN), fitting("", size, 9.0)], [""; 3]);
    }

    #[test]
    fn text_stands_on_its_line_and_begins_or_ends_where_it_is_put() {
        let bounds = |align| outline("H1", [100.0, 50.0], 20.0, align).unwrap().bounds();
        let (left, right) = (bounds(Align::Left), bounds(Align::Right));
        // Roboto's capitals are 0.711 em high; letters keep a small distance from each other.
        assert!((left.bottom() - 50.0).abs() < 0.1 && (left.height() - 14.22).abs() < 0.1, "{left:?}");
        assert!((100.0..103.0).contains(&left.left()) && (95.0..100.0).contains(&right.right()), "{left:?} {right:?}");
        assert_eq!(outline("  ", [0.0, 0.0], 20.0, Align::Left), None);
    }
}
