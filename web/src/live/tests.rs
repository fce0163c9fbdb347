//! What a page gets, without a socket.

use super::*;
use crate::snapshot::{About, Snapshot};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use std::net::Ipv4Addr;
use tower::ServiceExt;

fn feed() -> Feed {
    let feed = Feed::new();
    feed.introduce(&About { run: "one".into(), goal: 475.0, ..About::default() });
    feed
}

fn actor(index: u32, lag: Option<f64>) -> Actor {
    let name = format!("actor-{index}");
    let (version, frames_per_second, blocked, refused, seconds_since) = (None, None, None, None, None);
    Actor { index, name, version, frames_per_second, lag, blocked, refused, seconds_since }
}

async fn get(feed: &Feed, path: &str) -> (StatusCode, serde_json::Value) {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let response = router(feed.clone(), Ipv4Addr::LOCALHOST.into()).oneshot(request).await.unwrap();
    let status = response.status();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&bytes).unwrap_or_default())
}

#[tokio::test]
async fn a_page_that_is_opened_late_has_the_run_so_far() {
    let feed = feed();
    for frames in [80, 160] {
        feed.tell(&Snapshot { frames, mean_return: Some(9.5), ..Snapshot::default() });
    }
    assert_eq!(get(&feed, "/api/about").await.1["run"], "one");
    let (status, history) = get(&feed, "/api/history").await;
    assert_eq!((status, &history["frames"]), (StatusCode::OK, &serde_json::json!([80, 160])));
}

#[tokio::test]
async fn a_browser_is_told_to_load_nothing_from_elsewhere() {
    let request = Request::get("/").body(Body::empty()).unwrap();
    let response = router(feed(), Ipv4Addr::LOCALHOST.into()).oneshot(request).await.unwrap();
    let policy = response.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';") && !policy.contains("http"), "{policy}");
}

#[tokio::test]
async fn the_fleet_is_sorted_and_paged() {
    let feed = feed();
    feed.tell_fleet((0..250).map(|index| actor(index, (index > 0).then(|| f64::from(index % 7)))).collect());
    let (_, all) = get(&feed, "/api/fleet").await;
    assert_eq!((&all["total"], all["actors"].as_array().unwrap().len()), (&250.into(), ACTORS_MAX));
    let (_, worst) = get(&feed, "/api/fleet?sort=lag&descending=true&limit=2").await;
    assert_eq!((&worst["actors"][0]["lag"], worst["actors"].as_array().unwrap().len()), (&6.0.into(), 2));
    let (_, last) = get(&feed, "/api/fleet?offset=249").await;
    assert_eq!(last["actors"][0]["name"], "actor-249");
    let (_, beyond) = get(&feed, "/api/fleet?offset=900").await;
    assert_eq!(beyond["actors"].as_array().unwrap().len(), 0);
    assert_eq!(get(&feed, "/api/fleet?sort=colour").await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_gets_the_newest_at_once_and_then_what_changes() {
    let feed = feed();
    feed.tell(&Snapshot { frames: 80, ..Snapshot::default() });
    assert!(!feed.is_watched());
    let request = Request::get("/events").body(Body::empty()).unwrap();
    let response = router(feed.clone(), Ipv4Addr::LOCALHOST.into()).oneshot(request).await.unwrap();
    assert!(feed.is_watched());
    let mut body = response.into_body();
    let mut next = async || {
        let frame = body.frame().await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert!(next().await.starts_with("retry: 1000"));
    assert!(next().await.contains("event: snapshot\ndata: {"));
    // What comes between two looks is not seen.
    for frames in [160, 240] {
        feed.tell(&Snapshot { frames, ..Snapshot::default() });
    }
    let told = next().await;
    assert!(told.contains("\"frames\":240"), "{told}");
    feed.end();
    let told = next().await;
    assert!(told.starts_with("event: end\n") && told.contains("\"frames\":240"), "{told}");
    drop(body);
    assert!(!feed.is_watched());
}
