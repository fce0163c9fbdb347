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

/// Path, type and text of every file.
static FILES: LazyLock<[(&str, &str, &str); 8]> = LazyLock::new(|| {
    [
        ("/", HTML, include_str!("../assets/live.html")),
        ("/style.css", CSS, STYLE.as_str()),
        ("/live.js", JS, include_str!("../assets/live.js")),
        ("/charts.js", JS, include_str!("../assets/charts.js")),
        ("/scene.js", JS, impala_render::html::SCENE_JS),
        ("/uplot.js", JS, include_str!("../assets/uplot.js")),
        ("/uplot.css", CSS, include_str!("../assets/uplot.css")),
        ("/icon.svg", SVG, include_str!("../assets/icon.svg")),
    ]
});

/// Serves them.
pub fn router() -> Router {
    FILES.iter().fold(Router::new(), |router, (path, kind, text)| {
        let headers = [(CONTENT_TYPE, *kind), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
        router.route(path, get(move || std::future::ready((headers, *text))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_small_and_loads_nothing_from_elsewhere() {
        let bytes: usize = FILES.iter().map(|(_, _, text)| text.len()).sum();
        assert!(bytes < 150_000, "{bytes}");
        for (path, _, text) in FILES.iter() {
            // Names of documents and of formats are no addresses that are loaded.
            let loads = ["src=\"http", "href=\"http", "url(http", "import(", "//cdn"];
            assert!(loads.iter().all(|load| !text.contains(load)), "{path}");
        }
    }
}
