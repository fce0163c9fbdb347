//! An episode as a page that plays it: one file that needs nothing else, from a disk or a server, with or without a network.
//!
//! The page is `html/body.html` with `html/player.css`; `html/scene.js` draws scenes, `html/player.js` plays them. What they are
//! told is one JSON object, of which this file knows the shape.

use crate::estimates::Estimates;
use crate::record::{Action, Moment, Recording};
use crate::theme::{Colour, Role, Theme};
use crate::words;
use impala_env::scene::{Paint, Shape};
use serde::Serialize;

/// Draws scenes that come as JSON on a canvas, in a browser: `drawShapes(context, size, shapes, width, height, colour, again)`.
pub const SCENE_JS: &str = include_str!("html/scene.js");
const PLAYER_JS: &str = include_str!("html/player.js");
const PLAYER_CSS: &str = include_str!("html/player.css");
const BODY: &str = include_str!("html/body.html");

/// The browser itself refuses whatever would come from elsewhere.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// How a page is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its colours; without it those that the browser prefers.
    pub theme: Option<Theme>,
    /// The pace, 1 or more.
    pub steps_per_second: u32,
    /// Which policy is seen, for people: where it comes from.
    pub source: String,
}

/// What the player is told.
#[derive(Serialize)]
struct Episode<'a> {
    title: String,
    source: &'a str,
    ending: &'a str,
    steps_per_second: u32,
    actions: &'a [String],
    size: [f32; 2],
    /// The ends of the scale of value estimates.
    scale: Option<[f32; 2]>,
    moments: Vec<Told<'a>>,
}

/// A moment; numbers that are none become null.
#[derive(Serialize)]
struct Told<'a> {
    /// A shape that is the same as the one at its place in the moment before is null: most of a scene stands still.
    shapes: Vec<Option<&'a Shape>>,
    reward: f32,
    #[serde(rename = "return")]
    return_so_far: f32,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<u8>,
    /// What the components of an action are, where it is not one choice.
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<&'a [String]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shares: Option<Vec<f32>>,
}

/// The page.
///
/// # Errors
/// The episode cannot be JSON: a bug.
pub fn page(recording: &Recording, page: &Page) -> Result<String, serde_json::Error> {
    let title = words::title(recording);
    let before = std::iter::once(None).chain(recording.moments.iter().map(Some));
    let moments = before.zip(&recording.moments).map(|(before, moment)| told(before, moment)).collect();
    let episode = serde_json::to_string(&Episode {
        title: title.clone(),
        source: &page.source,
        ending: recording.ending(),
        steps_per_second: page.steps_per_second,
        actions: &recording.actions,
        size: recording.moments[0].scene.size(),
        scale: Estimates::of(recording).scale,
        moments,
    })?;
    // So that no text in it can end the element that it stands in. Outside of texts JSON has no such character.
    let episode = episode.replace('<', "\\u003c");
    let colours = colours(page.theme);
    // Names of environments and numbers are all that a title has: nothing to be escaped.
    Ok(format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n<title>{title}</title>\n\
         <style>\n{colours}{PLAYER_CSS}</style>\n</head>\n<body>\n{BODY}\
         <script type=\"application/json\" id=\"episode\">{episode}</script>\n\
         <script>\n{SCENE_JS}{PLAYER_JS}</script>\n</body>\n</html>\n"
    ))
}

fn told<'a>(before: Option<&Moment>, moment: &'a Moment) -> Told<'a> {
    let earlier = |place: usize| before.and_then(|before| before.scene.shapes().get(place));
    let shapes = moment.scene.shapes().iter().enumerate();
    let view = moment.view.as_ref();
    Told {
        shapes: shapes.map(|(place, shape)| (earlier(place) != Some(shape)).then_some(shape)).collect(),
        reward: moment.reward,
        return_so_far: moment.return_so_far,
        value: view.map(|view| view.value),
        action: view.and_then(|view| match view.action {
            Action::Choice(action) => Some(action),
            Action::Components(_) => None,
        }),
        components: view.and_then(|view| match &view.action {
            Action::Choice(_) => None,
            Action::Components(told) => Some(&told[..]),
        }),
        shares: view.map(|view| view.shares.iter().map(|share| shortened(*share)).collect()),
    }
}

/// To a hundredth of a per cent, a tenth of what is shown: it makes the page a third smaller.
fn shortened(share: f32) -> f32 {
    (share * 1e4).round() / 1e4
}

/// The colours as custom properties of a page's root, for its style: `--paint-body`, `--role-text` and so on; without a theme those of
/// both, of which the browser chooses.
pub fn colours(theme: Option<Theme>) -> String {
    match theme {
        Some(theme) => format!(":root {{ color-scheme: {theme};{} }}\n", properties(theme)),
        None => format!(
            ":root {{ color-scheme: light dark;{} }}\n@media (prefers-color-scheme: dark) {{ :root {{{} }} }}\n",
            properties(Theme::Light),
            properties(Theme::Dark)
        ),
    }
}

fn properties(theme: Theme) -> String {
    let paints = Paint::ALL.map(|paint| ("paint", format!("{paint:?}"), theme.paint(paint)));
    let roles = Role::ALL.map(|role| ("role", format!("{role:?}"), theme.role(role)));
    let all = paints.into_iter().chain(roles);
    let property = |(kind, name, [red, green, blue]): (&str, String, Colour)| {
        format!(" --{kind}-{}: #{red:02x}{green:02x}{blue:02x};", name.to_lowercase())
    };
    all.map(property).collect()
}

#[cfg(test)]
mod tests;
