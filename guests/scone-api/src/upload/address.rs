//! The address of a CAS.

/// What is wrong with it, in words that do not repeat it: it may hold a password.
pub(super) fn fault(address: &str) -> Option<&'static str> {
    let Some(rest) = address.strip_prefix("https://") else {
        return Some("must start with https://: write the URL of CAS, such as https://cas.default:8081");
    };
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    if authority.contains('@') {
        return Some("must not hold a user name: write https://host:port");
    }
    if authority.contains(['/', '?', '#']) {
        return Some("must end behind the port: write https://host:port, without a path");
    }
    let (host, port) = split(authority);
    if port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0)) {
        return Some("has no port from 1 to 65535: write https://host:8081");
    }
    (!is_host(host)).then_some("has no host: write a DNS name or an IP address behind https://")
}

/// Whether it names a port. Without one it is 443, where no CAS listens by itself.
pub(super) fn has_port(address: &str) -> bool {
    let rest = address.strip_prefix("https://").unwrap_or(address);
    split(rest.strip_suffix('/').unwrap_or(rest)).1.is_some()
}

/// The URL of a path there.
pub(super) fn url(address: &str, path: &str) -> String {
    format!("{}{path}", address.strip_suffix('/').unwrap_or(address))
}

fn split(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        // The colons of an IPv6 address stand within brackets.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    host.len() <= 253 && host.split('.').all(|part| !part.is_empty() && part.bytes().all(fits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port_behind_https() {
        for good in
            ["https://cas", "https://cas.ns.svc:8081", "https://10.0.0.1:8081/", "https://[::1]:8081", "https://[::1]"]
        {
            assert_eq!(fault(good), None, "{good}");
        }
        for bad in [
            "",
            "cas:8081",
            "http://cas:8081",
            "https://",
            "https://:8081",
            "https://cas:x",
            "https://cas:0",
            "https://cas:8081/v1",
            "https://cas?x",
            "https://u:p@cas",
            "https://a b",
            "https://a..b",
            "https://[x]",
            "https://cas:70000",
        ] {
            assert!(fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_port_is_seen() {
        assert!(has_port("https://cas:8081/") && has_port("https://[::1]:1"));
        assert!(!has_port("https://cas/") && !has_port("https://[::1]"));
    }

    #[test]
    fn a_slash_at_the_end_is_not_doubled() {
        assert_eq!(url("https://cas/", "/v1"), "https://cas/v1");
        assert_eq!(url("https://cas", "/v1"), "https://cas/v1");
    }
}
