//! Where the service is: an address that is safe to send a token to.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use reqwest::Url;

/// The address of the live service, as its documentation gives it.
const BRONTO: &str = "https://api.bronto.com/v4";

/// The address that requests are posted to.
///
/// Only `https`, or `http` to a loopback host, since every request carries the token or a session.
/// It can't hold a user name, password, query or fragment, so showing it shows no secret.
///
/// ```
/// use bronto_client::Endpoint;
///
/// assert_eq!(Endpoint::default().to_string(), "https://api.bronto.com/v4");
/// assert!("http://127.0.0.1:8080/v4".parse::<Endpoint>().is_ok());
/// assert!("http://api.bronto.com/v4".parse::<Endpoint>().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    url: Url,
}

/// Why a text is no [`Endpoint`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// The text is no absolute address. It isn't quoted, because it may hold a password.
    #[error("The endpoint is not an address such as `https://api.bronto.com/v4`")]
    NotAnAddress,
    /// The address names no host.
    #[error("The endpoint names no host")]
    NoHost,
    /// Neither `https` nor `http`.
    #[error("The endpoint's scheme is `{scheme}` where `https` is needed")]
    Scheme {
        /// The scheme given.
        scheme: String,
    },
    /// Plain `http` to a host that is not this machine.
    #[error("The endpoint sends the token unencrypted to `{host}`; use `https`")]
    Unencrypted {
        /// The host given.
        host: String,
    },
    /// A user name or password in the address.
    #[error("The endpoint holds a user name or password, which Bronto doesn't use")]
    Credentials,
    /// A query or fragment, such as the `?wsdl` of the service description.
    #[error("The endpoint ends in a query or fragment; leave out `?` or `#` and what follows")]
    Suffix,
}

impl Endpoint {
    /// The host, as it stands in the address.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// Whether requests never leave this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(self.host())
    }

    /// Whether the connection is encrypted.
    pub fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// The address for the HTTP client.
    pub(crate) fn url(&self) -> &Url {
        &self.url
    }
}

impl Default for Endpoint {
    fn default() -> Self {
        BRONTO.parse().expect("the service's own address is valid")
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text.trim()).map_err(|_| EndpointError::NotAnAddress)?;
        let encrypted = match url.scheme() {
            "https" => true,
            "http" => false,
            other => {
                let scheme = other.to_owned();
                return Err(EndpointError::Scheme { scheme });
            }
        };
        let host = match url.host_str() {
            None | Some("") => return Err(EndpointError::NoHost),
            Some(host) => host,
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Suffix);
        }
        if !encrypted && !is_loopback(host) {
            let host = host.to_owned();
            return Err(EndpointError::Unencrypted { host });
        }
        Ok(Self { url })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(formatter)
    }
}

/// Whether a host, written as in an address, is this machine.
fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> EndpointError {
        match text.parse::<Endpoint>() {
            Ok(endpoint) => panic!("`{endpoint}` was accepted"),
            Err(error) => error,
        }
    }

    #[test]
    fn accepts_what_is_safe_to_send_a_token_to() {
        for text in [
            "https://api.bronto.com/v4",
            "https://api.bronto.com/v4/",
            " https://proxy.example.com:8443/bronto ",
            "http://localhost:9000/v4",
            "http://127.0.0.1/v4",
            "http://127.8.9.1/v4",
            "http://[::1]:9000/v4",
        ] {
            assert!(text.parse::<Endpoint>().is_ok(), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else_and_shows_no_secret() {
        let plain = "http://api.bronto.com/v4";
        assert!(
            matches!(refusal(plain), EndpointError::Unencrypted { host } if host == "api.bronto.com")
        );
        assert!(matches!(
            refusal("http://localhost.example.com/"),
            EndpointError::Unencrypted { .. }
        ));
        assert!(matches!(refusal("ftp://localhost/v4"), EndpointError::Scheme { .. }));
        assert_eq!(refusal("https://api.bronto.com/v4?wsdl"), EndpointError::Suffix);
        assert_eq!(refusal("https://api.bronto.com/v4#x"), EndpointError::Suffix);
        assert_eq!(refusal("https://:hunter2@api.bronto.com/v4"), EndpointError::Credentials);
        for text in ["api.bronto.com/v4", "", "user:hunter2@host", "https://u:hunter2@"] {
            let error = refusal(text);
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
