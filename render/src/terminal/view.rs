//! What a terminal shows of a moment: the scene, four pixels a character, and below it the numbers, the actions and the curve of the
//! value estimates.

use super::screen::{Cell, Screen};
use crate::estimates::Estimates;
use crate::raster::{Area, Canvas};
use crate::record::{Moment, Recording};
use crate::theme::{Colour, Role, Theme};
use crate::words;

/// Rows of text below the scene: an empty one, numbers, actions, curve.
const ROWS_BELOW: usize = 4;
/// The title and an empty row.
const ROWS_ABOVE: usize = 2;
/// Characters are about so many times as high as they are wide.
const CELL_HEIGHT: f32 = 2.0;
/// Before every line of text.
const INDENT: usize = 2;
/// Characters of an action's bar.
const BAR: usize = 10;
/// From the least to the most.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Draws a moment. What has no room is left out.
pub(super) fn draw(recording: &Recording, index: usize, theme: Theme, screen: &mut Screen) {
    let moment = &recording.moments[index];
    screen.clear(theme.role(Role::Background));
    let (columns, rows) = screen.size();
    let [width, height] = moment.scene.size();
    let room = rows.saturating_sub(ROWS_ABOVE + ROWS_BELOW);
    let scene_rows = room.min((columns as f32 * height / width / CELL_HEIGHT).ceil() as usize);
    draw_scene(moment, [columns, scene_rows], theme, screen);

    let mut line = Line { screen, theme, row: 0, column: INDENT };
    line.write(&words::title(recording), Role::Muted);
    line.go_to(ROWS_ABOVE + scene_rows + 1);
    numbers(moment, &mut line);
    line.go_to(ROWS_ABOVE + scene_rows + 2);
    actions(recording, moment, &mut line);
    line.go_to(ROWS_ABOVE + scene_rows + 3);
    curve(recording, index, columns.saturating_sub(2 * INDENT), &mut line);
}

fn draw_scene(moment: &Moment, [columns, rows]: [usize; 2], theme: Theme, screen: &mut Screen) {
    if columns == 0 || rows == 0 {
        return;
    }
    let [width, height] = [2 * columns, 2 * rows];
    let short = |side: usize| u32::try_from(side).expect("a terminal counts in 16 bits");
    let mut canvas = Canvas::new(short(width), short(height), theme.role(Role::Background));
    let area = Area { x: 0.0, y: 0.0, width: width as f32, height: height as f32 };
    canvas.scene(&moment.scene, area, CELL_HEIGHT, theme);
    let pixels: Vec<Colour> = canvas.colours().collect();
    for (row, pair) in pixels.chunks_exact(2 * width).enumerate() {
        let (upper, lower) = pair.split_at(width);
        for (column, (upper, lower)) in upper.chunks_exact(2).zip(lower.chunks_exact(2)).enumerate() {
            let cell = Cell::quadrants([upper[0], upper[1], lower[0], lower[1]]);
            screen.put(ROWS_ABOVE + row, column, cell);
        }
    }
}

fn numbers(moment: &Moment, line: &mut Line<'_>) {
    let value = moment.view.as_ref().map_or(words::NONE.into(), |view| words::estimate(view.value));
    let numbers = [
        ("step", moment.steps.to_string()),
        ("reward", words::reward(moment.reward)),
        ("value", value),
        ("return", words::amount(moment.return_so_far)),
    ];
    for (label, number) in numbers {
        line.write(&format!("{label} "), Role::Muted);
        // As wide as most numbers, so that what follows does not move.
        line.write(&format!("{number:<8}"), Role::Text);
    }
}

fn actions(recording: &Recording, moment: &Moment, line: &mut Line<'_>) {
    let Some(view) = &moment.view else {
        return line.write(recording.ending(), Role::Text);
    };
    for bar in crate::picture::bars(view) {
        let (text, fill) = if bar.is_chosen { (Role::Text, Role::Accent) } else { (Role::Muted, Role::Muted) };
        line.write(&format!("{} ", recording.actions[bar.place]), text);
        // Not finite is nothing.
        let filled = (bar.share.clamp(0.0, 1.0) * BAR as f32).round() as usize;
        line.write(&"━".repeat(filled), fill);
        line.write(&"━".repeat(BAR.saturating_sub(filled)), Role::Rule);
        line.write(&format!(" {:<8}", bar.text), text);
    }
}

/// A bar for each stretch of the episode, those up to now in colour.
fn curve(recording: &Recording, index: usize, width: usize, line: &mut Line<'_>) {
    let shares = Estimates::of(recording).shares;
    let last = (shares.len() - 1).max(1);
    for column in 0..width {
        let at = column * last / width.saturating_sub(1).max(1);
        let Some(share) = shares[..=at].iter().rev().flatten().next() else {
            line.write(" ", Role::Rule);
            continue;
        };
        let height = HEIGHTS[((share * HEIGHTS.len() as f32) as usize).min(HEIGHTS.len() - 1)];
        line.write(height.encode_utf8(&mut [0; 4]), if at <= index { Role::Accent } else { Role::Rule });
    }
}

/// A row that is written from left to right.
struct Line<'a> {
    screen: &'a mut Screen,
    theme: Theme,
    row: usize,
    column: usize,
}

impl Line<'_> {
    fn go_to(&mut self, row: usize) {
        (self.row, self.column) = (row, INDENT);
    }

    fn write(&mut self, text: &str, role: Role) {
        for glyph in text.chars() {
            let cell = Cell { glyph, fore: self.theme.role(role), back: self.theme.role(Role::Background) };
            self.screen.put(self.row, self.column, cell);
            self.column += 1;
        }
    }
}
