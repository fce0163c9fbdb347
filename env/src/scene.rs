//! What an environment looks like, as data: a plane and the shapes on it. An environment knows nothing of pixels, colours or
//! files; whoever draws (pictures, pages, a live view in a browser) knows nothing of the environment.
//!
//! Coordinates are in a unit of the environment's own, from the plane's upper left corner to the right and downwards, as in
//! pictures. Later shapes lie on earlier ones. As JSON a scene is `{"size": [w, h], "shapes": [{"line": {..}}, ..]}`.

use base64::Engine as _;
use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// Coordinates are kept to this many decimals of the larger side's order of magnitude: finer than a pixel of any picture, short
/// as text, and what did not move is equal from one scene to the next.
const DECIMALS: i32 = 4;

/// What the URL of a picture begins with.
const URL: &str = "data:image/png;base64,";

/// One look at an environment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Read")]
pub struct Scene {
    size: [f32; 2],
    shapes: Vec<Shape>,
}

/// A scene as it is read: its plane may have no area.
#[derive(Deserialize)]
struct Read {
    size: [f32; 2],
    shapes: Vec<Shape>,
}

impl TryFrom<Read> for Scene {
    type Error = String;

    fn try_from(Read { size, shapes }: Read) -> Result<Self, String> {
        match is_plane(size) {
            true => Ok(Self { size, shapes }),
            false => Err(format!("a plane of {} x {}", size[0], size[1])),
        }
    }
}

fn is_plane(size: [f32; 2]) -> bool {
    size.iter().all(|side| side.is_finite() && *side > 0.0)
}

/// Something to draw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Shape {
    /// An upright rectangle.
    Rectangle {
        /// Upper left corner.
        corner: [f32; 2],
        /// Width and height.
        size: [f32; 2],
        /// Radius of its corners; at most half of the shorter side has an effect.
        radius: f32,
        /// What it stands for.
        paint: Paint,
    },
    /// A straight line with round ends, which reach half its width beyond both points.
    Line {
        /// One end.
        from: [f32; 2],
        /// The other end.
        to: [f32; 2],
        /// How thick it is.
        width: f32,
        /// What it stands for.
        paint: Paint,
    },
    /// A disc.
    Circle {
        /// Its middle.
        centre: [f32; 2],
        /// From there to the edge.
        radius: f32,
        /// What it stands for.
        paint: Paint,
    },
    /// A closed area with straight edges.
    Polygon {
        /// Its corners, three or more, in order.
        points: Vec<[f32; 2]>,
        /// What it stands for.
        paint: Paint,
    },
    /// What an environment that draws itself has drawn.
    Picture {
        /// Upper left corner.
        corner: [f32; 2],
        /// Width and height.
        size: [f32; 2],
        /// Its pixels.
        png: Png,
    },
}

/// A picture as the bytes of a PNG file; as JSON the URL by which a browser takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Png(Arc<[u8]>);

impl Png {
    /// Whatever these bytes are: who draws them draws nothing if they are no picture.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        Self(bytes.into())
    }

    /// The file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Png {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Png({} bytes)", self.0.len())
    }
}

impl Serialize for Png {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{URL}{}", Base64Display::new(&self.0, &STANDARD)))
    }
}

impl<'de> Deserialize<'de> for Png {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let coded = text.strip_prefix(URL).ok_or_else(|| D::Error::custom("no URL of a PNG picture"))?;
        Ok(Self::new(STANDARD.decode(coded).map_err(D::Error::custom)?))
    }
}

/// What a shape stands for, not its colour: light and dark themes have one for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Paint {
    /// A region that is allowed or played on, faint, to be drawn first.
    Range,
    /// What things stand on.
    Ground,
    /// The limit at which an episode ends.
    Bound,
    /// What the actions move.
    Body,
    /// What hangs on a body.
    Limb,
    /// Where parts are joined.
    Joint,
    /// What is to be reached or caught.
    Target,
}

impl Paint {
    /// Each of them, in the order of their declaration.
    pub const ALL: [Self; 7] =
        [Self::Range, Self::Ground, Self::Bound, Self::Body, Self::Limb, Self::Joint, Self::Target];
}

impl Scene {
    /// An empty plane of this width and height. All scenes of an environment have the same.
    ///
    /// # Panics
    /// If a side is not finite or not above 0.
    pub fn new(width: f32, height: f32) -> Self {
        let size = [width, height];
        assert!(is_plane(size), "a plane of {width} x {height}");
        Self { size, shapes: Vec::new() }
    }

    /// Width and height of the plane.
    pub fn size(&self) -> [f32; 2] {
        self.size
    }

    /// The shapes in the order in which they are drawn, those in front last.
    pub fn shapes(&self) -> &[Shape] {
        &self.shapes
    }

    /// Puts a shape before those that are there, with rounded coordinates. It may lie outside of the plane, where it is not seen.
    pub fn add(&mut self, shape: Shape) {
        let magnitude = self.size[0].max(self.size[1]).log10().floor() as i32;
        let steps = 10_f64.powi(DECIMALS - magnitude);
        let length = |x: f32| ((f64::from(x) * steps).round() / steps) as f32;
        let point = |p: [f32; 2]| p.map(length);
        self.shapes.push(match shape {
            Shape::Rectangle { corner, size, radius, paint } => {
                Shape::Rectangle { corner: point(corner), size: point(size), radius: length(radius), paint }
            }
            Shape::Line { from, to, width, paint } => {
                Shape::Line { from: point(from), to: point(to), width: length(width), paint }
            }
            Shape::Circle { centre, radius, paint } => {
                Shape::Circle { centre: point(centre), radius: length(radius), paint }
            }
            Shape::Polygon { points, paint } => {
                Shape::Polygon { points: points.into_iter().map(point).collect(), paint }
            }
            Shape::Picture { corner, size, png } => Shape::Picture { corner: point(corner), size: point(size), png },
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coordinates_are_rounded_to_a_hundred_thousandth_of_the_planes_order_of_magnitude() {
        let circle = |x: f32| Shape::Circle { centre: [x, 1.0], radius: 0.25, paint: Paint::Body };
        for (side, x, expected) in
            [(5.0, 1.234_567, 1.2346), (50.0, 1.234_567, 1.235), (0.5, 0.123_456_7, 0.123_46), (5.0, -0.000_01, -0.0)]
        {
            let mut scene = Scene::new(side, side / 2.0);
            scene.add(circle(x));
            assert_eq!(scene.shapes(), [circle(expected)], "{x} on a plane of {side}");
        }
    }

    #[test]
    fn a_scene_is_json_that_names_shapes_and_paints() {
        let mut scene = Scene::new(4.0, 2.0);
        scene.add(Shape::Line { from: [0.1, 0.2], to: [0.3, 0.4], width: 0.05, paint: Paint::Limb });
        scene.add(Shape::Polygon { points: vec![[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]], paint: Paint::Range });
        assert_eq!(
            serde_json::to_string(&scene).unwrap(),
            r#"{"size":[4.0,2.0],"shapes":[{"line":{"from":[0.1,0.2],"to":[0.3,0.4],"width":0.05,"paint":"limb"}},{"polygon":{"points":[[0.0,0.0],[1.0,0.0],[0.0,1.0]],"paint":"range"}}]}"#
        );
        assert_eq!(serde_json::from_str::<Scene>(&serde_json::to_string(&scene).unwrap()).unwrap(), scene);
        let error = serde_json::from_str::<Scene>(r#"{"size":[0.0,1.0],"shapes":[]}"#).unwrap_err().to_string();
        assert!(error.contains("a plane of 0 x 1"), "{error}");
    }

    #[test]
    fn numbers_that_are_none_stay_so_and_are_null_in_json() {
        let mut scene = Scene::new(1.0, 1.0);
        scene.add(Shape::Circle { centre: [f32::NAN, f32::INFINITY], radius: 0.1, paint: Paint::Target });
        assert!(serde_json::to_string(&scene).unwrap().contains(r#""centre":[null,null]"#));
    }

    #[test]
    #[should_panic = "a plane of 0 x 1"]
    fn a_plane_without_an_area_is_a_mistake() {
        Scene::new(0.0, 1.0);
    }

    #[test]
    fn a_picture_is_a_url_to_a_browser() {
        let mut scene = Scene::new(2.0, 1.0);
        scene.add(Shape::Picture { corner: [0.0; 2], size: [2.0, 1.0], png: Png::new(*b"\x89PNG?") });
        let json = serde_json::to_string(&scene).unwrap();
        assert!(
            json.contains(
                r#"{"picture":{"corner":[0.0,0.0],"size":[2.0,1.0],"png":"data:image/png;base64,iVBORz8="}}"#
            ),
            "{json}"
        );
    }
}
