//! Which hosts the service connects to for settings that its users made: not to this machine and its network, unless the
//! host's own configuration allows it. Otherwise whoever may make integrations could reach what only the service can.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use service::host::SettingError;
use tokio::{net::lookup_host, time::timeout};

/// How long the look-up of a name may take.
const LOOK_UP: std::time::Duration = std::time::Duration::from_secs(10);

/// Says which hosts may be connected to.
#[derive(Debug)]
pub(crate) struct Guard {
    allowed: Vec<String>,
}

/// A host that settings name, and where they do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    /// The JSON pointer of the setting.
    pub(crate) pointer: &'static str,
    /// The host's name or address.
    pub(crate) host: String,
}

impl Guard {
    /// One that lets these hosts pass.
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.iter().map(|host| host.to_lowercase()).collect() }
    }

    /// Judges a host by its name alone.
    ///
    /// # Errors
    /// When it is of this machine or its network, as far as the name tells.
    pub(crate) fn judge(&self, named: &Named) -> Result<(), SettingError> {
        let host = named.host.trim_end_matches('.').to_lowercase();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if self.allowed.iter().any(|allowed| *allowed == host || allowed == bare) {
            return Ok(());
        }
        let is_near = match bare.parse::<IpAddr>() {
            Ok(address) => is_near(address),
            // A name without a dot is one of the network here, and so is what is written as a number.
            Err(_) => {
                !bare.contains('.')
                    || bare.ends_with(".localhost")
                    || bare.ends_with(".local")
                    || bare.ends_with(".internal")
                    || bare
                        .rsplit('.')
                        .next()
                        .is_some_and(|last| last.starts_with(|c: char| c.is_ascii_digit()))
            }
        };
        if is_near { Err(refused(named)) } else { Ok(()) }
    }

    /// Judges a host by the addresses that its name has now.
    ///
    /// # Errors
    /// When one of them is of this machine or its network, or the name has none.
    pub(crate) async fn judge_addresses(&self, named: &Named) -> Result<(), SettingError> {
        self.judge(named)?;
        let host = named.host.to_lowercase();
        if self.allowed.contains(&host) || host.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let unknown = || SettingError {
            pointer: named.pointer.to_owned(),
            message: format!("The host `{}` has no address", named.host),
            remedy: "Look whether its name is right and can be looked up on the service's host"
                .to_owned(),
        };
        let found = timeout(LOOK_UP, lookup_host((host.as_str(), 0))).await;
        let mut addresses = found.map_err(|_| unknown())?.map_err(|_| unknown())?;
        if addresses.any(|address| is_near(address.ip())) {
            return Err(refused(named));
        }
        Ok(())
    }
}

fn refused(named: &Named) -> SettingError {
    SettingError {
        pointer: named.pointer.to_owned(),
        message: format!("The host `{}` is of the service's own machine or network", named.host),
        remedy: "Have it allowed in the configuration on the service's host: `allow_hosts` in `[service]`".to_owned(),
    }
}

/// Whether an address is of this machine or its network, or of none.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_near_v4(address),
        IpAddr::V6(address) => address.to_ipv4().map_or_else(|| is_near_v6(address), is_near_v4),
    }
}

fn is_near_v4(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_broadcast()
        || address.is_multicast()
        || first == 0
        // Carrier's networks (RFC 6598), and what is reserved.
        || (first == 100 && (64..128).contains(&second))
        || first >= 240
}

fn is_near_v6(address: Ipv6Addr) -> bool {
    let [first, ..] = address.segments();
    address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast()
        || address.is_unique_local()
        || address.is_unicast_link_local()
        // Addresses of version 4 inside others: translated (64:ff9b::), and 6to4.
        || first == 0x64
        || first == 0x2002
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(host: &str) -> Named {
        Named { pointer: "/settings/source/endpoint", host: host.to_owned() }
    }

    #[test]
    fn what_is_near_is_refused_however_it_is_written() {
        let guard = Guard::new(&[]);
        for host in [
            "localhost",
            "LOCALHOST.",
            "x.localhost",
            "db",
            "db.internal",
            "127.0.0.1",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "[::1]",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fd00::1",
            "64:ff9b::7f00:1",
            "",
        ] {
            assert!(guard.judge(&named(host)).is_err(), "{host}");
        }
        for host in ["api.bronto.com", "db.example.com", "8.8.8.8", "2001:db8::1"] {
            assert!(guard.judge(&named(host)).is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn the_host_may_allow_some() {
        let guard = Guard::new(&["127.0.0.1".to_owned(), "DB.internal".to_owned()]);
        assert!(guard.judge(&named("127.0.0.1")).is_ok());
        assert!(guard.judge(&named("db.INTERNAL")).is_ok());
        assert!(guard.judge(&named("127.0.0.2")).is_err());
        assert!(guard.judge_addresses(&named("127.0.0.1")).await.is_ok());
        assert!(guard.judge_addresses(&named("db.internal")).await.is_ok());
        assert!(Guard::new(&[]).judge_addresses(&named("localhost")).await.is_err());
    }
}
