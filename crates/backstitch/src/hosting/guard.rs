//! Which hosts the service connects to for settings that its users made: not to this machine and its network, unless the
//! host's own configuration allows it. Otherwise whoever may make integrations could reach what only the service can.

use std::{net::SocketAddr, time::Duration};

use service::{
    endpoint_guard::{EndpointPolicy, ForbiddenEndpoint, admit, admit_written},
    host::SettingError,
};
use tokio::{net::lookup_host, time::timeout};

/// How long the look-up of a name may take.
const LOOK_UP: Duration = Duration::from_secs(10);

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
    /// The host's name or address; empty where it is a socket of this machine.
    pub(crate) host: String,
}

impl Guard {
    /// One that lets these hosts pass, besides those of the Internet.
    pub(crate) fn new(allowed: &[String]) -> Self {
        Self { allowed: allowed.to_vec() }
    }

    fn is_allowed(&self, host: &str) -> bool {
        self.allowed.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
    }

    /// Judges a host by what is written.
    ///
    /// # Errors
    /// When it is of this machine or its network, as far as that tells.
    pub(crate) fn judge(&self, named: &Named) -> Result<(), SettingError> {
        if self.is_allowed(&named.host) {
            return Ok(());
        }
        let host = if named.host.is_empty() { "localhost" } else { &named.host };
        admit_written(host, EndpointPolicy::default()).map_err(|error| refused(named, &error))
    }

    /// Judges a host by the addresses that its name has now.
    ///
    /// # Errors
    /// When one of them is of this machine or its network, or the name has none.
    pub(crate) async fn judge_addresses(&self, named: &Named) -> Result<(), SettingError> {
        self.judge(named)?;
        if self.is_allowed(&named.host) {
            return Ok(());
        }
        let unknown = || SettingError {
            pointer: named.pointer.to_owned(),
            message: format!("The host `{}` has no address", named.host),
            remedy: "Look whether its name is right and can be looked up on the service's host"
                .to_owned(),
        };
        let host = named.host.trim_start_matches('[').trim_end_matches(']');
        let found = timeout(LOOK_UP, lookup_host((host, 0))).await;
        let found = found.map_err(|_| unknown())?.map_err(|_| unknown())?;
        let addresses: Vec<SocketAddr> = found.collect();
        admit(&named.host, &addresses, EndpointPolicy::default())
            .map_err(|error| refused(named, &error))
    }
}

fn refused(named: &Named, error: &ForbiddenEndpoint) -> SettingError {
    SettingError {
        pointer: named.pointer.to_owned(),
        message: format!("The host {error}"),
        remedy: format!(
            "{}, or have it allowed in the configuration on the service's host: `allow_hosts` in `[service]`",
            error.remedy()
        ),
    }
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
        for host in ["localhost", "127.1", "0x7f.1", "10.1.2.3", "169.254.169.254", "[::1]", ""] {
            assert!(guard.judge(&named(host)).is_err(), "{host}");
        }
        for host in ["api.bronto.com", "db.example.com", "8.8.8.8"] {
            assert!(guard.judge(&named(host)).is_ok(), "{host}");
        }
    }

    #[tokio::test]
    async fn the_host_may_allow_some() {
        let guard = Guard::new(&["127.0.0.1".to_owned(), "DB.internal".to_owned()]);
        assert!(guard.judge(&named("db.INTERNAL")).is_ok());
        assert!(guard.judge(&named("127.0.0.2")).is_err());
        assert!(guard.judge_addresses(&named("127.0.0.1")).await.is_ok());
        assert!(guard.judge_addresses(&named("db.internal")).await.is_ok());
        let error = Guard::new(&[]).judge_addresses(&named("localhost")).await;
        assert!(error.is_err_and(|error| error.remedy.contains("allow_hosts")));
    }
}
