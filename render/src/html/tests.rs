//! What is in a page, as text; that it works is seen in a browser.

use super::*;
use crate::samples::{catch, pole};
use serde_json::Value;

fn plain(source: &str) -> Page {
    Page { theme: None, steps_per_second: 50, source: source.into() }
}

/// The data that the player reads.
fn data(page: &str) -> Value {
    let (_, rest) = page.split_once("id=\"episode\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn it_holds_the_whole_episode() {
    let recording = pole(30);
    let told = data(&page(&recording, &plain("runs/mine")).unwrap());
    assert_eq!(told["title"], "cartpole-v1, greedy, seed 1");
    assert_eq!((&told["source"], &told["ending"]), (&"runs/mine".into(), &"cut here, it goes on".into()));
    assert_eq!(told["actions"], serde_json::json!(["left", "right"]));
    let moments = told["moments"].as_array().unwrap();
    assert_eq!(moments.len(), 31);
    for (told, moment) in moments.iter().zip(&recording.moments) {
        assert_eq!(told["return"].as_f64().unwrap() as f32, moment.return_so_far);
        let view = moment.view.as_ref();
        assert_eq!(told.get("value").map(|value| value.as_f64().unwrap() as f32), view.map(|view| view.value));
        assert_eq!(
            told.get("action").and_then(Value::as_u64),
            view.map(|view| match view.action {
                Action::Choice(action) => action.into(),
                Action::Components(_) => panic!("a cart-pole has no components"),
            })
        );
        assert_eq!(told["shapes"].as_array().unwrap().len(), moment.scene.shapes().len());
    }
}

#[test]
fn shapes_that_stand_still_are_told_once() {
    let recording = catch();
    let told = data(&page(&recording, &plain("")).unwrap());
    let mut before: Vec<Value> = Vec::new();
    for (told, moment) in told["moments"].as_array().unwrap().iter().zip(&recording.moments) {
        let shapes = told["shapes"].as_array().unwrap().iter().enumerate();
        before = shapes.map(|(i, shape)| if shape.is_null() { before[i].clone() } else { shape.clone() }).collect();
        let whole = serde_json::to_string(moment.scene.shapes()).unwrap();
        assert!(Value::from(before.clone()) == serde_json::from_str::<Value>(&whole).unwrap(), "step {}", moment.steps);
    }
    let moved = told["moments"][1]["shapes"].as_array().unwrap().iter().filter(|shape| !shape.is_null()).count();
    assert_eq!(moved, 2, "ball and paddle");
}

#[test]
fn it_needs_nothing_from_elsewhere() {
    let page = page(&pole(3), &plain("")).unwrap();
    for foreign in ["http:", "https:", "src=", "<link", "@import", "url(", "fetch(", "import "] {
        assert!(!page.contains(foreign), "{foreign}");
    }
    assert!(page.contains("Content-Security-Policy\" content=\"default-src 'none';"));
}

#[test]
fn no_text_ends_the_element_that_it_stands_in() {
    let hostile = "</script><script>alert(1)</script><!--";
    let page = page(&pole(1), &plain(hostile)).unwrap();
    assert_eq!(page.matches("</script").count(), 2, "the data's and the player's");
    assert_eq!(data(&page)["source"], hostile);
}

#[test]
fn it_follows_the_browsers_theme_unless_told_one() {
    let of = |theme| page(&pole(1), &Page { theme, ..plain("") }).unwrap();
    let [red, green, blue] = Theme::Dark.paint(Paint::Limb);
    let dark = format!("--paint-limb: #{red:02x}{green:02x}{blue:02x};");
    let both = of(None);
    assert!(both.contains("@media (prefers-color-scheme: dark)") && both.contains(&dark));
    let forced = of(Some(Theme::Dark));
    assert!(!forced.contains("@media (prefers-color-scheme") && forced.contains(&dark));
    assert!(!of(Some(Theme::Light)).contains(&dark));
}

#[test]
fn numbers_that_are_none_are_null() {
    let mut recording = pole(1);
    let view = recording.moments[0].view.as_mut().unwrap();
    (view.value, view.shares) = (f32::INFINITY, vec![f32::NAN; 2]);
    let told = data(&page(&recording, &plain("")).unwrap());
    assert!(told["moments"][0]["value"].is_null() && told["scale"].is_null());
}
