//! Which hosts the service connects to for settings that its users made: not to this machine and its network, unless the
//! host's own configuration allows it. Otherwise whoever may make integrations could reach what only the service can.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use service::host::SettingError;
use tokio::{net::lookup_host, time::timeout};

use crate::connect::{Found, LookUp};

/// How long the look-up of a name may take.
const LOOK_UP: std::time::Duration = std::time::Duration::from_secs(10);

/// Says which hosts may be connected to.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    allowed: Vec<String>,
    system: LookUp,
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
        let allowed = allowed.iter().map(|host| bare(host)).collect();
        Self { allowed, system: LookUp::new(system) }
    }

    /// Judges a host by its name alone.
    ///
    /// # Errors
    /// When it is of this machine or its network, as far as the name tells.
    pub(crate) fn judge(&self, named: &Named) -> Result<(), SettingError> {
        let bare = bare(&named.host);
        if self.allows(&bare) {
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
        let bare = bare(&named.host);
        if self.allows(&bare) || bare.parse::<IpAddr>().is_ok() {
            return Ok(());
        }
        let unknown = || SettingError {
            pointer: named.pointer.to_owned(),
            message: format!("The host `{}` has no address", named.host),
            remedy: "Look whether its name is right and can be looked up on the service's host"
                .to_owned(),
        };
        let found = timeout(LOOK_UP, self.addresses(bare)).await;
        match found.map_err(|_| unknown())? {
            Ok(found) if !found.is_empty() => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(refused(named)),
            _ => Err(unknown()),
        }
    }

    /// Finds the addresses of hosts when they are connected to, and lets only those be known that may be: a name may have
    /// other addresses then than when it was judged.
    pub(crate) fn look_up(&self) -> LookUp {
        let guard = self.clone();
        LookUp::new(move |host| {
            let guard = guard.clone();
            Box::pin(async move { guard.addresses(bare(&host)).await })
        })
    }

    /// The addresses that a name has, if all of them may be connected to.
    async fn addresses(&self, host: String) -> io::Result<Vec<IpAddr>> {
        let is_allowed = self.allows(&host);
        let found = self.system.find(host).await?;
        if !is_allowed && found.iter().any(|address| is_near(*address)) {
            let message = "The host is of the service's own machine or network";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        Ok(found)
    }

    fn allows(&self, bare: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed == bare)
    }
}

/// A host's name or address without what may stand around it.
fn bare(host: &str) -> String {
    let host = host.trim_end_matches('.').to_lowercase();
    host.trim_start_matches('[').trim_end_matches(']').to_owned()
}

/// Asks the system for the addresses of a name.
fn system(host: String) -> Found {
    Box::pin(async move { Ok(lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) })
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
#[expect(clippy::unwrap_used, reason = "a failed set-up should stop the test")]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use serde_json::json;
    use service::{
        host::{Draft, Host, Secrets},
        integration::Origin,
    };
    use tokio::{net::TcpListener, select};
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::hosting::host::ServiceHost;

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

    /// A name that has an address elsewhere when source and destination are judged, and one of this machine when they are
    /// connected to.
    #[tokio::test]
    async fn a_name_that_changes_its_address_leads_nowhere() {
        let here = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = here.local_addr().unwrap().port();
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let changes = LookUp::new(move |_| {
            let is_judged = count.fetch_add(1, Ordering::Relaxed) < 2;
            let address = if is_judged { "192.0.2.1" } else { "127.0.0.1" };
            Box::pin(async move { Ok(vec![address.parse().unwrap()]) })
        });
        let guard = Guard { system: changes, ..Guard::new(&[]) };
        let folder = tempfile::tempdir().unwrap();
        let host = ServiceHost::new(folder.path(), None, guard);
        let settings = json!({
            "source": {
                "type": "bronto", "endpoint": format!("https://rebind.example:{port}/v4"), "max_retries": 0
            },
            "destination": format!("postgres://u@rebind.example:{port}/d?connect_timeout=5"),
        });
        let secrets: Secrets =
            ["token", "password"].map(|name| (name.to_owned(), "C0FFEE".into())).into();
        let draft = Draft {
            name: "One",
            schema_name: None,
            origin: Origin::Api,
            settings: settings.as_object().unwrap(),
            secrets: &secrets,
        };
        let stop = CancellationToken::new();
        let steps = select! {
            steps = host.check(&draft, &stop) => steps,
            _ = here.accept() => panic!("this machine was connected to"),
        };
        for side in ["source", "destination"] {
            assert!(steps.iter().any(|step| step.side == side && !step.is_ok), "{steps:?}");
        }
        assert!(asked.load(Ordering::Relaxed) >= 4, "both were tried: {steps:?}");
    }
}
