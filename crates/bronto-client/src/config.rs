//! How a client behaves: where it connects, with what, how long it waits and when it gives up.

use std::time::Duration;

use secrecy::SecretString;

use crate::endpoint::Endpoint;
use crate::error::ClientError;
use crate::fault_code::Retry;
use crate::resolver::Resolver;

/// How much longer the pauses are when the service is down for maintenance (fault 108).
const SLOWLY: u32 = 10;

/// The settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where requests go. Default: the live service.
    pub endpoint: Endpoint,
    /// The SOAP API token. Reading needs only its *read* permission.
    pub token: SecretString,
    /// The longest wait for a connection, encryption included. Default: 10 s (Bronto's own Java
    /// client waited 5 s).
    pub connect_timeout: Duration,
    /// The longest wait for a whole answer, from the connection to its last byte. Default: 180 s,
    /// because reads of 30 to 120 s were ordinary.
    pub request_timeout: Duration,
    /// How often one request is tried again. Default: 5, as in Bronto's own clients. A login that
    /// renews a session and the repetition after it don't count; the next one in a row does.
    pub max_retries: u32,
    /// The pauses between tries.
    pub backoff: Backoff,
    /// What the client calls itself. Default: `backstitch/` and the version.
    pub user_agent: String,
    /// The largest answer accepted, in bytes after decompression. Default: 256 MiB; a page of
    /// 5000 full contacts takes about 10.
    pub max_response_bytes: usize,
    /// Whether to ask for gzip. Default: yes.
    pub compression: bool,
    /// Certificates to trust besides the system's own.
    pub root_certificates: Vec<RootCertificate>,
    /// Finds the endpoint's addresses. Default: the system does.
    pub resolver: Option<Resolver>,
}

impl ClientConfig {
    /// The defaults, with a token.
    pub fn new(token: SecretString) -> Self {
        Self {
            endpoint: Endpoint::default(),
            token,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(180),
            max_retries: 5,
            backoff: Backoff::default(),
            user_agent: concat!("backstitch/", env!("CARGO_PKG_VERSION")).to_owned(),
            max_response_bytes: 256 << 20,
            compression: true,
            root_certificates: Vec::new(),
            resolver: None,
        }
    }
}

/// The pauses between tries: growing, capped, and always jittered, so that workers that failed
/// together don't return together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The pause after the first failure. Default: 1 s.
    pub first: Duration,
    /// By how much each pause is longer than the one before it. Default: 2.
    pub factor: u32,
    /// The longest pause. Default: 60 s.
    pub cap: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), factor: 2, cap: Duration::from_secs(60) }
    }
}

impl Backoff {
    /// The pause after failure number `failure`, counted from 1: between half and the whole of
    /// [`Self::longest`], but at least what the server asked for, and never more than the cap.
    pub(crate) fn pause(&self, failure: u32, retry: Retry, asked: Option<Duration>) -> Duration {
        let longest = self.longest(failure, retry);
        let jittered = longest.mul_f64(rand::random_range(0.5..=1.0));
        jittered.max(asked.unwrap_or_default()).min(self.cap)
    }

    /// The pause without jitter.
    fn longest(&self, failure: u32, retry: Retry) -> Duration {
        let pace = if retry == Retry::Slowly { SLOWLY } else { 1 };
        let growth = self.factor.max(1).saturating_pow(failure.saturating_sub(1));
        self.first.saturating_mul(growth.saturating_mul(pace)).min(self.cap)
    }
}

/// A certificate to trust, besides those of the system.
#[derive(Clone, Debug)]
pub struct RootCertificate(reqwest::Certificate);

impl RootCertificate {
    /// Reads all certificates of a PEM file's content.
    ///
    /// # Errors
    ///
    /// [`ClientError::BadCertificate`] when the content is no PEM or holds no certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Self>, ClientError> {
        let found = reqwest::Certificate::from_pem_bundle(pem).map_err(|error| {
            let source = Some(Box::new(error));
            ClientError::BadCertificate { source }
        })?;
        if found.is_empty() {
            return Err(ClientError::BadCertificate { source: None });
        }
        Ok(found.into_iter().map(Self).collect())
    }

    /// The certificate in the HTTP client's form.
    pub(crate) fn certificate(&self) -> reqwest::Certificate {
        self.0.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_cap_and_are_jittered_below_it() {
        let backoff = Backoff::default();
        let seconds = |failure, retry| backoff.longest(failure, retry).as_secs();
        assert_eq!([1, 2, 3, 4, 7, 99].map(|n| seconds(n, Retry::Soon)), [1, 2, 4, 8, 60, 60]);
        assert_eq!([1, 2, 3, 4].map(|n| seconds(n, Retry::Slowly)), [10, 20, 40, 60]);
        for failure in 1..40 {
            let longest = backoff.longest(failure, Retry::Soon);
            let pause = backoff.pause(failure, Retry::Soon, None);
            assert!(pause <= longest && pause >= longest.mul_f64(0.49), "{pause:?} of {longest:?}");
        }
    }

    #[test]
    fn what_the_server_asks_for_is_a_floor_below_the_cap() {
        let backoff = Backoff::default();
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(backoff.pause(1, Retry::Soon, asked(7)), Duration::from_secs(7));
        assert_eq!(backoff.pause(1, Retry::Soon, asked(7000)), backoff.cap);
    }

    #[test]
    fn an_empty_or_broken_certificate_file_is_refused() {
        assert!(RootCertificate::from_pem(b"").is_err());
        let broken = b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
        assert!(RootCertificate::from_pem(broken).is_err());
    }

    #[test]
    fn the_token_is_not_shown() {
        let config = ClientConfig::new("3D5A2C10-SECRET".into());
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
