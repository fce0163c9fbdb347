//! What is where in a picture. A wide scene lies above the numbers, a tall one beside them.

use crate::raster::Area;

/// Scenes that are less than this times as wide as they are high stand beside the numbers.
const TALL: f32 = 1.2;
/// The most that a scene above the numbers is high, and the height of one beside them, in widths of the picture.
const SCENE_HEIGHT: f32 = 0.5;
/// Sizes are given for a picture of this width, and scaled.
const DESIGN_WIDTH: f32 = 640.0;
/// Around everything.
const MARGIN: f32 = 18.0;
/// Label and number.
const CELL_HEIGHT: f32 = 42.0;
const CURVE_HEIGHT: f32 = 44.0;
/// From the top of the curve's label to the curve.
const LABEL_HEIGHT: f32 = 20.0;
/// Between rows.
const GAP: f32 = 14.0;
/// Of the title above a scene that covers all of its place.
const TITLE_HEIGHT: f32 = 34.0;

/// The places in a picture, pixels.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Layout {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Of the design, in pixels.
    pub(super) unit: f32,
    /// Where the title begins, on its line.
    pub(super) title: [f32; 2],
    pub(super) scene: Area,
    pub(super) step: Area,
    pub(super) action: Area,
    pub(super) reward: Area,
    pub(super) value: Area,
    /// The return.
    pub(super) total: Area,
    /// Where the curve's label is, of which only the corner counts.
    pub(super) curve_label: Area,
    pub(super) curve: Area,
}

impl Layout {
    /// For scenes of this size. The title stands on a wide one, unless it covers what is on it.
    pub(super) fn new([scene_width, scene_height]: [f32; 2], covers: bool, width: u32) -> Self {
        match scene_width < TALL * scene_height {
            true => Self::beside(scene_width / scene_height, width),
            false => Self::above(scene_width / scene_height, if covers { TITLE_HEIGHT } else { 0.0 }, width),
        }
    }

    /// The scene on top, a row of numbers, the curve.
    fn above(aspect: f32, scene_top: f32, width: u32) -> Self {
        let unit = width as f32 / DESIGN_WIDTH;
        let scene_height = (DESIGN_WIDTH / aspect).min(SCENE_HEIGHT * DESIGN_WIDTH);
        let scene = [0.0, scene_top, DESIGN_WIDTH, scene_height];
        let top = scene_top + scene_height + GAP;
        let mut x = MARGIN;
        let mut cell = |width: f32| {
            let area = [x, top, width, CELL_HEIGHT];
            x += width;
            area
        };
        let (step, action, _, reward, value, total) =
            (cell(86.0), cell(214.0), cell(34.0), cell(86.0), cell(100.0), cell(84.0));
        let curve_top = top + CELL_HEIGHT + GAP + LABEL_HEIGHT;
        let curve = [MARGIN, curve_top, DESIGN_WIDTH - 2.0 * MARGIN, CURVE_HEIGHT];
        let height = curve_top + CURVE_HEIGHT + MARGIN;
        Self::scaled(unit, height, [MARGIN, MARGIN + 6.0], scene, [step, action, reward, value, total], curve)
    }

    /// The scene on the left, title, numbers, actions and curve on its right.
    fn beside(aspect: f32, width: u32) -> Self {
        let unit = width as f32 / DESIGN_WIDTH;
        let height = SCENE_HEIGHT * DESIGN_WIDTH;
        let scene_width = aspect * (height - 2.0 * MARGIN);
        let scene = [MARGIN, MARGIN, scene_width, height - 2.0 * MARGIN];
        let left = scene_width + 3.0 * MARGIN;
        let room = DESIGN_WIDTH - MARGIN - left;
        let numbers_top = MARGIN + 42.0;
        let cell = |place: f32| [left + place * room / 4.0, numbers_top, room / 4.0, CELL_HEIGHT];
        let action_top = numbers_top + CELL_HEIGHT + 1.5 * GAP;
        let action = [left, action_top, room, CELL_HEIGHT];
        let curve_top = action_top + CELL_HEIGHT + 1.5 * GAP + LABEL_HEIGHT;
        let curve = [left, curve_top, room, height - MARGIN - curve_top];
        let cells = [cell(0.0), action, cell(1.0), cell(2.0), cell(3.0)];
        Self::scaled(unit, height, [left, MARGIN + 10.0], scene, cells, curve)
    }

    fn scaled(unit: f32, height: f32, title: [f32; 2], scene: [f32; 4], cells: [[f32; 4]; 5], curve: [f32; 4]) -> Self {
        let area = |area: [f32; 4]| {
            let [x, y, width, height] = area.map(|x| x * unit);
            Area { x, y, width, height }
        };
        let [step, action, reward, value, total] = cells.map(area);
        let [width, height] = [DESIGN_WIDTH, height].map(|side| (side * unit).round() as u32);
        let [x, y, width_of_curve, _] = curve;
        let curve_label = area([x, y - LABEL_HEIGHT, width_of_curve, LABEL_HEIGHT]);
        let (title, scene, curve) = (title.map(|x| x * unit), area(scene), area(curve));
        Self { width, height, unit, title, scene, step, action, reward, value, total, curve_label, curve }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn areas(layout: &Layout) -> [Area; 8] {
        let Layout { scene, step, action, reward, value, total, curve_label, curve, .. } = *layout;
        [scene, step, action, reward, value, total, curve_label, curve]
    }

    #[test]
    fn nothing_lies_on_anything_else_or_outside_whatever_shape_a_scene_has() {
        for (scene, width) in
            [([5.6, 1.8], 640), ([5.5, 10.5], 640), ([1.0, 1.0], 321), ([1.3, 1.0], 1920), ([40.0, 1.0], 320)]
        {
            let layout = Layout::new(scene, width % 2 == 0, width);
            assert_eq!(layout.width, width);
            for (i, a) in areas(&layout).into_iter().enumerate() {
                let is_inside = a.x >= 0.0
                    && a.y >= 0.0
                    && a.x + a.width <= layout.width as f32 + 0.5
                    && a.y + a.height <= layout.height as f32 + 0.5;
                assert!(is_inside && a.width > 0.0 && a.height > 0.0, "{scene:?}: {a:?} in {layout:?}");
                for b in &areas(&layout)[..i] {
                    let apart = a.x >= b.x + b.width - 0.01
                        || b.x >= a.x + a.width - 0.01
                        || a.y >= b.y + b.height - 0.01
                        || b.y >= a.y + a.height - 0.01;
                    assert!(apart, "{scene:?}: {a:?} on {b:?}");
                }
            }
        }
    }

    #[test]
    fn the_picture_of_a_cart_pole_is_as_high_as_its_parts() {
        let layout = Layout::new([5.6, 1.8], false, 640);
        // 640 * 1.8 / 5.6 = 206 of the scene; the rest is rows and what lies between them.
        assert_eq!((layout.width, layout.height), (640, 358));
        assert_eq!(Layout::new([5.6, 1.8], false, 1280).height, 715);
        assert_eq!(Layout::new([5.5, 10.5], false, 640).height, 320);
    }
}
