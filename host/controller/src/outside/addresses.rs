//! Addresses at which no server is asked, whatever name leads there.
//!
//! Modules, and through them the authors of resources, choose where requests go; the operator's pod reaches more than those people do.
//! A grant names hosts, and whoever owns a name chooses its addresses. So it is the address that is looked at, after resolution, and it
//! is the one that is connected to.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where large clouds serve a machine's own credentials, beside the link-local 169.254.169.254: Alibaba, Azure (its wire server), Oracle
/// (as it was before), Amazon and Google by IPv6. Sources: the clouds' manuals on instance metadata.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Why no server is asked at this address; none when it is an ordinary one.
pub(super) fn fault(address: IpAddr) -> Option<&'static str> {
    if METADATA.contains(&address) {
        return Some("is where a cloud serves its machines' credentials");
    }
    match address {
        IpAddr::V4(address) => of_v4(address),
        IpAddr::V6(address) => of_v6(address),
    }
}

fn of_v4(address: Ipv4Addr) -> Option<&'static str> {
    if address.is_loopback() || address.octets().first() == Some(&0) {
        Some("is an address of the operator's own machine")
    } else if address.is_link_local() {
        Some("is a link-local address")
    } else if address.is_multicast() || address.is_broadcast() {
        Some("is no address of one server")
    } else {
        None
    }
}

fn of_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_loopback() || address.is_unspecified() {
        return Some("is an address of the operator's own machine");
    }
    if address.is_unicast_link_local() {
        return Some("is a link-local address");
    }
    if address.is_multicast() {
        return Some("is no address of one server");
    }
    within(address).and_then(|address| fault(IpAddr::V4(address)))
}

/// The IPv4 address to which an IPv6 address leads: mapped and compatible ones (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
fn within(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            Some(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_machine_its_link_and_its_cloud_are_refused_in_every_form() {
        for address in [
            "127.0.0.1",
            "127.8.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "fd20:ce::254",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
        ] {
            assert!(fault(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn ordinary_addresses_are_asked_also_private_ones() {
        for address in
            ["10.96.0.10", "192.168.1.1", "172.16.0.1", "203.0.113.7", "2001:db8::1", "fd12::1", "64:ff9b::cb00:7107"]
        {
            assert_eq!(fault(address.parse().unwrap()), None, "{address}");
        }
    }
}
