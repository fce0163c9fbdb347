//! What one frame of an animation shows: the scene, and beside or below it step, action, reward, value, return and the curve of
//! the value estimates. How frames become a file is not its business.

mod curve;
mod layout;

use crate::raster::{self, Align, Area, Canvas};
use crate::record::{Action, Moment, Recording, View};
use crate::theme::{Role, Theme};
use crate::words;
use curve::Curve;
use impala_env::scene::Shape;
use layout::Layout;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Widths that a picture can have, pixels: from what can still be read to what a screen can show.
pub const WIDTHS: RangeInclusive<u32> = 320..=1920;
/// Width of a picture where nobody chooses: what fits into a README.
pub const WIDTH: u32 = 640;

/// How long the last frame of an animation stands, until it begins anew: the end is to be seen.
pub const HOLD: Duration = Duration::from_millis(1500);

/// How an animation is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Animation {
    /// Its colours.
    pub theme: Theme,
    /// Pixels; what is outside of [`WIDTHS`] counts as the nearest there. The height follows from the scene's shape.
    pub width: u32,
    /// The pace, 1 or more.
    pub frames_per_second: u32,
}

/// More actions than this are told by the chosen one alone.
const ACTIONS_SHOWN_MAX: usize = 4;

/// The pictures of one episode.
pub(crate) struct Pictures<'a> {
    recording: &'a Recording,
    theme: Theme,
    layout: Layout,
    curve: Curve,
    /// What is the same in all of them.
    base: Canvas,
}

impl<'a> Pictures<'a> {
    /// Pictures of this width, or the nearest that there is.
    pub(crate) fn new(recording: &'a Recording, theme: Theme, width: u32) -> Self {
        let width = width.clamp(*WIDTHS.start(), *WIDTHS.end());
        let scene = &recording.moments[0].scene;
        let covers = scene.shapes().iter().any(|shape| matches!(shape, Shape::Picture { .. }));
        let layout = Layout::new(scene.size(), covers, width);
        let curve = Curve::new(recording, layout.curve, layout.unit);
        let base = Canvas::new(layout.width, layout.height, theme.role(Role::Background));
        let mut pictures = Self { recording, theme, layout, curve, base };
        pictures.draw_base();
        pictures
    }

    /// Width and height, pixels.
    pub(crate) fn size(&self) -> [u32; 2] {
        [self.layout.width, self.layout.height]
    }

    /// The picture of a moment.
    pub(crate) fn draw(&self, index: usize) -> Canvas {
        let mut canvas = self.base.clone();
        let moment = &self.recording.moments[index];
        canvas.scene(&moment.scene, self.layout.scene, 1.0, self.theme);
        self.number(&mut canvas, self.layout.step, &moment.steps.to_string());
        self.number(&mut canvas, self.layout.reward, &words::reward(moment.reward));
        let value = moment.view.as_ref().map_or(words::NONE.into(), |view| words::estimate(view.value));
        self.number(&mut canvas, self.layout.value, &value);
        self.number(&mut canvas, self.layout.total, &words::amount(moment.return_so_far));
        self.actions(&mut canvas, moment);
        self.curve.draw_until(&mut canvas, index, self.theme.role(Role::Accent));
        canvas
    }

    fn draw_base(&mut self) {
        let (mut canvas, layout) = (self.base.clone(), &self.layout);
        let muted = self.theme.role(Role::Muted);
        let label = |canvas: &mut Canvas, area: Area, text| {
            canvas.text(text, [area.x, area.y + 11.0 * layout.unit], 11.0 * layout.unit, Align::Left, muted);
        };
        let title = words::title(self.recording);
        canvas.text(&title, layout.title, 12.0 * layout.unit, Align::Left, muted);
        let labelled = [
            (layout.step, "step"),
            (layout.action, "action"),
            (layout.reward, "reward"),
            (layout.value, "value"),
            (layout.total, "return"),
            (layout.curve_label, "value estimates over the episode"),
        ];
        labelled.into_iter().for_each(|(area, text)| label(&mut canvas, area, text));
        self.curve.draw_base(&mut canvas, self.theme);
        self.base = canvas;
    }

    fn number(&self, canvas: &mut Canvas, area: Area, text: &str) {
        let unit = self.layout.unit;
        let place = [area.x, area.y + 34.0 * unit];
        canvas.text(text, place, 20.0 * unit, Align::Left, self.theme.role(Role::Text));
    }

    /// A bar for each action, as long as it is probable; the chosen one stands out. At the end of the episode, how it ended.
    fn actions(&self, canvas: &mut Canvas, moment: &Moment) {
        let (area, unit) = (self.layout.action, self.layout.unit);
        let Some(view) = &moment.view else {
            let place = [area.x, area.y + 31.0 * unit];
            let text = self.recording.ending();
            canvas.text(text, place, 15.0 * unit, Align::Left, self.theme.role(Role::Text));
            return;
        };
        let (bars, gap) = (bars(view), 10.0 * unit);
        let width = (area.width + gap) / bars.len() as f32 - gap;
        for (place, bar) in bars.into_iter().enumerate() {
            let x = area.x + place as f32 * (width + gap);
            self.bar(canvas, Area { x, width, ..area }, &bar);
        }
    }

    fn bar(&self, canvas: &mut Canvas, area: Area, bar: &Bar) {
        let unit = self.layout.unit;
        let (text, fill) = match bar.is_chosen {
            true => (self.theme.role(Role::Text), self.theme.role(Role::Accent)),
            false => (self.theme.role(Role::Muted), self.theme.role(Role::Muted)),
        };
        let (name, share) = (&self.recording.actions[bar.place], &bar.text);
        let (y, room) = (area.y + 28.0 * unit, area.width - raster::width(share, 11.0 * unit) - 4.0 * unit);
        canvas.text(raster::fitting(name, 14.0 * unit, room), [area.x, y], 14.0 * unit, Align::Left, text);
        canvas.text(share, [area.x + area.width, y], 11.0 * unit, Align::Right, text);
        let track = Area { y: area.y + 34.0 * unit, height: 5.0 * unit, ..area };
        canvas.area(track, 2.5 * unit, self.theme.role(Role::Rule));
        // Below its height a bar would not be round; it is nothing then.
        let filled = Area { width: area.width * bar.share, ..track };
        if filled.width >= track.height {
            canvas.area(filled, 2.5 * unit, fill);
        }
    }
}

/// An action, or one of its components.
pub(crate) struct Bar {
    /// Of its name.
    pub(crate) place: usize,
    /// How long it is.
    pub(crate) share: f32,
    /// How probable an action is, or what a component is.
    pub(crate) text: String,
    pub(crate) is_chosen: bool,
}

/// Every action of a few, the chosen one of many; of an action with components the first few.
pub(crate) fn bars(view: &View) -> Vec<Bar> {
    let shares = view.shares.iter().copied().enumerate();
    match &view.action {
        Action::Choice(chosen) => {
            let are_few = view.shares.len() <= ACTIONS_SHOWN_MAX;
            let all = shares.map(|(place, share)| {
                let is_chosen = place == usize::from(*chosen);
                Bar { place, share, text: words::percent(share), is_chosen }
            });
            all.filter(|bar| are_few || bar.is_chosen).collect()
        }
        Action::Components(told) => {
            let all = shares.zip(told);
            let bar = |((place, share), told): (_, &String)| Bar { place, share, text: told.clone(), is_chosen: true };
            all.take(ACTIONS_SHOWN_MAX).map(bar).collect()
        }
    }
}

#[cfg(test)]
mod tests;
