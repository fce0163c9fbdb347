//! The live view of one run: the page, what it asks for, and the stream of what changes.

use crate::assets;
use crate::feed::Feed;
use crate::hosts::guarded;
use crate::snapshot::Actor;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

/// Least time between two snapshots to one page.
const SNAPSHOT_INTERVAL: Duration = Duration::from_millis(250);
/// Time after which a page asks again where its stream has ended.
const RETRY: Duration = Duration::from_secs(1);
/// Most actors in one answer.
const ACTORS_MAX: usize = 100;

/// Serves the run that tells the feed. Where it listens on loopback, it answers to names of this machine only.
pub fn router(feed: Feed, listens_on: IpAddr) -> Router {
    let api = Router::new()
        .route("/api/about", get(about))
        .route("/api/history", get(history))
        .route("/api/fleet", get(fleet))
        .route("/events", get(events))
        .with_state(feed);
    guarded(assets::live_router().merge(api), listens_on)
}

async fn about(State(feed): State<Feed>) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], feed.about().to_string())
}

async fn history(State(feed): State<Feed>) -> impl IntoResponse {
    Json(feed.history())
}

/// What changes: `snapshot` and `frame`; at last `end`, a snapshot too.
async fn events(State(feed): State<Feed>) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let (watcher, [snapshots, frames, end]) = feed.watch();
    let named =
        |name: &'static str| move |told: Option<Arc<str>>| told.map(|json| Event::default().event(name).data(json));
    let snapshots = WatchStream::new(snapshots).filter_map(named("snapshot")).throttle(SNAPSHOT_INTERVAL);
    let frames = WatchStream::from_changes(frames).filter_map(named("frame"));
    let retry = tokio_stream::once(Event::default().retry(RETRY));
    let end = WatchStream::new(end).filter_map(named("end"));
    let told = retry.chain(snapshots.merge(frames).merge(end)).map(move |event| {
        // It looks as long as the stream lives.
        let _ = &watcher;
        Ok(event)
    });
    Sse::new(told).keep_alive(KeepAlive::default())
}

/// Which part of the fleet is asked for.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Page {
    offset: usize,
    limit: Option<usize>,
    sort: Column,
    descending: bool,
}

/// What actors are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Column {
    #[default]
    Index,
    Name,
    Version,
    FramesPerSecond,
    Lag,
    Blocked,
    Refused,
    SecondsSince,
}

/// A part of the fleet.
#[derive(Debug, Serialize)]
struct Part {
    total: usize,
    actors: Vec<Actor>,
}

async fn fleet(State(feed): State<Feed>, Query(page): Query<Page>) -> Json<Part> {
    Json(part(&feed.fleet(), &page))
}

fn part(fleet: &[Actor], page: &Page) -> Part {
    let mut sorted: Vec<&Actor> = fleet.iter().collect();
    sorted.sort_by(|one, other| {
        let order = page.sort.compare(one, other);
        if page.descending { order.reverse() } else { order }
    });
    let limit = page.limit.unwrap_or(ACTORS_MAX).min(ACTORS_MAX);
    Part { total: fleet.len(), actors: sorted.into_iter().skip(page.offset).take(limit).cloned().collect() }
}

impl Column {
    fn compare(self, one: &Actor, other: &Actor) -> Ordering {
        // Who tells nothing comes before who tells something.
        let by = |of: fn(&Actor) -> Option<f64>| {
            let number = |actor| of(actor).unwrap_or(f64::NEG_INFINITY);
            number(one).total_cmp(&number(other))
        };
        match self {
            Self::Index => one.index.cmp(&other.index),
            Self::Name => one.name.cmp(&other.name),
            Self::Version => one.version.cmp(&other.version),
            Self::FramesPerSecond => by(|actor| actor.frames_per_second),
            Self::Lag => by(|actor| actor.lag),
            Self::Blocked => by(|actor| actor.blocked),
            Self::Refused => by(|actor| actor.refused),
            Self::SecondsSince => by(|actor| actor.seconds_since),
        }
    }
}

#[cfg(test)]
mod tests;
