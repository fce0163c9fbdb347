//! Where this machine reaches a process that it configures itself, for checks of its health.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

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
    fn a_wildcard_is_reached_by_loopback_and_port_0_not_at_all() {
        let reached = |listen: &str| from_here(listen.parse().unwrap()).map(|address| address.to_string());
        assert_eq!(reached("0.0.0.0:9090"), Ok("127.0.0.1:9090".into()));
        assert_eq!(reached("[::]:9090"), Ok("[::1]:9090".into()));
        assert_eq!(reached("10.1.2.3:9090"), Ok("10.1.2.3:9090".into()));
        assert!(reached("127.0.0.1:0").unwrap_err().contains("port 0 of 127.0.0.1:0"));
    }
}
