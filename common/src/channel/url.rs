//! Addresses of learners and actors: as people write them, and as this machine reaches a process that it configures itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use tonic::transport::Uri;

/// Where the learner listens: `http://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LearnerUrl {
    /// As it stands in the URL: an address of IPv6 in brackets.
    host: String,
    port: u16,
}

impl LearnerUrl {
    /// A name or an address, without brackets.
    pub fn host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for LearnerUrl {
    type Err = String;

    /// Accepts `host:port` and gRPC's `dns:///host:port` too; all three mean the same, names are always resolved anew.
    fn from_str(text: &str) -> Result<Self, String> {
        let example = "give host and port, e.g. http://127.0.0.1:50051";
        let full = match text.strip_prefix("dns:///") {
            Some(target) => format!("http://{target}"),
            None if text.contains("://") => text.to_owned(),
            None => format!("http://{text}"),
        };
        let uri: Uri = full.parse().map_err(|error| format!("`{text}` is no URL ({error}): {example}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!(
                "`{text}` begins neither with http:// nor with dns:///, the only schemes that actors speak: {example}"
            ));
        }
        let (Some(host), Some(port)) = (uri.host().filter(|host| !host.is_empty()), uri.port_u16()) else {
            let port = uri.authority().and_then(|authority| authority.as_str().rsplit_once(':')).map(|(_, port)| port);
            return Err(match port.filter(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())) {
                Some(port) => format!("`{text}` has port {port}, the largest is 65535: {example}"),
                None => format!("`{text}` has no port: {example}"),
            });
        };
        let is_more = uri.path_and_query().is_some_and(|path| path.as_str() != "/");
        if is_more || uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
            return Err(format!("`{text}` has more than a host and a port: {example}"));
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for LearnerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

/// The address that reaches, from this machine, who listens on `listen`: a wildcard means loopback.
///
/// # Errors
/// The port is 0: nobody knows from outside which one was taken.
pub fn from_here(listen: SocketAddr) -> Result<SocketAddr, String> {
    if listen.port() == 0 {
        return Err(format!("port 0 of {listen} means any free one: name the port, or give the program a fixed one"));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_with_and_without_scheme_are_one_learner() {
        let urls = ["http://127.0.0.1:50051", "127.0.0.1:50051", "http://127.0.0.1:50051/", "dns:///127.0.0.1:50051"];
        for url in urls {
            assert_eq!(url.parse::<LearnerUrl>().unwrap().to_string(), "http://127.0.0.1:50051");
        }
        assert_eq!("learner:1".parse::<LearnerUrl>().unwrap().to_string(), "http://learner:1");
        assert_eq!("dns:///learner.impala:1".parse::<LearnerUrl>().unwrap().to_string(), "http://learner.impala:1");
        let url = "[::1]:50051".parse::<LearnerUrl>().unwrap();
        assert_eq!((url.to_string().as_str(), url.host(), url.port()), ("http://[::1]:50051", "::1", 50051));
    }

    #[test]
    fn addresses_that_cannot_work_are_refused_with_the_fix() {
        let error = |text: &str| text.parse::<LearnerUrl>().unwrap_err();
        let wrong =
            ["learner", "http://learner", "https://learner:1", "http://learner:1/path", "", "http://:1", "a b:1"];
        let wrong_names =
            ["dns:///learner", "dns://1.1.1.1/learner:1", "dns:///", "http://me@learner:1", "learner:70000"];
        for text in wrong.into_iter().chain(wrong_names) {
            let error = error(text);
            assert!(error.contains("e.g. http://127.0.0.1:50051") && error.contains(&format!("`{text}`")), "{error}");
        }
        assert!(error("https://learner:1").contains("scheme"));
        assert!(error("learner").contains("no port") && error("[::1]").contains("no port"));
        assert!(error("localhost:99999").contains("port 99999, the largest is 65535"));
    }

    #[test]
    fn a_wildcard_is_reached_by_loopback_and_port_0_not_at_all() {
        let reached = |listen: &str| from_here(listen.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(reached("0.0.0.0:9090"), Ok("127.0.0.1:9090".into()));
        assert_eq!(reached("[::]:9090"), Ok("[::1]:9090".into()));
        assert_eq!(reached("10.1.2.3:9090"), Ok("10.1.2.3:9090".into()));
        assert!(reached("127.0.0.1:0").unwrap_err().contains("port 0 of 127.0.0.1:0"));
    }
}
