//! A canvas of pixels: shapes, scenes and text with smooth edges.

mod picture;
mod text;

use crate::theme::{Colour, Theme};
use impala_env::scene::{Scene, Shape};
pub(crate) use text::{Align, fitting, width};
use tiny_skia::{
    FillRule, FilterQuality, LineCap, LineJoin, Paint, Path, PathBuilder, Pixmap, PixmapPaint, Stroke, Transform,
};

/// Where something is drawn, pixels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Area {
    pub(crate) x: f32,
    pub(crate) y: f32,
    pub(crate) width: f32,
    pub(crate) height: f32,
}

/// Pixels, all of them opaque.
#[derive(Clone)]
pub(crate) struct Canvas {
    pixels: Pixmap,
}

impl Canvas {
    /// All in one colour. Both sides are at least one pixel.
    pub(crate) fn new(width: u32, height: u32, ground: Colour) -> Self {
        let mut pixels = Pixmap::new(width.max(1), height.max(1)).expect("pictures are smaller than all memory");
        pixels.fill(opaque(ground));
        Self { pixels }
    }

    /// The colours of the pixels, row by row.
    pub(crate) fn colours(&self) -> impl ExactSizeIterator<Item = Colour> {
        // Premultiplied is the same as plain where nothing is translucent.
        self.pixels.pixels().iter().map(|pixel| [pixel.red(), pixel.green(), pixel.blue()])
    }

    /// Draws a scene as large as it fits into the area, in its middle. Pixels are `tall` times as high as they are wide.
    pub(crate) fn scene(&mut self, scene: &Scene, area: Area, tall: f32, theme: Theme) {
        let [width, height] = scene.size();
        let down = (area.width / width / tall).min(area.height / height);
        let across = down * tall;
        let left = area.x + (area.width - across * width) / 2.0;
        let top = area.y + (area.height - down * height) / 2.0;
        let place = Transform::from_row(across, 0.0, 0.0, down, left, top);
        for shape in scene.shapes() {
            self.shape(shape, place, theme);
        }
    }

    fn shape(&mut self, shape: &Shape, place: Transform, theme: Theme) {
        match shape {
            Shape::Rectangle { corner, size, radius, paint } => {
                self.fill(rounded(*corner, *size, *radius), place, theme.paint(*paint));
            }
            Shape::Line { from, to, width, paint } => {
                let mut path = PathBuilder::new();
                path.move_to(from[0], from[1]);
                path.line_to(to[0], to[1]);
                // At least a pixel, or on a coarse canvas it would fade away.
                self.stroke(path.finish(), width.max(1.0 / place.sy), place, theme.paint(*paint));
            }
            Shape::Circle { centre, radius, paint } => {
                self.fill(PathBuilder::from_circle(centre[0], centre[1], *radius), place, theme.paint(*paint));
            }
            Shape::Polygon { points, paint } => {
                let mut path = PathBuilder::new();
                points.iter().take(1).for_each(|[x, y]| path.move_to(*x, *y));
                points.iter().skip(1).for_each(|[x, y]| path.line_to(*x, *y));
                path.close();
                self.fill(path.finish(), place, theme.paint(*paint));
            }
            Shape::Picture { corner: [x, y], size: [width, height], png } => {
                let Some(picture) = picture::decode(png.bytes()) else { return };
                let scale = [width / picture.width() as f32, height / picture.height() as f32];
                let place = place.pre_translate(*x, *y).pre_scale(scale[0], scale[1]);
                let paint = PixmapPaint { quality: FilterQuality::Bilinear, ..PixmapPaint::default() };
                self.pixels.draw_pixmap(0, 0, picture.as_ref(), &paint, place, None);
            }
        }
    }

    /// Fills an area, whose corners are rounded.
    pub(crate) fn area(&mut self, area: Area, radius: f32, colour: Colour) {
        let Area { x, y, width, height } = area;
        self.fill(rounded([x, y], [width, height], radius), Transform::identity(), colour);
    }

    /// A disc.
    pub(crate) fn dot(&mut self, centre: [f32; 2], radius: f32, colour: Colour) {
        self.fill(PathBuilder::from_circle(centre[0], centre[1], radius), Transform::identity(), colour);
    }

    /// A line through these points.
    pub(crate) fn polyline(&mut self, points: &[[f32; 2]], width: f32, colour: Colour) {
        let mut path = PathBuilder::new();
        points.iter().take(1).for_each(|[x, y]| path.move_to(*x, *y));
        points.iter().skip(1).for_each(|[x, y]| path.line_to(*x, *y));
        self.stroke(path.finish(), width, Transform::identity(), colour);
    }

    /// A line of text whose letters stand on `y`, as high as `size`. Characters that the font does not have are drawn as boxes.
    pub(crate) fn text(&mut self, text: &str, [x, y]: [f32; 2], size: f32, align: Align, colour: Colour) {
        self.fill(text::outline(text, [x, y], size, align), Transform::identity(), colour);
    }

    /// Nothing is drawn of what has no area or coordinates that are no numbers.
    fn fill(&mut self, path: Option<Path>, place: Transform, colour: Colour) {
        if let Some(path) = path {
            self.pixels.fill_path(&path, &painted(colour), FillRule::Winding, place, None);
        }
    }

    fn stroke(&mut self, path: Option<Path>, width: f32, place: Transform, colour: Colour) {
        let stroke = Stroke { width, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
        if let Some(path) = path {
            self.pixels.stroke_path(&path, &painted(colour), &stroke, place, None);
        }
    }
}

fn opaque([red, green, blue]: Colour) -> tiny_skia::Color {
    tiny_skia::Color::from_rgba8(red, green, blue, u8::MAX)
}

fn painted(colour: Colour) -> Paint<'static> {
    let mut paint = Paint { anti_alias: true, ..Paint::default() };
    paint.set_color(opaque(colour));
    paint
}

/// A rectangle with round corners; none without an area.
fn rounded([x, y]: [f32; 2], [width, height]: [f32; 2], radius: f32) -> Option<Path> {
    /// How far the handles of a cubic curve reach for a quarter of a circle, in radii.
    const HANDLE: f32 = 0.552_284_8;
    let radius = radius.min(width / 2.0).min(height / 2.0).max(0.0);
    if !(width > 0.0 && height > 0.0) {
        return None;
    }
    let (right, bottom, inset) = (x + width, y + height, radius * (1.0 - HANDLE));
    let mut path = PathBuilder::new();
    path.move_to(x + radius, y);
    path.line_to(right - radius, y);
    path.cubic_to(right - inset, y, right, y + inset, right, y + radius);
    path.line_to(right, bottom - radius);
    path.cubic_to(right, bottom - inset, right - inset, bottom, right - radius, bottom);
    path.line_to(x + radius, bottom);
    path.cubic_to(x + inset, bottom, x, bottom - inset, x, bottom - radius);
    path.line_to(x, y + radius);
    path.cubic_to(x, y + inset, x + inset, y, x + radius, y);
    path.close();
    path.finish()
}

#[cfg(test)]
mod tests;
