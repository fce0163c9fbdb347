//! The files of the pages, embedded: nothing is loaded from elsewhere, so that they work without a network.

use axum::Router;
use axum::http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::routing::get;
use std::sync::LazyLock;

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

/// The browser itself refuses what would come from elsewhere. uPlot sets styles of its elements.
const POLICY: &str =
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'";

/// The colours of scenes and of everything else, with those of the pages.
static STYLE: LazyLock<String> =
    LazyLock::new(|| impala_render::html::colours(None) + include_str!("../assets/style.css"));

/// Path, type and text of a file.
type File = (&'static str, &'static str, &'static str);

/// What every page has.
static SHARED: LazyLock<[File; 6]> = LazyLock::new(|| {
    [
        ("/style.css", CSS, STYLE.as_str()),
        ("/words.js", JS, include_str!("../assets/words.js")),
        ("/charts.js", JS, include_str!("../assets/charts.js")),
        ("/uplot.js", JS, include_str!("../assets/uplot.js")),
        ("/uplot.css", CSS, include_str!("../assets/uplot.css")),
        ("/icon.svg", SVG, include_str!("../assets/icon.svg")),
    ]
});

/// The page of one run at work.
const LIVE: [File; 3] = [
    ("/", HTML, include_str!("../assets/live.html")),
    ("/live.js", JS, include_str!("../assets/live.js")),
    ("/scene.js", JS, impala_render::html::SCENE_JS),
];

/// The page of many runs.
const ARCHIVE: [File; 2] =
    [("/", HTML, include_str!("../assets/archive.html")), ("/archive.js", JS, include_str!("../assets/archive.js"))];

/// Serves the page of one run at work.
pub(crate) fn live_router() -> Router {
    router(&LIVE)
}

/// Serves the page of many runs.
pub(crate) fn archive_router() -> Router {
    router(&ARCHIVE)
}

fn router(files: &'static [File]) -> Router {
    SHARED.iter().chain(files).fold(Router::new(), |router, (path, kind, text)| {
        let headers = [(CONTENT_TYPE, *kind), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || std::future::ready((headers, *text))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pages_are_small_and_load_nothing_from_elsewhere() {
        for files in [&LIVE[..], &ARCHIVE] {
            let bytes: usize = SHARED.iter().chain(files).map(|(_, _, text)| text.len()).sum();
            assert!(bytes < 150_000, "{bytes}");
        }
        for (path, _, text) in SHARED.iter().chain(&LIVE).chain(&ARCHIVE) {
            // Names of documents and of formats are no addresses that are loaded.
            let loads = ["src=\"http", "href=\"http", "url(http", "import(", "//cdn"];
            assert!(loads.iter().all(|load| !text.contains(load)), "{path}");
        }
    }
}
