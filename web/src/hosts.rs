//! The names by which a page may be asked for.
//!
//! A page that listens on loopback is meant for whoever sits at the machine. Their browser also shows pages of strangers, and a stranger's
//! name can come to mean this machine (DNS rebinding): the browser would then take both for one site, and let the stranger read. What
//! gives it away is the `Host` that the browser sends.

use axum::Router;
use axum::extract::Request;
use axum::http::header::HOST;
use axum::http::uri::Authority;
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Characters of a name that an answer repeats.
const TOLD_MAX: usize = 100;

/// Lets a router that listens on this address answer only to whom it is meant for: on loopback to those who ask for this machine, elsewhere
/// to whoever reaches it.
pub(crate) fn guarded(router: Router, listens_on: IpAddr) -> Router {
    match listens_on.to_canonical().is_loopback() {
        true => router.route_layer(from_fn(refuse_others)),
        false => router,
    }
}

async fn refuse_others(request: Request, next: Next) -> Response {
    // Every browser sends one.
    match request.headers().get(HOST).filter(|host| !is_of_this_machine(host)) {
        None => next.run(request).await,
        Some(host) => {
            let told = String::from_utf8_lossy(host.as_bytes());
            let told: String = told.escape_debug().take(TOLD_MAX).collect();
            let text = format!(
                "this page listens on loopback and answers to http://localhost and http://127.0.0.1 alone, not to `{told}`; \
                 ask for one of them, or let it listen on another address\n"
            );
            (StatusCode::MISDIRECTED_REQUEST, text).into_response()
        }
    }
}

/// Whether a host, with or without a port, is a name or an address of loopback. No resolver is asked: who rebinds a name owns its answers.
fn is_of_this_machine(host: &HeaderValue) -> bool {
    let Ok(authority) = Authority::try_from(host.as_bytes()) else { return false };
    let name = authority.host().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let is_loopback = |ip: IpAddr| ip.to_canonical().is_loopback();
    // RFC 6761, 6.3: browsers ask nobody for these.
    let name = name.to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost") || name.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use axum::routing::get;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    async fn asked(listens_on: &str, host: Option<&str>) -> (u16, String) {
        let router = guarded(Router::new().route("/", get(|| async { "runs" })), listens_on.parse().unwrap());
        let request = host.into_iter().fold(Request::get("/"), |request, host| request.header(HOST, host));
        let answer = router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    #[tokio::test]
    async fn on_loopback_only_names_of_this_machine_are_answered() {
        let of_this_machine =
            ["localhost", "LOCALHOST:80", "a.localhost.", "127.0.0.1:9001", "127.9.9.9", "[::1]:9001"];
        for listens_on in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            for host in of_this_machine.map(Some).into_iter().chain([None]) {
                assert_eq!(asked(listens_on, host).await, (200, "runs".into()), "{host:?}");
            }
            let strangers = ["evil.example", "evil.example:9001", "localhost.evil.example", "127.0.0.1.evil.example"];
            for host in
                strangers.into_iter().chain(["192.0.2.1", "0.0.0.0", "notlocalhost", "localhost@evil.example", ""])
            {
                let (status, text) = asked(listens_on, Some(host)).await;
                assert!(status == 421 && text.contains(&format!("not to `{host}`")), "{host}: {text}");
            }
        }
    }

    #[tokio::test]
    async fn elsewhere_whoever_reaches_it_is_answered() {
        for listens_on in ["0.0.0.0", "::", "192.0.2.1"] {
            assert_eq!(asked(listens_on, Some("learner.cluster.example")).await, (200, "runs".into()));
        }
    }
}
