//! Where a service is: an address that is safe to send a token to.

use std::{fmt, net::IpAddr};

use reqwest::Url;

use crate::failure::Failure;

/// The address of a service: `https`, or `http` to this machine or where it was allowed; perhaps with a path, where a proxy
/// has several services behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAddress {
    url: Url,
}

impl ServerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is none, or the token would travel unencrypted. It isn't quoted where it may hold a password.
    pub(super) fn parse(text: &str, may_be_plain: bool) -> Result<Self, Failure> {
        let refused = |message: &str| {
            Failure::configuration(message)
                .with_hint("Write it like `https://backstitch.example.com`")
        };
        let url =
            Url::parse(text.trim()).map_err(|_| refused("The service's address is no address"))?;
        let is_encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => {
                return Err(refused(
                    "The service's address begins with neither `https` nor `http`",
                ));
            }
        };
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("The service's address names no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(refused("The service's address must not hold a name or password"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused("The service's address must end before `?` and `#`"));
        }
        let address = Self { url };
        if !is_encrypted && !address.is_loopback() && !may_be_plain {
            let message = format!("The token would travel unencrypted to `{}`", address.host());
            return Err(Failure::configuration(message).with_hint(
                "Use `https`; or, where nobody can listen on the way, say so by `--allow-http`",
            ));
        }
        Ok(address)
    }

    /// The host, as it stands in the address.
    pub(super) fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether requests never leave this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let bare = self.host().trim_start_matches('[').trim_end_matches(']');
        bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// Whether the connection is encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The address of a route, its parts and parameters written so that they stay what they are.
    pub(super) fn route(&self, path: &[&str], query: &[(&str, String)]) -> Url {
        let mut url = self.url.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(["api", "v1"]).extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }

    /// The host that a redirection leads to.
    pub(super) fn target(&self, location: &str) -> Option<String> {
        self.url.join(location).ok()?.host_str().map(str::to_owned)
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_to_https_or_this_machine_unless_said_otherwise() {
        let taken = |text: &str, plain| ServerAddress::parse(text, plain).is_ok();
        for text in
            ["https://b.example", "http://localhost:8720/", "http://127.0.0.1:1", "http://[::1]:1"]
        {
            assert!(taken(text, false), "{text}");
        }
        assert!(!taken("http://b.example", false) && taken("http://b.example", true));
        assert!(!taken("http://localhost.example", false));
        for text in [
            "",
            "b.example",
            "ftp://b.example",
            "https://a:b@b.example",
            "https://b.example?x",
            "https://b.example/#x",
        ] {
            assert!(!taken(text, true), "{text}");
        }
    }

    #[test]
    fn parts_of_a_route_stay_what_they_are() -> Result<(), Failure> {
        let address = ServerAddress::parse("https://b.example/over/there/", false)?;
        let route = address.route(&["runs", "a/../b?c"], &[("search", "a&b=ü".to_owned())]);
        assert_eq!(
            route.as_str(),
            "https://b.example/over/there/api/v1/runs/a%2F..%2Fb%3Fc?search=a%26b%3D%C3%BC"
        );
        assert_eq!(address.to_string(), "https://b.example/over/there");
        assert_eq!(address.target("//elsewhere.example/x").as_deref(), Some("elsewhere.example"));
        Ok(())
    }
}
