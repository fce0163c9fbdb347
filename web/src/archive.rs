//! A page of runs that are over, or under way elsewhere: which there are, their curves beside each other, and what each left.

use crate::assets;
use crate::hosts::guarded;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::Value;
use std::net::IpAddr;
use std::sync::Arc;

/// Gives what there is. It is asked on a thread that may wait for files.
pub trait Archive: Send + Sync + 'static {
    /// Every run, as a JSON array of objects with a `name` each.
    ///
    /// # Errors
    /// They cannot be listed, in words.
    fn runs(&self) -> Result<Value, String>;

    /// One of them with its curves; nothing where no run has the name.
    fn run(&self, name: &str) -> Option<Value>;
}

/// Serves an archive. Where it listens on loopback, it answers to names of this machine only.
pub fn router(archive: Arc<dyn Archive>, listens_on: IpAddr) -> Router {
    let api = Router::new().route("/api/runs", get(runs)).route("/api/runs/{name}", get(run)).with_state(archive);
    guarded(assets::archive_router().merge(api), listens_on)
}

async fn runs(State(archive): State<Arc<dyn Archive>>) -> Response {
    match tokio::task::spawn_blocking(move || archive.runs()).await {
        Ok(Ok(runs)) => Json(runs).into_response(),
        Ok(Err(reason)) => (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn run(State(archive): State<Arc<dyn Archive>>, Path(name): Path<String>) -> Response {
    match tokio::task::spawn_blocking(move || archive.run(&name)).await {
        Ok(Some(run)) => ([(header::CACHE_CONTROL, "no-cache")], Json(run)).into_response(),
        Ok(None) => (StatusCode::NOT_FOUND, "no run has this name").into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::http::Request;
    use serde_json::json;
    use tower::ServiceExt;

    struct One;

    impl Archive for One {
        fn runs(&self) -> Result<Value, String> {
            Ok(json!([{ "name": "one" }]))
        }

        fn run(&self, name: &str) -> Option<Value> {
            (name == "one").then(|| json!({ "frames": [80] }))
        }
    }

    #[tokio::test]
    async fn runs_are_listed_and_found_by_name_alone() {
        let status = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).unwrap();
            router(Arc::new(One), IpAddr::from([127, 0, 0, 1])).oneshot(request).await.unwrap().status().as_u16()
        };
        let paths = ["/", "/api/runs", "/api/runs/one", "/api/runs/two", "/api/runs/..%2fone", "/live.js"];
        let mut told = Vec::new();
        for path in paths {
            told.push(status(path).await);
        }
        assert_eq!(told, [200, 200, 200, 404, 404, 404]);
    }
}
