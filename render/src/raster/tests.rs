//! Pixels of shapes that are known.

use super::*;
use crate::theme::Role;
use impala_env::scene::Paint as Stands;

const GROUND: Colour = [255; 3];

/// The colour of a pixel of a canvas that is so wide.
fn pixel(canvas: &Canvas, width: usize, [x, y]: [usize; 2]) -> Colour {
    canvas.colours().nth(y * width + x).unwrap()
}

/// A canvas of 40 x 20 pixels with this shape on a plane of 4 x 2.
fn drawn(shape: Shape) -> Canvas {
    let mut scene = Scene::new(4.0, 2.0);
    scene.add(shape);
    let mut canvas = Canvas::new(40, 20, GROUND);
    canvas.scene(&scene, Area { x: 0.0, y: 0.0, width: 40.0, height: 20.0 }, 1.0, Theme::Light);
    canvas
}

#[test]
fn every_shape_is_drawn_where_it_is_and_in_the_colour_of_what_it_stands_for() {
    let paint = Stands::Body;
    let body = Theme::Light.paint(paint);
    let points = vec![[1.0, 0.2], [3.0, 0.2], [2.0, 1.8]];
    let cases = [
        (
            Shape::Rectangle { corner: [1.0, 0.5], size: [2.0, 1.0], radius: 0.2, paint },
            [[12, 10], [20, 6]],
            [[8, 10], [10, 4]],
        ),
        (Shape::Line { from: [1.0, 1.0], to: [3.0, 1.0], width: 0.4, paint }, [[9, 10], [30, 10]], [[7, 10], [20, 13]]),
        (Shape::Circle { centre: [2.0, 1.0], radius: 0.5, paint }, [[20, 10], [16, 10]], [[14, 10], [15, 5]]),
        (Shape::Polygon { points, paint }, [[20, 3], [20, 15]], [[12, 15], [28, 15]]),
    ];
    for (shape, inside, outside) in cases {
        let canvas = drawn(shape.clone());
        assert_eq!(inside.map(|place| pixel(&canvas, 40, place)), [body; 2], "{shape:?}");
        assert_eq!(outside.map(|place| pixel(&canvas, 40, place)), [GROUND; 2], "{shape:?}");
    }
}

#[test]
fn corners_of_rectangles_are_round() {
    let rectangle = |radius| Shape::Rectangle { corner: [1.0, 0.5], size: [2.0, 1.0], radius, paint: Stands::Body };
    let corner = |radius| pixel(&drawn(rectangle(radius)), 40, [10, 5]);
    assert_eq!([0.0, 0.5, 99.0].map(corner), [Theme::Light.paint(Stands::Body), GROUND, GROUND]);
}

#[test]
fn a_scene_is_as_large_as_it_fits_and_in_the_middle() {
    let mut scene = Scene::new(2.0, 2.0);
    let all = Shape::Rectangle { corner: [0.0, 0.0], size: [2.0, 2.0], radius: 0.0, paint: Stands::Target };
    scene.add(all);
    let mut canvas = Canvas::new(40, 20, GROUND);
    canvas.scene(&scene, Area { x: 0.0, y: 0.0, width: 40.0, height: 20.0 }, 1.0, Theme::Dark);
    let target = Theme::Dark.paint(Stands::Target);
    assert_eq!(
        [[9, 10], [10, 0], [29, 19], [30, 10]].map(|place| pixel(&canvas, 40, place)),
        [GROUND, target, target, GROUND]
    );
}

#[test]
fn on_pixels_that_are_higher_than_wide_shapes_keep_their_proportions() {
    let mut scene = Scene::new(1.0, 1.0);
    scene.add(Shape::Rectangle { corner: [0.0, 0.0], size: [1.0, 1.0], radius: 0.0, paint: Stands::Body });
    let mut canvas = Canvas::new(40, 10, GROUND);
    canvas.scene(&scene, Area { x: 0.0, y: 0.0, width: 40.0, height: 10.0 }, 2.0, Theme::Light);
    let body = Theme::Light.paint(Stands::Body);
    assert_eq!(
        [[9, 5], [10, 0], [29, 9], [30, 5]].map(|place| pixel(&canvas, 40, place)),
        [GROUND, body, body, GROUND]
    );
}

#[test]
fn a_line_is_never_thinner_than_a_pixel() {
    let line = |width| Shape::Line { from: [0.0, 1.05], to: [4.0, 1.05], width, paint: Stands::Body };
    assert_eq!(pixel(&drawn(line(0.0)), 40, [20, 10]), Theme::Light.paint(Stands::Body));
}

#[test]
fn what_has_no_area_or_no_place_is_not_drawn() {
    let paint = Stands::Body;
    for nothing in [
        Shape::Rectangle { corner: [f32::NAN, 0.0], size: [1.0, 1.0], radius: 0.0, paint },
        Shape::Rectangle { corner: [0.0, 0.0], size: [-1.0, 1.0], radius: 0.0, paint },
        Shape::Line { from: [0.0, f32::INFINITY], to: [1.0, 1.0], width: 0.1, paint },
        Shape::Circle { centre: [1.0, 1.0], radius: -1.0, paint },
        Shape::Circle { centre: [1.0, 1.0], radius: f32::NAN, paint },
        Shape::Polygon { points: vec![], paint },
        Shape::Polygon { points: vec![[1.0, 1.0]], paint },
    ] {
        assert!(drawn(nothing.clone()).colours().all(|colour| colour == GROUND), "{nothing:?}");
    }
}

#[test]
fn text_is_drawn_in_its_colour() {
    let (mut canvas, colour) = (Canvas::new(40, 20, GROUND), Theme::Light.role(Role::Text));
    canvas.text("I", [2.0, 18.0], 20.0, Align::Left, colour);
    assert!(canvas.colours().any(|pixel| pixel == colour));
    let before: Vec<_> = canvas.colours().collect();
    canvas.text("", [2.0, 18.0], 20.0, Align::Left, colour);
    assert_eq!(canvas.colours().collect::<Vec<_>>(), before);
}

#[test]
fn a_picture_fills_its_place_and_what_is_no_picture_nothing() {
    // Two pixels: red, and blue beside it.
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, 2, 1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&[255, 0, 0, 0, 0, 255]).unwrap();
    let drawn = |bytes: Vec<u8>| {
        let mut scene = Scene::new(40.0, 20.0);
        let png = impala_env::scene::Png::new(bytes);
        scene.add(Shape::Picture { corner: [0.0, 10.0], size: [40.0, 10.0], png });
        let mut canvas = Canvas::new(40, 20, [9, 9, 9]);
        canvas.scene(&scene, Area { x: 0.0, y: 0.0, width: 40.0, height: 20.0 }, 1.0, Theme::Light);
        [(5, 5), (5, 15), (35, 15)].map(|(x, y)| canvas.colours().nth(y * 40 + x).unwrap())
    };
    assert_eq!(drawn(file.clone()), [[9, 9, 9], [255, 0, 0], [0, 0, 255]]);
    assert_eq!(drawn(file[..20].to_vec()), [[9, 9, 9]; 3]);
}
