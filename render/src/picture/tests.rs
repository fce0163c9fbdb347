//! Pixels of whole pictures, at places that the layout knows.

use super::*;
use crate::samples::{catch, pole};
use crate::theme::Colour;

/// The pixels in a row of an area, at this height in it.
fn row(canvas: &Canvas, pictures: &Pictures<'_>, area: Area, down: f32) -> Vec<Colour> {
    let [width, _] = pictures.size().map(|side| side as usize);
    let start = (area.y + down) as usize * width + area.x as usize;
    canvas.colours().skip(start).take(area.width as usize).collect()
}

#[test]
fn the_bar_of_an_action_is_as_long_as_it_is_probable_and_the_chosen_one_stands_out() {
    let mut recording = pole(1);
    let accent = Theme::Light.role(Role::Accent);
    for (probability, chosen) in [(0.25_f32, 1), (0.5, 1), (1.0, 0)] {
        let view = recording.moments[0].view.as_mut().unwrap();
        view.shares = vec![probability, 1.0 - probability];
        view.action = Action::Choice(chosen);
        let share = view.shares[usize::from(chosen)];
        let pictures = Pictures::new(&recording, Theme::Light, 640);
        let bars = row(&pictures.draw(0), &pictures, pictures.layout.action, 36.5);
        let filled = bars.iter().filter(|colour| **colour == accent).count() as f32;
        // Two bars and 10 pixels between them.
        let whole = (pictures.layout.action.width - 10.0) / 2.0;
        assert!((filled - share * whole).abs() <= 4.0, "{filled} of {whole} for {share}");
    }
}

#[test]
fn of_many_actions_only_the_chosen_one_is_shown() {
    let mut view = View { action: Action::Choice(4), shares: vec![0.1; 10], value: 0.0 };
    let shown = |view: &View| bars(view).iter().map(|bar| (bar.place, bar.is_chosen)).collect::<Vec<_>>();
    assert_eq!(shown(&view), [(4, true)]);
    (view.action, view.shares) = (Action::Choice(2), vec![0.3; 3]);
    assert_eq!(shown(&view), [(0, false), (1, false), (2, true)]);
    let told: Vec<String> = (0..10).map(|component| format!("-0.{component}")).collect();
    (view.action, view.shares) = (Action::Components(told), vec![0.5; 10]);
    assert_eq!(shown(&view), [(0, true), (1, true), (2, true), (3, true)], "the first components of many");
    assert_eq!(bars(&view)[3].text, "-0.3");
    let mut recording = pole(1);
    recording.actions = (0..10).map(|action| action.to_string()).collect();
    recording.moments[0].view = Some(View { action: Action::Choice(9), shares: vec![0.1; 10], value: 1.0 });
    Pictures::new(&recording, Theme::Light, 640).draw(0);
}

#[test]
fn the_curve_is_coloured_up_to_now() {
    let recording = pole(100);
    let pictures = Pictures::new(&recording, Theme::Light, 640);
    let accent = Theme::Light.role(Role::Accent);
    let coloured = |moment: usize| -> Vec<usize> {
        let (canvas, area) = (pictures.draw(moment), pictures.layout.curve);
        let rows = (0..area.height as usize).map(|down| row(&canvas, &pictures, area, down as f32));
        rows.flat_map(|row| (0..row.len()).filter(move |x| row[*x] == accent).collect::<Vec<_>>()).collect()
    };
    let (early, late) = (coloured(10), coloured(90));
    let furthest = |places: &[usize]| *places.iter().max().unwrap() as f32 / (pictures.layout.curve.width - 46.0);
    assert!((furthest(&early) - 0.1).abs() < 0.02 && (furthest(&late) - 0.9).abs() < 0.02);
    assert_eq!(coloured(100).iter().max(), coloured(99).iter().max(), "the end has no estimate");
}

#[test]
fn numbers_that_are_none_are_drawn_too() {
    let mut recording = pole(3);
    for (moment, value) in recording.moments.iter_mut().zip([f32::NAN, f32::INFINITY, f32::MIN]) {
        let shares = vec![f32::NAN; 2];
        (moment.reward, moment.return_so_far) = (f32::NAN, value);
        moment.view = Some(View { action: Action::Choice(0), shares, value });
    }
    let pictures = Pictures::new(&recording, Theme::Dark, 640);
    (0..4).for_each(|moment| drop(pictures.draw(moment)));
}

#[test]
fn a_picture_is_as_wide_as_asked_within_bounds_and_has_its_theme() {
    let recording = catch();
    for (wanted, width, height) in [(0, 320, 160), (640, 640, 320), (u32::MAX, 1920, 960)] {
        let pictures = Pictures::new(&recording, Theme::Dark, wanted);
        assert_eq!(pictures.size(), [width, height]);
        let canvas = pictures.draw(0);
        assert_eq!(canvas.colours().len() as u32, width * height);
        assert_eq!(canvas.colours().next(), Some(Theme::Dark.role(Role::Background)));
    }
}
