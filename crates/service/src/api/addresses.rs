//! Whose address a request comes from, and which addresses count as one.
//!
//! A proxy in front has its own address on every connection, and tells the client's in `X-Forwarded-For`, to which each hop
//! adds who spoke to it. Anybody can write anything into that header; so it is read from its end, and only as far as
//! the configuration names the hops: the last address that no trusted hop has is the client's.

use std::{net::IpAddr, net::SocketAddr, str::FromStr};

use axum::http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Addresses that begin alike: one, or a network of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    first: IpAddr,
    bits: u32,
}

/// A text that is no address and no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("It is neither an address nor a network, such as `10.0.0.0/8`")]
pub struct NoNetwork;

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u32>().map_err(|_| NoNetwork)?)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| NoNetwork)?;
        let width = width(first);
        let bits = bits.unwrap_or(width);
        if bits > width { Err(NoNetwork) } else { Ok(Self { first, bits }) }
    }
}

impl Network {
    /// Whether it holds an address.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        let (first, address) = (self.first.to_canonical(), address.to_canonical());
        // One of version 4 in the form of version 6 has 96 bits before it.
        let bits =
            if width(first) < width(self.first) { self.bits.saturating_sub(96) } else { self.bits };
        let differ = match (first, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                (one.to_bits() ^ other.to_bits()).leading_zeros()
            }
            _ => return false,
        };
        differ >= bits
    }
}

const fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The client's address: that of the connection, or what the proxies say that are trusted.
pub(super) fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address| trusted.iter().any(|network| network.holds(address));
    let texts = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let told: Vec<&str> = texts.flat_map(|text| text.split(',')).map(str::trim).collect();
    let mut hops = told.into_iter().rev();
    let mut client = peer;
    while is_trusted(client)
        && let Some(before) = hops.next().and_then(hop)
    {
        client = before;
    }
    client
}

/// An address as proxies write it: bare, in brackets, or with a port.
fn hop(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()))
}

/// What counts as one address: a whole network of version 6, of which anybody has millions of addresses.
pub(super) fn counted_as(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{:x?}", &address.segments()[..4]),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_network_holds_what_begins_like_it() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.168.1.7", "192.168.1.7", "192.168.1.6"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("2001:db8::/32", "2001:db8:1::1", "2001:db9::1"),
            ("10.0.0.0/8", "::ffff:10.1.2.3", "::ffff:11.1.2.3"),
            ("::ffff:10.0.0.0/104", "10.1.2.3", "11.1.2.3"),
        ] {
            let network: Network = network.parse().unwrap();
            assert!(
                network.holds(address(inside)) && !network.holds(address(outside)),
                "{network:?}"
            );
        }
        for wrong in ["", "proxy", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "10.0.0/8"] {
            assert_eq!(wrong.parse::<Network>(), Err(NoNetwork), "{wrong}");
        }
    }

    #[test]
    fn the_client_is_the_last_hop_that_is_not_trusted() {
        let trusted: Vec<Network> =
            ["127.0.0.1", "10.0.0.0/8"].iter().map(|text| text.parse().unwrap()).collect();
        let found = |peer: &str, told: &[&str]| {
            let told = told.iter().map(|text| (FORWARDED_FOR, text.parse().unwrap()));
            client(address(peer), &told.collect(), &trusted).to_string()
        };
        // Nobody who isn't named may say anything.
        assert_eq!(found("203.0.113.9", &["198.51.100.1"]), "203.0.113.9");
        assert_eq!(found("127.0.0.1", &[]), "127.0.0.1");
        assert_eq!(found("127.0.0.1", &["198.51.100.1"]), "198.51.100.1");
        // What the client itself wrote stands before what the proxy adds.
        assert_eq!(found("127.0.0.1", &["192.0.2.1, 198.51.100.1"]), "198.51.100.1");
        assert_eq!(
            found("127.0.0.1", &["127.0.0.1, 192.0.2.1", "198.51.100.1,10.1.1.1"]),
            "198.51.100.1"
        );
        for form in ["198.51.100.1:4711", "[2001:db8::1]:80", "[2001:db8::1]", "2001:db8::1"] {
            assert!(
                ["198.51.100.1", "2001:db8::1"].contains(&found("127.0.0.1", &[form]).as_str())
            );
        }
        assert_eq!(found("127.0.0.1", &["198.51.100.1, unknown"]), "127.0.0.1");
        assert_eq!(found("127.0.0.1", &["10.1.1.1"]), "10.1.1.1");
    }
}
