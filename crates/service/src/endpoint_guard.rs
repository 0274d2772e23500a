//! Keeps addresses that somebody may set from reaching into the service's own network: the machine itself, its
//! neighbours, and the metadata services of clouds, which hand out the machine's rights.
//!
//! A name is checked by all that it resolves to, and the caller connects to those addresses and no others: a name that
//! resolves to something else a moment later changes nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Which addresses may be reached that usually may not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// Whether the machine itself and its network may be reached.
    pub allow_private: bool,
}

/// Why an address may not be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserved {
    /// The machine itself.
    Loopback,
    /// A network that is not the Internet.
    Private,
    /// A network of one cable; clouds hand out rights there.
    LinkLocal,
    /// No address of a single machine, or none that is given out.
    Special,
}

impl Reserved {
    /// What it is, for people.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::Loopback => "the machine on which Backstitch runs",
            Self::Private => "a private network",
            Self::LinkLocal => "a link-local network, where clouds keep their metadata",
            Self::Special => "no address of a server",
        }
    }
}

/// An address that may not be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{host}` is {}", reserved.words())]
pub struct ForbiddenEndpoint {
    /// The name or address, as it was given.
    pub host: String,
    /// Why.
    pub reserved: Reserved,
}

impl ForbiddenEndpoint {
    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self.reserved {
            Reserved::Loopback | Reserved::Private => {
                "Take a public address, or declare the integration in the file on the host"
            }
            Reserved::LinkLocal | Reserved::Special => "Take a public address",
        }
    }
}

/// Checks what a name resolved to: all of it may be reached, or none.
///
/// # Errors
/// The first address that may not be reached.
pub fn admit(
    host: &str,
    addresses: &[SocketAddr],
    policy: EndpointPolicy,
) -> Result<(), ForbiddenEndpoint> {
    let forbidden = addresses.iter().find_map(|address| refused(address.ip(), policy));
    forbidden.map_or(Ok(()), |reserved| Err(ForbiddenEndpoint { host: host.to_owned(), reserved }))
}

/// Checks a name or address as it is written, without resolving it: addresses in any of their forms, and the names that
/// always mean the machine itself. What passes here is checked again by [`admit`] when it is resolved.
///
/// # Errors
/// When it may not be reached.
pub fn admit_written(host: &str, policy: EndpointPolicy) -> Result<(), ForbiddenEndpoint> {
    let name = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    let is_local =
        name.eq_ignore_ascii_case("localhost") || name.to_ascii_lowercase().ends_with(".localhost");
    let reserved = match written_address(name) {
        Some(address) => refused(address, policy),
        None if is_local && !policy.allow_private => Some(Reserved::Loopback),
        None => None,
    };
    reserved.map_or(Ok(()), |reserved| Err(ForbiddenEndpoint { host: host.to_owned(), reserved }))
}

/// An address in any form that the C library takes: `127.0.0.1`, `127.1`, `0x7f.1`, `2130706433`, `::1`.
fn written_address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address);
    }
    let number = |part: &str| {
        let lower = part.to_ascii_lowercase();
        match (lower.strip_prefix("0x"), lower.strip_prefix('0')) {
            (Some(""), _) => Some(0),
            (Some(digits), _) => u32::from_str_radix(digits, 16).ok(),
            (None, Some(digits)) if !digits.is_empty() => u32::from_str_radix(digits, 8).ok(),
            _ => lower.parse().ok(),
        }
    };
    let parts: Vec<u32> = text.split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let shift = 8 * u32::try_from(first.len()).ok()?;
    if u64::from(*last) >> (32 - shift) != 0 {
        return None;
    }
    let head = first.iter().zip([24, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from(head | last).into())
}

fn refused(address: IpAddr, policy: EndpointPolicy) -> Option<Reserved> {
    let reserved = match address {
        IpAddr::V4(address) => reserved_v4(address),
        IpAddr::V6(address) => reserved_v6(address),
    };
    reserved.filter(|reserved| {
        !(policy.allow_private && matches!(reserved, Reserved::Loopback | Reserved::Private))
    })
}

fn reserved_v4(address: Ipv4Addr) -> Option<Reserved> {
    let [a, b, c, _] = address.octets();
    if address.is_loopback() || a == 0 {
        return Some(Reserved::Loopback);
    }
    if address.is_link_local() {
        return Some(Reserved::LinkLocal);
    }
    // Those that carriers share, among which one cloud keeps its metadata.
    if address.is_private() || (a == 100 && (64..128).contains(&b)) {
        return Some(Reserved::Private);
    }
    let is_special = a >= 224
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113);
    is_special.then_some(Reserved::Special)
}

fn reserved_v6(address: Ipv6Addr) -> Option<Reserved> {
    if let Some(inner) = embedded_v4(address) {
        return reserved_v4(inner);
    }
    let first = address.segments()[0];
    if address.is_loopback() || address.is_unspecified() {
        Some(Reserved::Loopback)
    } else if first & 0xffc0 == 0xfe80 {
        Some(Reserved::LinkLocal)
    } else if first & 0xfe00 == 0xfc00 || first & 0xffc0 == 0xfec0 {
        Some(Reserved::Private)
    } else {
        // Only a part of all addresses is given out.
        let is_global =
            first & 0xe000 == 0x2000 && !(first == 0x2001 && address.segments()[1] == 0xdb8);
        (!is_global).then_some(Reserved::Special)
    }
}

/// The address of version 4 to which one of version 6 leads: mapped, compatible, translated (RFC 6052), 6to4.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let segments = address.segments();
    let joined = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match segments {
        [0, 0, 0, 0, 0, 0xffff, high, low] => Some(joined(high, low)),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(joined(high, low)),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(joined(high, low)),
        [0x2002, high, low, ..] => Some(joined(high, low)),
        _ => None,
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn written(host: &str) -> Option<Reserved> {
        admit_written(host, EndpointPolicy::default()).err().map(|error| error.reserved)
    }

    #[test]
    fn the_machine_itself_is_known_in_every_form() {
        for host in [
            "localhost",
            "LOCALHOST",
            "localhost.",
            "a.localhost",
            "127.0.0.1",
            "127.1",
            "127.255.255.254",
            "0x7f.1",
            "0177.0.0.1",
            "2130706433",
            "0x7f000001",
            "0",
            "0.0.0.0",
            "[::1]",
            "::1",
            "::",
            "::ffff:127.0.0.1",
            "[::ffff:7f00:1]",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            assert_eq!(written(host), Some(Reserved::Loopback), "{host}");
        }
    }

    #[test]
    fn networks_that_are_not_the_internet_are_known() {
        for host in [
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.100.100.200",
            "fd00::1",
            "fec0::1",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(written(host), Some(Reserved::Private), "{host}");
        }
        for host in
            ["169.254.169.254", "0xa9fea9fe", "fe80::1", "febf::1", "::ffff:169.254.169.254"]
        {
            assert_eq!(written(host), Some(Reserved::LinkLocal), "{host}");
        }
        for host in [
            "224.0.0.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.18.0.1",
            "203.0.113.9",
            "ff02::1",
            "2001:db8::1",
            "4000::1",
        ] {
            assert_eq!(written(host), Some(Reserved::Special), "{host}");
        }
    }

    #[test]
    fn the_internet_may_be_reached() {
        for host in [
            "api.bronto.com",
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.169.0.1",
            "2606:4700::1111",
            "1e100.net",
            "256.1.1.1",
            "notlocalhost",
        ] {
            assert_eq!(written(host), None, "{host}");
        }
    }

    #[test]
    fn a_host_may_allow_its_own_network_but_never_metadata() {
        let policy = EndpointPolicy { allow_private: true };
        for host in ["localhost", "127.0.0.1", "10.0.0.1", "::1", "fd00::1"] {
            assert!(admit_written(host, policy).is_ok(), "{host}");
        }
        for host in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254"] {
            assert!(admit_written(host, policy).is_err(), "{host}");
        }
    }

    #[test]
    fn one_forbidden_address_among_others_is_enough() {
        let resolved = ["8.8.8.8:443", "[::1]:443"].map(|address| address.parse().unwrap());
        let error = admit("two.example", &resolved, EndpointPolicy::default()).unwrap_err();
        assert_eq!(error.to_string(), "`two.example` is the machine on which Backstitch runs");
        assert!(admit("two.example", &resolved[..1], EndpointPolicy::default()).is_ok());
    }
}
